"""The service with a Ray head of its own, as far as that does not start one: `make image-test` does."""

import os
import subprocess
import sys

import pytest

from services.errors import ConfigurationError, StackError
from services.local.process import ManagedProcess
from services.serving.own_cluster import serve_on_own_cluster, watch
from services.settings import Settings


def test_without_settings_it_says_which_and_ends():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ICSS_")}
    done = subprocess.run(
        [sys.executable, "-m", "services.serving", "--own-cluster"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "ICSS_DATA_PREFIX" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_token_nothing_is_started(monkeypatch):
    monkeypatch.delenv("ICSS_API_TOKEN", raising=False)
    settings = Settings(data_prefix="s3://icss", mlflow_uri="http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="ICSS_API_TOKEN"):
        serve_on_own_cluster(settings)


def test_it_ends_with_its_head(tmp_path):
    command = [sys.executable, "-c", "print('out of memory')"]
    head = ManagedProcess("the Ray head", command, environment=os.environ, log=tmp_path / "ray.log")
    try:
        with pytest.raises(StackError, match=r"the Ray head has died(.|\n)*out of memory"):
            watch(head)
    finally:
        head.stop()
