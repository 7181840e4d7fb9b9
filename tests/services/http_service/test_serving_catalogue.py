"""Models as the service shows them, and moves of `memory` that must not undo somebody else's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tiny_model import write_tiny_model

from services.errors import ConflictError, ModelNotFoundError, VersionNotFoundError
from services.registry import Registry
from services.serving.catalogue import Catalogue
from services.tracking import Tracking

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Service

    from services.settings import Settings


@pytest.fixture(scope="module")
def registry(mlflow_settings: Settings) -> Registry:
    return Registry(mlflow_settings)


@pytest.fixture
def name(registry: Registry, tracking, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A model of three versions; nothing is its memory yet."""
    name = f"catalogue-{abs(hash(request.node.name)) % 10**8}"
    for number in range(3):
        run = tracking.create_run("icss-pretraining", name=name, tags={})
        registry.register(name, write_tiny_model(tmp_path / str(number)), run_id=run)
    return name


def test_memory_moves_only_from_where_the_caller_saw_it(registry: Registry, tracking, name: str) -> None:
    catalogue = Catalogue(registry, tracking)
    assert catalogue.move_memory(name, 1, expected=None).previous is None
    assert catalogue.move_memory(name, 2, expected=1).previous == 1
    with pytest.raises(ConflictError, match="version 2 by now, not 1"):
        catalogue.move_memory(name, 3, expected=1)
    assert registry.describe(name).aliases == {"memory": 2}
    assert catalogue.move_memory(name, 3, expected=None).previous == 2, "who expects nothing moves it anyway"
    with pytest.raises(VersionNotFoundError):
        catalogue.move_memory(name, 9, expected=3)


def test_of_moves_from_two_processes_with_one_expectation_one_succeeds(
    mlflow_settings: Settings, name: str
) -> None:
    """Each thread has its own everything, as each replica of the API has."""
    catalogues = [Catalogue(Registry(mlflow_settings), Tracking(mlflow_settings)) for _ in range(2)]
    catalogues[0].move_memory(name, 1, expected=None)
    together = threading.Barrier(2)

    def move(catalogue: Catalogue, to: int) -> str:
        together.wait(30)
        try:
            catalogue.move_memory(name, to, expected=1)
        except ConflictError as error:
            return str(error)
        return "moved"

    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            answers = sorted(pool.map(move, catalogues, (2, 3)))
        assert answers[1] == "moved"
        assert "by now, not 1" in answers[0]
        catalogues[0].move_memory(name, 1, expected=None)


def test_versions_are_shown_newest_first_with_their_label_space(
    registry: Registry, tracking, name: str
) -> None:
    catalogue = Catalogue(registry, tracking)
    catalogue.move_memory(name, 2, expected=None)
    detail = catalogue.model(name)
    assert [version.version for version in detail.versions] == [3, 2, 1]
    assert [version.aliases for version in detail.versions] == [[], ["memory"], []]
    assert [info.name for info in detail.versions[0].classes] == ["background", "road"]
    assert detail.versions[0].bands == 3
    (summary,) = [one for one in catalogue.models() if one.name == name]
    assert (summary.versions, summary.aliases) == (3, {"memory": 2})
    with pytest.raises(ModelNotFoundError):
        catalogue.model("nobody")


def test_of_people_who_accept_at_once_one_succeeds(service: Service, town: str, updated) -> None:
    version = updated.result_version

    def accept(_: int) -> str:
        with service.client() as client:
            try:
                client.accept(town, version, expected=1)
            except ConflictError as error:
                return str(error)
            return "moved"

    try:
        with ThreadPoolExecutor(3) as pool:
            answers = sorted(pool.map(accept, range(3)))
    finally:
        with service.client() as client:
            client.accept(town, 1, expected=None)
    assert answers.count("moved") == 1
    assert all(f"version {version} by now, not 1" in one for one in answers if one != "moved")
