"""The image's own command beside S3 and MLflow of the same image, until its health check passes.

Arguments: the health check as the shell takes it, then the command.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from services.local.mlflow_server import start_mlflow, wait_for_mlflow
from services.local.object_store import start_object_store, wait_for_object_store
from services.settings import Settings, environment_of

HEALTH_CHECK, COMMAND = sys.argv[1], sys.argv[2:]
S3, MLFLOW, API = 9000, 5000, "http://127.0.0.1:8000"
KEYS = {"access_key": "an-access-key", "secret_key": "a-secret-key"}
MLFLOW_TOKEN, API_TOKEN = "a token for MLflow here", "a token for the API here"
BUCKETS = ("icss", "icss-mlflow")
SECONDS = 240


def is_healthy() -> bool:
    return (
        subprocess.run(["/bin/sh", "-c", HEALTH_CHECK], check=False, stderr=subprocess.DEVNULL).returncode
        == 0
    )


def get(path: str, **options: Any) -> httpx.Response:
    return httpx.get(f"{API}{path}", trust_env=False, timeout=10, **options)


settings = Settings(
    s3_endpoint=f"http://127.0.0.1:{S3}",
    s3_access_key=KEYS["access_key"],
    s3_secret_key=SecretStr(KEYS["secret_key"]),
    data_prefix="s3://icss",
    mlflow_uri=f"http://127.0.0.1:{MLFLOW}",
    mlflow_token=SecretStr(MLFLOW_TOKEN),
    api_token=SecretStr(API_TOKEN),
)
with ExitStack() as running:
    folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
    store = start_object_store(
        folder / "s3", port=S3, buckets=BUCKETS, environment=os.environ, log=folder / "s3.log", **KEYS
    )
    running.callback(store.stop)
    mlflow = start_mlflow(
        folder / "mlflow.db", port=MLFLOW, artefacts="s3://icss-mlflow", s3_endpoint=f"http://127.0.0.1:{S3}",
        token=MLFLOW_TOKEN, environment=os.environ, log=folder / "mlflow.log", **KEYS,
    )  # fmt: skip
    running.callback(mlflow.stop)
    wait_for_object_store(store, port=S3, seconds=60)
    wait_for_mlflow(mlflow, port=MLFLOW, seconds=120)
    assert not is_healthy(), "the health check passes without the service"
    # what the image says of itself (where it listens and caches, its revision) goes before what is set here
    service = subprocess.Popen(COMMAND, env=environment_of(settings) | dict(os.environ))
    running.callback(service.kill)
    began = time.monotonic()
    while not is_healthy():
        assert service.poll() is None, f"the service ended with {service.returncode}"
        assert time.monotonic() - began < SECONDS, f"the service is not well after {SECONDS} s"
        time.sleep(1)
    healthy = time.monotonic() - began
    while (ready := get("/readyz")).status_code != 200 and time.monotonic() - began < SECONDS:
        time.sleep(1)
    assert ready.status_code == 200, ready.text
    models = get("/v1/models", headers={"Authorization": f"Bearer {API_TOKEN}"})
    assert models.status_code == 200, models.text
    assert get("/v1/models").status_code == 401
    service.send_signal(signal.SIGTERM)
    stopping = time.monotonic()
    assert service.wait(timeout=30) == 128 + signal.SIGTERM
    stopped = time.monotonic() - stopping
    assert not is_healthy(), "the health check passes after the end of the service"
sys.stdout.write(f"well after {healthy:.1f} s, all parts ready, stopped by SIGTERM in {stopped:.1f} s\n")
