"""Removes symbol tables from compiled files: `python strip_symbols.py SITE_PACKAGES`.

A program of the Dockerfile. The tables name functions for a debugger; the loader has its own, which stay.
Some files do not survive this: tools that build wheels have moved their parts about, and `strip` puts one
where the loader cannot map it. Those keep their tables.

Needs `strip` and `readelf` (binutils).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

PATTERNS: Final = ("**/*.so", "**/*.so.*", "ray/core/src/ray/*/raylet", "ray/core/src/ray/*/gcs_server")
LEFT_ALONE: Final = "nvidia"
"""Has no such tables."""
PAGE: Final = 4096


def can_be_mapped(library: Path) -> bool:
    """Whether each segment lies in the file as it will lie in memory, counted within a page."""
    listed = subprocess.run(
        ["readelf", "-lW", str(library)], check=True, capture_output=True, text=True
    ).stdout
    segments = [line.split() for line in listed.splitlines() if line.split()[:1] == ["LOAD"]]
    return bool(segments) and all((int(one[1], 16) - int(one[2], 16)) % PAGE == 0 for one in segments)


def strip(library: Path, scratch: Path) -> int:
    """Remove the tables of a file, if it stays loadable; returns the bytes that this gave."""
    before = library.stat()
    stripped = scratch / "stripped"
    subprocess.run(["strip", "--strip-unneeded", "-o", str(stripped), str(library)], check=True)
    freed = before.st_size - stripped.stat().st_size
    if freed <= 0 or not can_be_mapped(stripped):
        return 0
    shutil.copyfile(stripped, library)
    os.utime(library, ns=(before.st_atime_ns, before.st_mtime_ns))
    return freed


def main() -> None:
    """Strip all that can be, and say how much the largest gave."""
    site_packages = Path(sys.argv[1])
    paths = {path for pattern in PATTERNS for path in site_packages.glob(pattern) if path.is_file()}
    freed = {}
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(paths):
            name = path.relative_to(site_packages)
            if name.parts[0] != LEFT_ALONE and not path.is_symlink():
                freed[name] = strip(path, Path(scratch))
    for name, size in sorted(freed.items(), key=lambda item: -item[1])[:10]:
        print(f"{size / 2**20:8.1f} MiB  {name}")
    kept = [str(name) for name, size in freed.items() if not size]
    print(f"{sum(freed.values()) / 2**20:8.1f} MiB  in {len(freed) - len(kept)} files")
    print(f"as they were: {', '.join(kept)}")


if __name__ == "__main__":
    main()
