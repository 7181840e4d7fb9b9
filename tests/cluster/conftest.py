"""One cluster of a head and two nodes for all tests; a test that loses a node brings another."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from machines import Loopback, Namespaces
from ray_nodes import RayNodes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    folder = tmp_path_factory.mktemp("cluster")
    machines = Namespaces() if Namespaces.possible() else Loopback()
    with (
        tempfile.TemporaryDirectory(prefix="icss-n-", ignore_cleanup_errors=True) as temporary,
        RayNodes(machines, folder, Path(temporary)) as nodes,
    ):
        sys.stdout.write(f"machines are {type(machines).__name__.lower()}; logs are in {folder}\n")
        yield nodes


@pytest.fixture
def two_nodes(cluster: RayNodes) -> RayNodes:
    """The cluster with two nodes, whatever the tests before have done to it."""
    while len(cluster.nodes) < 2:
        cluster.add_node()
    return cluster
