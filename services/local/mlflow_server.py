"""The MLflow server of one machine: SQLite, artefacts in the S3 server, files served through itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from services.local.probe import answers
from services.local.process import ManagedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def start_mlflow(
    database: Path,
    *,
    port: int,
    artefacts: str,
    s3_endpoint: str,
    access_key: str,
    secret_key: str,
    token: str,
    environment: Mapping[str, str],
    log: Path,
    host: str = "127.0.0.1",
) -> ManagedProcess:
    """Start the server behind a token (see `services.mlflow_gate`).

    Only it holds the keys of the artefact bucket; clients go through it. Keys and token travel in the
    environment.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    own = {
        "MLFLOW_S3_ENDPOINT_URL": s3_endpoint,
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "ICSS_MLFLOW_TOKEN": token,
    }
    command = [
        *(sys.executable, "-m", "services.mlflow_gate"),
        *("--backend-store-uri", f"sqlite:///{database}"),
        *("--artifacts-destination", artefacts),
        *("--host", host, "--port", str(port)),
    ]
    if host != "127.0.0.1":  # loopback is allowed by itself, on any port; another name has to be told
        command += ["--allowed-hosts", f"{host},{host}:{port}"]
    return ManagedProcess("the MLflow server", command, environment={**environment, **own}, log=log)


def wait_for_mlflow(process: ManagedProcess, *, port: int, seconds: float, host: str = "127.0.0.1") -> None:
    """Wait until the server answers.

    Raises:
        StackError: it did not start.
    """
    process.wait_until(lambda: answers(f"http://{host}:{port}/health", status=200), seconds=seconds)
