"""Commands inside of an image's files, as its user, with its environment, and with a read-only root."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE: Final = Path(__file__).parent
NAMESPACES: Final = ("--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    output: str
    seconds: float


class ReadOnlyRoot:
    """An image's files, ready to run commands in.

    Args:
        root: its files.
        config: its configuration, as `Buildah.config` gives it.
        folder: for the description that the process inside gets.
    """

    def __init__(self, root: Path, config: Mapping[str, Any], folder: Path) -> None:
        user, _, group = config["User"].partition(":")
        self._description = folder / "description.json"
        self._description.write_text(
            json.dumps(
                {
                    "root": str(root),
                    "checks": str(HERE / "inside"),
                    "folder": config["WorkingDir"],
                    "user": int(user),
                    "group": int(group),
                    "environment": dict(entry.split("=", 1) for entry in config["Env"]),
                }
            ),
            encoding="utf-8",
        )

    def run(self, *command: str, timeout: float) -> Done:
        """Run a command; it, and all that it started, ends after `timeout` seconds at the latest."""
        enter = [sys.executable, "-I", str(HERE / "enter.py"), str(self._description), *command]
        began = time.monotonic()
        process = subprocess.Popen(
            ["unshare", *NAMESPACES, *enter],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            output += f"\nstopped after {timeout:.0f} s"
        return Done(code=process.returncode, output=output.strip(), seconds=time.monotonic() - began)
