"""Whether an HTTP server on this machine answers."""

from __future__ import annotations

import httpx


def answers(url: str, *, headers: dict[str, str] | None = None, status: int | None = None) -> bool:
    """Whether a GET gets an answer (with this status, if one is named) within two seconds."""
    try:
        response = httpx.get(url, headers=headers, timeout=2.0, trust_env=False)
    except httpx.HTTPError:
        return False
    return status is None or response.status_code == status
