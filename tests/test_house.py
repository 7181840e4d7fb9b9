"""The rules of the house that a machine can check."""

import ast
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parent.parent / "icss_core"
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
