"""Where pip on this machine takes packages from, for a build that shall do the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

CERTIFICATES = "/run/certificates"
PASSED = ("index-url", "extra-index-url", "find-links", "trusted-host", "cert", "default-timeout")


def pip_settings(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Build arguments (PIP_INDEX_URL and so on), and folders of this machine by their place in the build.

    Variables go before files, as in pip itself.

    Args:
        folder: for a copy of the file of certificates, if pip is told one.
    """
    # a Python without pip has no settings of it either
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True
    ).stdout
    found = dict(re.findall(r"^(?:global|install)\.([a-z-]+)='(.*)'$", listed, flags=re.MULTILINE))
    arguments, places = {}, {}
    for name in PASSED:
        variable = f"PIP_{name.upper().replace('-', '_')}"
        value = os.environ.get(variable, found.get(name, "")).replace("\\n", " ")
        if value and name == "cert":
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(value, folder / "certificates.pem")
            arguments[variable] = f"{CERTIFICATES}/certificates.pem"
            places[CERTIFICATES] = str(folder)
        elif value:
            arguments[variable] = value
            places |= {local: local for local in map(_local_folder, value.split()) if local}
    return arguments, places


def _local_folder(address: str) -> str | None:
    """The folder that an address of this machine's own files needs; None: it is elsewhere."""
    parts = urlsplit(address)
    path = Path(unquote(parts.path))
    if parts.scheme not in {"", "file"} or not path.is_absolute() or not path.is_dir():
        return None
    # the pages of an index link files beside it
    return str(path.parent if path.name == "simple" else path)
