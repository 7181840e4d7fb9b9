"""Ray's folder in the temporary folder: closed to others, and not left there by a stack that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX: Final = "icss-ray-"
_LOCK: Final = "owner.lock"
_YOUNG_SECONDS: Final = 60.0
"""A folder as young as this may be about to get its lock."""


@contextmanager
def ray_folder() -> Iterator[Path]:
    """A folder for Ray, removed in the end; folders of stacks that were killed are removed now.

    Give Ray a folder inside of it: it lets everybody write to the one that it is given.

    It lies in the temporary folder and not with the stack's data, because Ray puts sockets below it, whose
    paths may have 107 bytes. Its owner holds a lock, which ends with the process, however that ends.
    """
    remove_abandoned(Path(tempfile.gettempdir()))
    outer = Path(tempfile.mkdtemp(prefix=_PREFIX))  # mode 0700
    try:
        with (outer / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield outer
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def remove_abandoned(parent: Path) -> list[Path]:
    """Remove the folders of this user whose owner has died; returns them."""
    removed = []
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or being removed by its owner right now
            status = folder.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > _YOUNG_SECONDS:
                if _is_held(folder / _LOCK):
                    continue
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _is_held(lock: Path) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
