"""The service in one process: real object store, real MLflow, real HTTP, real updates; no Ray."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from services.local.mlflow_server import start_mlflow, wait_for_mlflow
from services.local.object_store import start_object_store, wait_for_object_store
from services.local.ports import free_ports
from services.settings import Limits, Settings
from services.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "a token of the tests"


@pytest.fixture(scope="session")
def serving_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="session")
def serving_settings(serving_folder: Path) -> Iterator[Settings]:
    """Settings over a real S3 server and a real MLflow server of this test session."""
    store_port, mlflow_port, api_port = free_ports(3)
    keys = {"access_key": "test-access-key", "secret_key": "test-secret-key"}
    with ExitStack() as running:
        store = start_object_store(
            serving_folder / "s3",
            port=store_port,
            buckets=("icss",),
            environment=os.environ,
            log=serving_folder / "s3.log",
            **keys,
        )
        running.callback(store.stop)
        mlflow = start_mlflow(
            serving_folder / "mlflow" / "mlflow.db",
            port=mlflow_port,
            artefacts="s3://icss/mlflow",
            s3_endpoint=f"http://127.0.0.1:{store_port}",
            environment=os.environ,
            log=serving_folder / "mlflow.log",
            **keys,
        )
        running.callback(mlflow.stop)
        wait_for_object_store(store, port=store_port, seconds=30)
        wait_for_mlflow(mlflow, port=mlflow_port, seconds=90)
        yield Settings(
            s3_endpoint=f"http://127.0.0.1:{store_port}",
            s3_access_key=keys["access_key"],
            s3_secret_key=SecretStr(keys["secret_key"]),
            data_prefix="s3://icss/data",
            mlflow_uri=f"http://127.0.0.1:{mlflow_port}",
            api_token=SecretStr(TOKEN),
            api_port=api_port,
            threads=1,
            cache_dir=serving_folder / "cache",
            limits=Limits(max_body_bytes=300_000, max_clicks=50, max_pixels=250_000, max_queued_updates=3),
        )


@pytest.fixture(scope="session")
def tracking(serving_settings: Settings) -> Tracking:
    return Tracking(serving_settings)
