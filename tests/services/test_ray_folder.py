"""Ray's folder is closed to others, and goes even when its owner had no chance to remove it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from services.errors import StackError
from services.local.certificate import make_certificate
from services.local.ray_folder import LONGEST_PARENT, ray_folder, remove_abandoned, short_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

KILLED = """
import os, signal
from services.local.ray_folder import ray_folder
with ray_folder() as folder:
    (folder / "ray").mkdir()
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(monkeypatch) -> Iterator[Path]:
    """A temporary folder whose path is short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="i", dir="/tmp"))
    be_temporary(folder, monkeypatch)
    yield folder
    shutil.rmtree(folder)


def be_temporary(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)


def old(folder: Path) -> Path:
    os.utime(folder, (0, 0))
    return folder


def test_nobody_else_enters_it_and_it_goes_with_the_block(temporary) -> None:
    with ray_folder() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(temporary.iterdir()) == []


def test_what_a_killed_stack_left_goes_at_the_next_start_and_nothing_else(temporary) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    left = old(Path(killed.stdout.strip()))
    assert (left / "ray").is_dir()
    foreign = old(Path(tempfile.mkdtemp(prefix="somebody-elses-")))
    with ray_folder() as living:
        old(living)
        assert not left.exists()
        with ray_folder() as second:
            assert living.is_dir()
            assert second != living
    assert list(temporary.iterdir()) == [foreign]


def test_a_folder_that_was_just_made_is_left_alone(tmp_path) -> None:
    (tmp_path / "icss-ray-new").mkdir()
    assert remove_abandoned(tmp_path) == []
    assert remove_abandoned(old(tmp_path / "icss-ray-new").parent) == [tmp_path / "icss-ray-new"]


def test_the_key_is_for_its_owner_only(tmp_path) -> None:
    made = make_certificate(tmp_path)
    assert made.key.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE KEY" in made.key.read_bytes()
    assert b"PRIVATE KEY" not in made.path.read_bytes()


def sockets_of_ray() -> list[str]:
    """The names that the installed Ray gives to sockets: those of its parts' classes, and of a node."""
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    files = (Path(spec.origin).parent / "dashboard" / "modules").rglob("*_head.py")
    parts = [
        name
        for file in files
        for name in re.findall(r"^class (\w+)\(SubprocessModule\)", file.read_text(), re.MULTILINE)
    ]
    assert len(parts) > 4
    return ["plasma_store", "raylet", *(f"dash_{name}" for name in parts)]


def binds(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.bind(str(path))
        except OSError as error:
            return "too long" not in str(error)
    return True


def test_the_longest_path_that_is_used_has_room_for_every_socket_of_ray(temporary, monkeypatch) -> None:
    assert len(os.fsencode(temporary)) == LONGEST_PARENT
    with ray_folder() as folder:
        assert folder.parent == temporary
        session = folder / "ray" / "session_2026-11-29_12-00-00_000000_4194304" / "sockets"
        assert all(binds(session / name) for name in sockets_of_ray())
    longer = temporary / "x"
    longer.mkdir()
    be_temporary(longer, monkeypatch)
    with ray_folder() as folder:
        assert folder.parent == temporary.parent
        assert folder.stat().st_mode & 0o777 == 0o700
        too_long = longer / folder.name / session.relative_to(session.parents[2])
        assert not all(binds(too_long / name) for name in sockets_of_ray())
    assert list(longer.glob("icss-ray-*")) == [longer / folder.name]  # which this test made


def test_without_any_short_folder_the_message_says_how_short(monkeypatch) -> None:
    monkeypatch.setattr("services.local.ray_folder._SHORT", (Path("/nowhere"),))
    long = Path("/scratch_scratch_scratch_scratch")
    with pytest.raises(StackError, match=rf"TMPDIR is {long}.*at most {LONGEST_PARENT} bytes"):
        short_folder(long)
