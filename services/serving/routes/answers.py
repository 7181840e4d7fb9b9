"""The error responses that routes document."""

from __future__ import annotations

from typing import Any, Final

from services.serving.responses import ErrorResponse

_DESCRIPTIONS: Final[dict[int, str]] = {
    400: "The body cannot be parsed at all.",
    401: "No valid token.",
    403: "The address is not one this service may read.",
    404: "There is no such resource.",
    409: "Not possible in the present state.",
    413: "The body is too large.",
    422: "The request is not valid; the message says what and where.",
    429: "The service has as much to do, or to hold, as it takes at once.",
    501: "This service has no cluster for such jobs.",
    503: "A part of the service is restarting, or MLflow does not answer; try again in a moment.",
    502: "The object store does not answer, or MLflow refuses.",
}

_RETRY_AFTER: Final[dict[str, Any]] = {
    "Retry-After": {"description": "seconds to wait before asking again", "schema": {"type": "integer"}}
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Entries of the OpenAPI document for these statuses, and for 401 and 503, which any path may answer."""
    entries: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorResponse, "description": _DESCRIPTIONS[status]}
        for status in sorted({401, 503, *statuses})
    }
    for status in {429, 503} & entries.keys():
        entries[status]["headers"] = _RETRY_AFTER
    return entries
