"""Runs a command in an image's files as a container would: `python enter.py DESCRIPTION.json COMMAND ...`.

Started as root in namespaces of its own (`unshare`). The root folder is read-only, only /tmp can be written
to; there is no network but loopback, no privilege, and nothing in the environment but what the image says.
No container runtime takes part: bind mounts and `chroot` make the same, as `buildah run` cannot make the root
read-only.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

DEVICES = ("null", "zero", "full", "random", "urandom")
TEMPORARY, SHARED = "tmp", "dev/shm"
SHARED_MEMORY = "64m"
"""Docker's and Kubernetes' default for /dev/shm."""
NO_NEW_PRIVILEGES = 38
INTERFACE_UP = 0x1
SET_INTERFACE_FLAGS = 0x8914


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def make_root(root: Path, checks: str) -> None:
    mount("--make-rprivate", "/")
    mount("--bind", str(root), str(root))
    mount("-t", "proc", "proc", f"{root}/proc")
    mount("-t", "sysfs", "-o", "ro", "sysfs", f"{root}/sys")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/dev")
    for name in DEVICES:
        Path(root, "dev", name).touch()
        mount("--bind", f"/dev/{name}", f"{root}/dev/{name}")
    Path(root, "dev/fd").symlink_to("/proc/self/fd")
    (root / SHARED).mkdir()
    mount("-t", "tmpfs", "-o", f"mode=1777,size={SHARED_MEMORY}", "tmpfs", f"{root / SHARED}")
    mount("-t", "tmpfs", "-o", "mode=1777,size=3g,noexec,nosuid,nodev", "tmpfs", f"{root / TEMPORARY}")
    inside = root / TEMPORARY / "checks"
    inside.mkdir()
    mount("--bind", "-o", "ro", checks, str(inside))
    # a container runtime writes this file; the folder is a copy of the image's, so nothing of that stays
    Path(root, "etc/hosts").write_text("127.0.0.1 localhost\n", encoding="ascii")
    mount("-o", "remount,bind,ro", str(root), str(root))


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_INTERFACE_FLAGS, struct.pack("16sh14x", b"lo", INTERFACE_UP))


def main() -> None:
    description, command = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2:]
    make_root(Path(description["root"]), description["checks"])
    loopback_up()
    os.chroot(description["root"])
    os.chdir(description["folder"])
    os.setgroups([])
    os.setgid(description["group"])
    os.setuid(description["user"])  # all capabilities go with it
    ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    os.execvpe(command[0], command, description["environment"])  # noqa: S606


if __name__ == "__main__":
    main()
