"""Runs one command and, at the end, leaves none of its descendants behind.

Started as a program of its own (`python supervisor.py GRACE_SECONDS COMMAND ...`), with a pipe as standard
input. The end comes when the command exits, on SIGTERM or SIGINT, or when the pipe closes: that is, also
when the process that started the supervisor was killed without a chance to clean up.

A process group is not enough: Ray puts workers and jobs into groups and sessions of their own. On Linux the
supervisor is therefore a "child subreaper": every orphan among its descendants becomes its own child, so
that all of them can be found by walking the parent links, whatever they did to detach themselves. Elsewhere
the command's process group is what is stopped.

Only the standard library is imported: this starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_KILL_SECONDS = 10.0
_POLL_SECONDS = 0.05


def descendants(root: int) -> list[int]:
    """Process ids of all living descendants of a process, by the parent links in /proc.

    Empty where there is no /proc.
    """
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir() if Path("/proc/self/stat").exists() else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                # the second field is the name, in parentheses, and may itself hold parentheses and spaces
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[0] != "Z":
                    children[int(fields[1])].append(int(entry.name))
    below: list[int] = []
    waiting = [root]
    while waiting:
        children_of_one = children[waiting.pop()]
        below += children_of_one
        waiting += children_of_one
    return below


def supervise(command: list[str], grace_seconds: float) -> int:
    """Run the command until one of the ends; returns its exit code (128 + n for signal n)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # the wake-up pipe carries the message
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    while True:
        ready, _, _ = select.select([0, read_end], [], [])
        if read_end in ready:
            signals = os.read(read_end, 4096)
            _reap_orphans(child)
            if signal.SIGTERM in signals or signal.SIGINT in signals or child.poll() is not None:
                break
        if 0 in ready and not os.read(0, 4096):
            break
    _stop(child, grace_seconds)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _reap_orphans(child: subprocess.Popen[bytes]) -> None:
    """Wait for adopted children that have ended; the command itself is left to `child.poll()`."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == child.pid:
            child.poll()
            return
        os.waitpid(ended.si_pid, os.WNOHANG)


def _stop(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End the command first, then whatever it left: asked once, then killed."""
    if child.poll() is None:
        kill(child.pid, signal.SIGTERM)
    _wait_until_alone(child, grace_seconds)
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + (1.0 if number == signal.SIGTERM else _KILL_SECONDS)
        while time.monotonic() < deadline:
            left = _living(child)
            if not left:
                return
            for pid in left:
                kill(pid, number)
            _wait_until_alone(child, 1.0 if number == signal.SIGTERM else 0.2)


def _wait_until_alone(child: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _living(child):
        time.sleep(_POLL_SECONDS)


def _living(child: subprocess.Popen[bytes]) -> list[int]:
    child.poll()
    _reap_orphans(child)
    if Path("/proc/self/stat").exists():
        return descendants(os.getpid())
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return []
    return [-child.pid]


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process, which may have ended in the meantime."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[2:], float(sys.argv[1])))
