"""Ray's folder in the temporary folder: closed to others, and not left there by a stack that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX: Final = "icss-ray-"
_LOCK: Final = "owner.lock"
_YOUNG_SECONDS: Final = 60.0
"""A folder as young as this may be about to get its lock."""
_SOCKET_BYTES: Final = 103 if sys.platform == "darwin" else 107
"""That the path of a socket may have."""
_LONGEST_SOCKET: Final = "/ray/session_2026-11-29_12-00-00_000000_4194304/sockets/dash_TaskEventsHead"
"""What Ray puts below the folder: a session with its start and process, and the sockets of its parts."""
_RANDOM: Final = 8
"""Characters that `tempfile` adds to a prefix."""
_SHORT: Final = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - what is made there is closed to others
LONGEST_PARENT: Final = _SOCKET_BYTES - len(_LONGEST_SOCKET) - len(_PREFIX) - _RANDOM - 1
"""That the path of the folder which Ray's folder lies in may have."""


@contextmanager
def ray_folder() -> Iterator[Path]:
    """A folder for Ray, removed in the end; folders of stacks that were killed are removed now.

    Give Ray a folder inside of it: it lets everybody write to the one that it is given.

    It lies in the temporary folder and not with the stack's data, because Ray puts sockets below it, whose
    paths may have 107 bytes; in /tmp or /var/tmp where the temporary folder's own path is too long for that.
    Its owner holds a lock, which ends with the process, however that ends.

    Raises:
        StackError: no folder with a short path can be written to.
    """
    parent = short_folder(Path(tempfile.gettempdir()))
    remove_abandoned(parent)
    outer = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))  # mode 0700
    try:
        with (outer / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield outer
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def short_folder(temporary: Path) -> Path:
    """The temporary folder, or another whose path is short enough for Ray's sockets.

    Raises:
        StackError: there is none; the message says how long the path may be.
    """
    for folder in (temporary, *_SHORT):
        if len(os.fsencode(folder)) <= LONGEST_PARENT and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise StackError(
        f"TMPDIR is {temporary}, whose path is too long for Ray's sockets, and neither "
        f"{' nor '.join(map(str, _SHORT))} can be written to; set TMPDIR to a folder whose path has at most "
        f"{LONGEST_PARENT} bytes"
    )


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
