"""The whole API under requests that nobody would think of, made from its own description by schemathesis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Service

RULES = Path(__file__).with_name("schemathesis.toml")


def test_every_answer_is_one_that_the_description_announces(
    service: Service, town: str, tmp_path: Path
) -> None:
    """No failure of the service, no status or body that is not described, no nonsense that is accepted."""
    token = service.settings.require_api_token()
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "st", "--config-file", RULES),
            *("run", f"{service.url}/openapi.json", "--header", f"Authorization: Bearer {token}"),
            *("--continue-on-failure", "--warnings", "off"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Selected: 15/15" in done.stdout
