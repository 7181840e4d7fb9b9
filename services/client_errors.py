"""What the client raises: the service's own errors as the classes they were raised as there, and two more."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from icss_core import errors as core_errors
from services import errors as service_errors

if TYPE_CHECKING:
    import httpx

    from services.serving.responses import UpdateStatus

ERRORS: Final[dict[str, type[core_errors.IcssError]]] = {
    name: kind
    for module in (core_errors, service_errors)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, core_errors.IcssError)
}
"""The classes by the `type` that an error's body names."""

_PASSING: Final = (
    service_errors.UnavailableError,
    service_errors.BusyError,
    service_errors.TrackingError,
    service_errors.StorageError,
)


class ServiceError(core_errors.IcssError):
    """The service answered with an error that is none of our own kinds, or not at all.

    Args:
        message: what happened.
        status: HTTP status of the answer; None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class UpdateFailedError(core_errors.IcssError):
    """An update that was waited for ended failed or dismissed; `status` has the whole story."""

    def __init__(self, status: UpdateStatus) -> None:
        reason = f"{status.error.type}: {status.error.message}" if status.error else status.message
        super().__init__(f"update {status.id} ended {status.status}: {reason}")
        self.status = status


def error_of(response: httpx.Response) -> core_errors.IcssError:
    """The error in a response, as the class that was raised in the service where we know it."""
    status = response.status_code
    try:
        content = response.json()["error"]
        kind, message = str(content["type"]), str(content["message"])
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"status {status} from {response.url}: {response.text[:500]}", status)
    return ERRORS[kind](message) if kind in ERRORS else ServiceError(message, status)


def may_pass(error: BaseException) -> bool:
    """Whether the same question may well be answered a moment later: something is restarting, or busy."""
    if isinstance(error, ServiceError):
        return error.status is None or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, _PASSING)
