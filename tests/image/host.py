"""What the machine needs to build an image: root, two programs of Debian, room on the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS: Final = ("buildah", "debootstrap", "unshare")
BYTES: Final = 30 * 10**9
"""Of the disk, at once: the larger variant while it is built, with a copy of each stage."""


class MissingError(Exception):
    """The machine lacks something; the message says what, and how to get it."""


def prepare_host(folder: Path) -> None:
    """Install what is missing, if that can be done here.

    Raises:
        MissingError: it cannot be done here.
    """
    if os.geteuid() != 0:
        raise MissingError("building and entering an image as is done here takes root")
    if free := max(0, BYTES - shutil.disk_usage(folder).free):
        raise MissingError(
            f"{folder} needs {free / 1e9:.0f} GB more of free disk; name another folder with WORK="
        )
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing and shutil.which("apt-get") is None:
        raise MissingError(f"needs {', '.join(missing)}, and apt is not here to install them")
    if missing:
        packages = [{"unshare": "util-linux"}.get(name, name) for name in missing]
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", *command], check=True, stdout=subprocess.DEVNULL)
