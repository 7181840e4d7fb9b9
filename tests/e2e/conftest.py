"""The real services, once for all end-to-end tests of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.local import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """S3, MLflow and Ray on free loopback ports; children use `stack.environment()`."""
    with LocalStack(
        tmp_path_factory.mktemp("stack"),
        num_cpus=4,
        object_store_bytes=200_000_000,
        # the one of tests/services: MLflow's client has one token for the whole of the tests' process
        mlflow_token="a token of the tests for MLflow",
    ) as started:
        yield started
