"""The local stack leaves no process behind; small programs stand in for it where that is enough."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from open_ports import beyond_loopback
from pydantic import SecretStr

from services.errors import StackError, StorageError
from services.local import LocalStack, Ports
from services.local.ports import free_ports
from services.local.process import ManagedProcess
from services.local.supervisor import descendants
from services.settings import load_settings
from services.storage import Storage

# A child that detaches itself as daemons do: two forks and a session of its own. It ignores SIGTERM.
STUBBORN = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""
OWNER = """
import os, sys, time
from pathlib import Path
from services.local.process import ManagedProcess
folder = Path(sys.argv[1])
ManagedProcess("part", [sys.executable, "-c", sys.argv[2], str(folder / "pid")],
               environment=os.environ, log=folder / "part.log", grace_seconds=0.2)
time.sleep(600)
"""


def wait_for(condition, *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def written_pid(path: Path) -> int:
    wait_for(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def part(tmp_path: Path, *command: str) -> ManagedProcess:
    return ManagedProcess(
        "the part", command, environment=os.environ, log=tmp_path / "part.log", grace_seconds=0.3
    )


def test_stopping_ends_children_that_detached_themselves_and_ignore_it(tmp_path) -> None:
    process = part(tmp_path, sys.executable, "-c", STUBBORN, str(tmp_path / "pid"))
    pid = written_pid(tmp_path / "pid")
    assert pid in descendants(process.pid)
    process.stop()
    assert not alive(pid)
    assert not process.running
    process.stop()


def test_killing_the_owner_ends_everything_it_started(tmp_path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path), STUBBORN]) as owner:
        pid = written_pid(tmp_path / "pid")
        assert alive(pid)
        owner.kill()
    wait_for(lambda: not alive(pid))


def test_a_part_that_dies_is_quoted(tmp_path) -> None:
    process = part(tmp_path, sys.executable, "-c", "print('no such licence'); raise SystemExit(3)")
    with pytest.raises(StackError, match=r"(?s)the part ended with exit code 3.*no such licence"):
        process.wait_until(lambda: False, seconds=20)
    process.stop()


def test_a_part_that_does_not_answer_is_given_up(tmp_path) -> None:
    process = part(tmp_path, sys.executable, "-c", "import time; time.sleep(600)")
    with pytest.raises(StackError, match="did not answer within 0 s"):
        process.wait_until(lambda: False, seconds=0.3)
    process.stop()


def test_a_port_in_use_stops_what_had_started(tmp_path) -> None:
    before = set(descendants(os.getpid()))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stack = LocalStack(tmp_path / "stack", ports=Ports(s3=taken.getsockname()[1]))
        with pytest.raises(StackError, match=r"(?s)S3 server ended.*address already in use"):
            stack.start()
    assert set(descendants(os.getpid())) <= before
    assert stack.processes == ()


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(20))) == 20


@pytest.mark.e2e
def test_the_whole_stack_answers_to_its_keys_only_and_ends_without_a_trace(tmp_path, monkeypatch) -> None:
    before = set(descendants(os.getpid()))
    handler = signal.getsignal(signal.SIGTERM)
    said: list[str] = []
    with LocalStack(tmp_path / "stack", object_store_bytes=100_000_000, on_progress=said.append) as stack:
        assert len(said) == 3
        jobs = f"{stack.ray.dashboard}/api/jobs/"
        assert httpx.get(jobs).status_code == 401
        assert httpx.get(jobs, headers={"Authorization": f"Bearer {stack.ray.token}"}).json() == []
        assert httpx.get(f"{stack.settings.mlflow_uri}/health").text == "OK"
        assert httpx.get(stack.settings.mlflow_uri).status_code == 401
        with pytest.raises(StorageError, match="SignatureDoesNotMatch"):
            Storage(stack.settings.model_copy(update={"s3_secret_key": SecretStr("x")})).read_bytes(
                "s3://icss/x"
            )
        started = set(descendants(os.getpid())) - before
        environment = stack.environment()
        secrets = [stack.ray.token, environment["ICSS_S3_SECRET_KEY"], environment["ICSS_MLFLOW_TOKEN"]]
        for pid in started:
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists():
                assert not any(secret in command.read_text(errors="replace") for secret in secrets)
        assert beyond_loopback(started) == []
        folder = stack.ray.certificate.path.parent
        assert folder.stat().st_mode & 0o777 == 0o700
        for name in [name for name in os.environ if name.startswith("ICSS_")]:
            monkeypatch.delenv(name)
        for name, value in stack.environment().items():
            monkeypatch.setenv(name, value)
        assert load_settings() == stack.settings
    assert not [pid for pid in started if alive(pid)]
    assert not folder.exists()
    assert signal.getsignal(signal.SIGTERM) == handler
    for log in ("s3.log", "mlflow.log", "ray.log"):
        assert (tmp_path / "stack" / "logs" / log).exists()
