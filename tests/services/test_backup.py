"""A copy of database and buckets, made while they are in use, is a whole installation: docs/deploy.md."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from pydantic import SecretStr
from same_weights import same_weights
from tiny_model import write_tiny_model

from icss_core.networks import load_model
from services.local.mlflow_server import start_mlflow, wait_for_mlflow
from services.local.object_store import start_object_store, wait_for_object_store
from services.local.ports import free_ports
from services.registry import MEMORY, Registry
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking

if TYPE_CHECKING:
    from pathlib import Path

    from services.settings import Settings

KEYS = {"access_key": "another-access-key", "secret_key": "another-secret-key"}
TOKEN = "another token of the tests for MLflow"


def test_copy_of_an_installation_in_use_is_an_installation(
    mlflow_settings: Settings, server_folder: Path, tmp_path: Path
) -> None:
    tracking, registry = Tracking(mlflow_settings), Registry(mlflow_settings)
    run = tracking.create_run(PRETRAINING, name="kept", tags={"icss.model": "kept"})
    model = write_tiny_model(tmp_path / "model")
    registry.set_alias("kept", MEMORY, registry.register("kept", model, run_id=run))
    Storage(mlflow_settings).write_bytes("s3://icss/data/kept.txt", b"kept")

    with (
        closing(sqlite3.connect(server_folder / "mlflow.db")) as database,
        closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy,
    ):
        database.backup(copy)
    registry.register("later", model, run_id=tracking.create_run(PRETRAINING, name="later", tags={}))
    shutil.copytree(server_folder / "s3", tmp_path / "s3")  # after the database: it has all that that names

    with ExitStack() as running:
        restored = _started(running, tmp_path, mlflow_settings)
        again = Registry(restored)
        assert again.resolve("kept", MEMORY).version == 1
        network, card = load_model(again.fetch("kept", 1))
        expected, expected_card = load_model(model)
        assert same_weights(network, expected)
        assert card == expected_card
        assert Storage(restored).read_bytes("s3://icss/data/kept.txt") == b"kept"
        record = Tracking(restored).get(run)
        assert record is not None
        assert record.name == "kept"
        assert "later" not in again.names()
        assert again.register("kept", model, run_id=Tracking(restored).create_run(
            PRETRAINING, name="goes on", tags={}
        )) == 2, "it goes on from there"  # fmt: skip


def _started(running: ExitStack, folder: Path, like: Settings) -> Settings:
    """New servers on the copies, with keys and tokens of their own."""
    s3, mlflow = free_ports(2)
    store = start_object_store(
        folder / "s3",
        port=s3,
        buckets=("icss", "icss-mlflow"),
        environment=os.environ,
        log=folder / "s3.log",
        **KEYS,
    )
    running.callback(store.stop)
    server = start_mlflow(
        folder / "mlflow.db",
        port=mlflow,
        artefacts="s3://icss-mlflow",
        s3_endpoint=f"http://127.0.0.1:{s3}",
        token=TOKEN,
        environment=os.environ,
        log=folder / "mlflow.log",
        **KEYS,
    )
    running.callback(server.stop)
    wait_for_object_store(store, port=s3, seconds=60)
    wait_for_mlflow(server, port=mlflow, seconds=120)
    changes = {
        "s3_endpoint": f"http://127.0.0.1:{s3}",
        "s3_access_key": KEYS["access_key"],
        "s3_secret_key": SecretStr(KEYS["secret_key"]),
        "mlflow_uri": f"http://127.0.0.1:{mlflow}",
        "mlflow_token": SecretStr(TOKEN),
        "cache_dir": folder / "cache",
    }
    return like.model_copy(update=changes)
