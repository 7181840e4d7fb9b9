"""Processes of the local stack leave nothing behind; small programs stand in for them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from living import processes_of

from services.errors import StackError
from services.local import LocalStack, Ports
from services.local.ports import free_ports
from services.local.process import ManagedProcess
from services.local.supervisor import descendants

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
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stack = LocalStack(tmp_path / "stack", ports=Ports(s3=taken.getsockname()[1]))
        with pytest.raises(StackError, match=r"(?s)S3 server ended.*address already in use"):
            stack.start()
    assert processes_of(tmp_path) == []
    assert stack.processes == ()


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(20))) == 20
