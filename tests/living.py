"""Processes that are still there, and their end."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from services.local.supervisor import descendants


def command_of(pid: int) -> str:
    """Command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def open_files(pid: int) -> set[Path]:
    """What a process has open; a file that it closes meanwhile is left out."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(link.readlink())
    return found


def kill_with_descendants(pid: int) -> None:
    """Kill a process and everything it has started, as a machine that is lost ends."""
    for one in [*descendants(pid), pid]:
        with suppress(ProcessLookupError):  # it went with one of the others
            os.kill(one, signal.SIGKILL)


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that mention a folder or have it in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                texts = [(entry / name).read_bytes() for name in ("cmdline", "environ")]
            except OSError:  # it ended while we looked, or is somebody else's
                continue
            if any(os.fsencode(folder) in text for text in texts) and texts[0]:
                found.append(texts[0].replace(b"\0", b" ").decode(errors="replace"))
    return found
