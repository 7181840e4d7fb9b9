"""What must not be in an image's files, or is missing in what it says of itself: seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LEFT: Final = (
    *("build", "tmp/*", "var/tmp/*", "run/certificates/*", "root/.cache", "root/.config", "usr/include/*"),
    *("var/lib/apt/lists/*Packages*", "var/cache/apt/archives/*.deb", "usr/bin/gcc*", "opt/icss/bin/pip*"),
    *("opt/icss/**/*.a", "opt/icss/**/pip-*.dist-info", "app/[!t]*", "**/.git"),
)
"""What a build leaves behind if it is not careful."""
LABELS: Final = ("title", "description", "version", "base.name")


def faults(root: Path, config: Mapping[str, Any], *, revision: str) -> list[str]:
    """Sentences; none if all is well.

    Args:
        root: the image's files.
        config: its configuration.
        revision: that it was built for.
    """
    found = [f"/{path.relative_to(root)} is left" for pattern in LEFT for path in root.glob(pattern)]
    labels = config["Labels"]
    found += [f"no label {name}" for name in LABELS if not labels.get(f"org.opencontainers.image.{name}")]
    if labels.get("org.opencontainers.image.revision") != revision:
        found.append(f"the label of the revision is not {revision}")
    return found
