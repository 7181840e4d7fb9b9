"""A real S3 server and a real MLflow server for the tests of storage, registry and tracking.

Where a test of the session needs the whole stack, they are the stack's; otherwise they start alone, which
takes two seconds less for S3 and ten for MLflow.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from services.local.mlflow_server import start_mlflow, wait_for_mlflow
from services.local.object_store import start_object_store, wait_for_object_store
from services.local.ports import free_ports
from services.settings import Settings, environment_of
from services.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.local import LocalStack

KEYS = {"access_key": "an-access-key", "secret_key": "a-secret-key"}
MLFLOW_TOKEN = "a token of the tests for MLflow"


@pytest.fixture(scope="session")
def whole_stack(request: pytest.FixtureRequest) -> LocalStack | None:
    """The stack, if a test of this session needs it as a whole."""
    if any("stack" in getattr(item, "fixturenames", ()) for item in request.session.items):
        return request.getfixturevalue("stack")
    return None


@pytest.fixture(scope="session")
def server_folder(whole_stack: LocalStack | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers keep everything: the buckets in `s3`, and `mlflow.db`."""
    return tmp_path_factory.mktemp("servers") if whole_stack is None else whole_stack.folder


@pytest.fixture(scope="session")
def store_settings(
    whole_stack: LocalStack | None, server_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of an S3 server with two buckets, of which only icss/data and icss/more may be touched."""
    folder = tmp_path_factory.mktemp("store")
    with ExitStack() as running:
        if whole_stack is None:
            settings = running.enter_context(_object_store(server_folder))
        else:
            settings = whole_stack.settings
        yield settings.model_copy(
            update={
                "data_prefix": "s3://icss/data",
                "allowed_prefixes": ("s3://icss/more",),
                "mlflow_uri": "http://127.0.0.1:9",
                "cache_dir": folder / "cache",
            }
        )


@contextmanager
def _object_store(folder: Path) -> Iterator[Settings]:
    (port,) = free_ports(1)
    server = start_object_store(
        folder / "s3",
        port=port,
        buckets=("icss", "icss-mlflow"),
        environment=os.environ,
        log=folder / "s3.log",
        **KEYS,
    )
    try:
        wait_for_object_store(server, port=port, seconds=30)
        yield Settings(
            s3_endpoint=f"http://127.0.0.1:{port}",
            s3_access_key=KEYS["access_key"],
            s3_secret_key=SecretStr(KEYS["secret_key"]),
            data_prefix="s3://icss",
            mlflow_uri="http://127.0.0.1:9",
        )
    finally:
        server.stop()


@pytest.fixture(scope="session")
def storage(store_settings: Settings) -> Storage:
    """The whole first bucket of that server, for tests that put data sets where they like."""
    return Storage(store_settings.model_copy(update={"data_prefix": "s3://icss"}))


@pytest.fixture(scope="session")
def mlflow_settings(
    store_settings: Settings, whole_stack: LocalStack | None, server_folder: Path
) -> Iterator[Settings]:
    """The same, with an MLflow server that keeps its artefacts in the second bucket."""
    if whole_stack is not None:
        yield store_settings.model_copy(update={"mlflow_uri": whole_stack.settings.mlflow_uri})
        return
    (port,) = free_ports(1)
    with ExitStack() as running:
        server = start_mlflow(
            server_folder / "mlflow.db",
            port=port,
            artefacts="s3://icss-mlflow",
            s3_endpoint=str(store_settings.s3_endpoint),
            token=MLFLOW_TOKEN,
            environment=os.environ,
            log=server_folder / "mlflow.log",
            **KEYS,
        )
        running.callback(server.stop)
        wait_for_mlflow(server, port=port, seconds=120)
        changes = {"mlflow_uri": f"http://127.0.0.1:{port}", "mlflow_token": SecretStr(MLFLOW_TOKEN)}
        yield store_settings.model_copy(update=changes)


@pytest.fixture
def mlflow_environment(mlflow_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same, which this process finds in its environment too, as a worker does."""
    for name, value in environment_of(mlflow_settings).items():
        monkeypatch.setenv(name, value)
    return mlflow_settings
