"""The local stack as a whole: who may talk to it, and what its processes give away."""

from __future__ import annotations

import os

import httpx
import pytest
from living import command_of
from open_ports import beyond_loopback
from pydantic import SecretStr

from services.errors import StorageError
from services.local.supervisor import descendants
from services.settings import load_settings
from services.storage import Storage

pytestmark = pytest.mark.e2e


def test_the_whole_stack_answers_to_its_keys_and_on_this_machine_only(stack, monkeypatch) -> None:
    jobs = f"{stack.ray.dashboard}/api/jobs/"
    assert httpx.get(jobs).status_code == 401
    assert httpx.get(jobs, headers={"Authorization": f"Bearer {stack.ray.token}"}).status_code == 200
    assert httpx.get(f"{stack.settings.mlflow_uri}/health").text == "OK"
    assert httpx.get(stack.settings.mlflow_uri).status_code == 401
    with pytest.raises(StorageError, match="SignatureDoesNotMatch"):
        Storage(stack.settings.model_copy(update={"s3_secret_key": SecretStr("x")})).read_bytes("s3://icss/x")
    started = {pid for process in stack.processes for pid in (process.pid, *descendants(process.pid))}
    assert len(started) > 6
    environment = stack.environment()
    secrets = [stack.ray.token, environment["ICSS_S3_SECRET_KEY"], environment["ICSS_MLFLOW_TOKEN"]]
    for pid in started:
        assert not any(secret in command_of(pid) for secret in secrets)
    # without what runs on it: the ports of Ray Serve's replicas are tested in tests/e2e/test_serving.py
    assert beyond_loopback({pid for pid in started if not command_of(pid).startswith("ray::")}) == []
    assert stack.ray.certificate.path.parent.stat().st_mode & 0o777 == 0o700
    for name in [name for name in os.environ if name.startswith("ICSS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == stack.settings
