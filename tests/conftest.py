"""What every test may ask for, and how tests are spread over processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.local import LocalStack

# Tests run in two processes (`make test`), beside the services: threads of PyTorch on top of them only wait
# for each other. Set before PyTorch is imported, for processes that tests start too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent
SERVERS = {"stack": "stack", "store_settings": "services"}
"""Marks of tests by the fixture that starts servers for them; each is one process of `make test`."""

FOLDERS = {"stack": "tests/e2e", "services": "tests/services"}
"""Where the tests of a mark are, so that its process imports only these: all take half a minute."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shared",
        type=Path,
        default=REPOSITORY.parent / "shared",
        help="folder with images that are not part of the repository",
    )


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need the same servers run in one process, so that these are started once."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        marks = [mark for fixture, mark in SERVERS.items() if fixture in fixtures]
        if marks:
            item.add_marker(marks[0])
            if not item.path.is_relative_to(REPOSITORY / FOLDERS[marks[0]]):
                raise pytest.UsageError(f"{item.nodeid} needs {marks[0]}: move it to {FOLDERS[marks[0]]}")


@pytest.fixture(scope="session")
def shared_dir(pytestconfig: pytest.Config) -> Path:
    """Folder of images outside the repository; without it the test is skipped."""
    folder: Path = pytestconfig.getoption("--shared")
    if not folder.is_dir():
        pytest.skip(f"needs images outside the repository: no folder {folder} (name another with --shared)")
    return folder.resolve()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """S3, MLflow and Ray on free loopback ports; children use `stack.environment()`."""
    from services.local import LocalStack

    folder = tmp_path_factory.mktemp("stack")
    with LocalStack(folder, num_cpus=4, object_store_bytes=200_000_000) as started:
        yield started
