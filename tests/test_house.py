"""The rules of the house that a machine can check."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
CORE = TESTS.parent / "icss_core"
FRAMEWORKS = {"ray", "mlflow", "fastapi", "boto3", "botocore", "services"}


def nodes(path):
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def imports(path):
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE)))
def test_core_knows_no_framework_and_no_environment(path):
    assert not {name.split(".")[0] for name in imports(path)} & FRAMEWORKS
    attributes = {ast.unparse(node) for node in nodes(path) if isinstance(node, ast.Attribute)}
    assert not attributes & {"os.environ", "os.getenv"}
    if "raster" not in path.relative_to(CORE).parts:
        assert not any(name.split(".")[0] == "rasterio" for name in imports(path))


def test_no_file_is_longer_than_its_idea():
    root = CORE.parent
    paths = [*CORE.rglob("*.py"), *(root / "services").rglob("*.py")]
    long = {str(p.relative_to(root)): n for p in paths if (n := len(p.read_text().splitlines())) > 400}
    assert not long


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
EXPECTATIONS = {"raises", "warns", "fail"}
"""Of pytest, and a test can do without `assert`."""


def calls(function):
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def expects(function):
    asserts = any(isinstance(node, ast.Assert) for node in ast.walk(function))
    return asserts or any(name in EXPECTATIONS or name.startswith("assert") for name in calls(function))


def helpers(tree, trees):
    """Functions that a test file has or imports from another file of the tests, by the name it uses."""
    own = {node.name: node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            other = trees.get(node.module.rpartition(".")[2], ast.Module([], []))
            there = {one.name: one for one in ast.walk(other) if isinstance(one, FUNCTIONS)}
            own |= {one.asname or one.name: there[one.name] for one in node.names if one.name in there}
    return own


def test_every_test_expects_something():
    """A test that only runs something passes whatever comes out."""
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py")}
    assert expects(ast.parse("def test():\n    with pytest.raises(ValueError): f()"))
    assert not expects(ast.parse("def test():\n    f()"))
    silent = []
    for stem, tree in trees.items():
        known = helpers(tree, trees)
        silent += [
            f"{stem}.{node.name}"
            for node in ast.walk(tree)
            if isinstance(node, FUNCTIONS) and node.name.startswith("test_") and not expects(node)
            if not any(name in known and expects(known[name]) for name in calls(node))
        ]
    assert silent == []
