"""The rules of the house that a machine can check."""

import ast
import importlib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from icss_core.learners import LEARNERS
from icss_core.methods import REGULARISERS

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


def modules():
    """Every file of both packages by its module's name."""
    for package in ("icss_core", "services"):
        for path in (CORE.parent / package).rglob("*.py"):
            name = ".".join(path.relative_to(CORE.parent).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def imported(path, names):
    """Modules among `names` that a file imports, wherever in it, for types alone too."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in names else node.module


def test_no_files_import_each_other_in_a_circle():
    files = dict(modules())
    graph = {
        name: {one for one in imported(path, files) if one in files and one != name}
        for name, path in files.items()
    }
    # raises CycleError, whose message names the circle
    assert len(list(TopologicalSorter(graph).static_order())) == len(files)


PRESETS_OF_LEARNERS = {
    "services.training.config",  # the default kind
    "services.continual.config",  # the kind of a protocol's tasks
}


@pytest.mark.parametrize(
    ("registry", "entries"),
    [("methods.registry", REGULARISERS), ("learners.registry", LEARNERS)],
    ids=["regularisers", "learners"],
)
def test_only_the_registry_knows_what_is_in_it(registry, entries):
    """What README promises: a regulariser, or a kind of training, is one file, one entry and one preset.

    A file of an entry may be imported by its registry, by files of other entries that build on it, and by
    whoever puts its name into a preset; nobody else names it.
    """
    files = dict(modules())
    homes = {
        name
        for name in files
        if name.startswith(f"icss_core.{registry.partition('.')[0]}.")
        and any(entry in vars(importlib.import_module(name)).values() for entry in entries.values())
        and name not in (f"icss_core.{registry}", f"icss_core.{registry.partition('.')[0]}")
    }
    assert len(homes) == len(entries)
    allowed = homes | {f"icss_core.{registry}", *PRESETS_OF_LEARNERS}
    for name, path in files.items():
        if name not in allowed:
            assert not homes & set(imported(path, files)), name


def test_no_two_test_files_have_one_name():
    """Tests are no packages, so that pytest could load one of the two only."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names))
