"""How large the files of an image are, and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

SITE_PACKAGES: Final = "opt/icss/lib/python3.11/site-packages"


def bytes_below(path: Path) -> int:
    """Of all files, each counted once; links count nothing."""
    inodes = {}
    for one in (path, *path.rglob("*")):
        if one.is_file() and not one.is_symlink():
            status = one.lstat()
            inodes[status.st_ino] = status.st_size
    return sum(inodes.values())


def largest_folders(root: Path, count: int = 10) -> list[tuple[int, str]]:
    """(bytes, path below the root), the largest first: packages by name, the system by its own folders."""
    packages = [path for path in (root / SITE_PACKAGES).iterdir() if path.is_dir()]
    system = [path for path in (*root.glob("usr/*"), *root.glob("var/*")) if path.is_dir()]
    sizes = [(bytes_below(path), str(path.relative_to(root))) for path in (*packages, *system)]
    return sorted(sizes, reverse=True)[:count]
