"""Ray's folder is closed to others, and goes even when its owner had no chance to remove it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from services.local.certificate import make_certificate
from services.local.ray_folder import ray_folder, remove_abandoned

KILLED = """
import os, signal
from services.local.ray_folder import ray_folder
with ray_folder() as folder:
    (folder / "ray").mkdir()
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


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
