"""`icss local`: a command with the services up, and nothing left afterwards."""

from __future__ import annotations

import signal
import sys

import pytest
from living import processes_of
from typer.testing import CliRunner

from services.cli import app

pytestmark = pytest.mark.e2e

LOOK = """
import sys, urllib.request
from services.settings import load_settings
from services.storage import Storage
settings = load_settings()
print(urllib.request.urlopen(settings.mlflow_uri + "/health").status, file=sys.stderr)
Storage(settings).write_bytes("s3://icss/seen.txt", b"seen")
sys.exit(7)
"""


def test_a_command_finds_the_services_and_its_exit_code_is_ours(tmp_path, capfd):
    folder = tmp_path / "stack"
    handler = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(app, ["local", "--folder", str(folder), "--", sys.executable, "-c", LOOK])
    assert result.exit_code == 7, result.output
    assert "200" in capfd.readouterr().err
    assert (folder / "s3" / "icss" / "seen.txt").read_bytes() == b"seen"
    for service in ("S3", "Ray", "MLflow"):
        assert f"{service} answers at http://127.0.0.1:" in result.output
        assert (folder / "logs" / f"{service.lower()}.log").exists()
    assert processes_of(folder) == [], "left behind"
    assert signal.getsignal(signal.SIGTERM) == handler
