"""Which code is running."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.settings import Settings


def code_revision(settings: Settings) -> str:
    """The git commit, "-dirty" after it where files differ from it; the package's version outside a checkout.

    An image without git says it by the setting `revision`.
    """
    if settings.revision is not None:
        return settings.revision
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=10
        )
    except OSError:  # no git on this machine
        return f"icss-{version('icss')}"
    return done.stdout.strip() if done.returncode == 0 else f"icss-{version('icss')}"
