"""Processes that are still there."""

import os
from pathlib import Path


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
