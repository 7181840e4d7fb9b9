"""One table from error class to HTTP status, and the one shape of every error body.

A body is `{"error": {"type", "status", "message", "details", "id"}}`. Only statuses of 500 and above are
logged: the others are the caller's to read, and a scanner must not be able to fill the disk with them. What
the service failed at stays in the log, under an id: it may name addresses and paths of the inside.
"""

from __future__ import annotations

import logging
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from icss_core import errors as core
from services import errors as services

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

_log = logging.getLogger(__name__)

STATUS: Final[dict[type[core.IcssError], HTTPStatus]] = {
    core.InvalidParameterError: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.ImageNotFoundError: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.ImageUnreadableError: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.BandMismatchError: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.DtypeMismatchError: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.ClickError: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.UnknownClassError: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.UnknownPresetError: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.DatasetError: HTTPStatus.UNPROCESSABLE_ENTITY,
    core.ClassExistsError: HTTPStatus.CONFLICT,
    core.CancelledError: HTTPStatus.CONFLICT,
    services.ConflictError: HTTPStatus.CONFLICT,
    services.UriNotAllowedError: HTTPStatus.FORBIDDEN,
    services.MalformedUriError: HTTPStatus.UNPROCESSABLE_ENTITY,
    services.UnauthorisedError: HTTPStatus.UNAUTHORIZED,
    services.BodyTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    services.BusyError: HTTPStatus.TOO_MANY_REQUESTS,
    services.ModelNotFoundError: HTTPStatus.NOT_FOUND,
    services.VersionNotFoundError: HTTPStatus.NOT_FOUND,
    services.UpdateNotFoundError: HTTPStatus.NOT_FOUND,
    services.UploadNotFoundError: HTTPStatus.NOT_FOUND,
    services.MapsNotFoundError: HTTPStatus.NOT_FOUND,
    services.NoJobsError: HTTPStatus.NOT_IMPLEMENTED,
    services.ObjectNotFoundError: HTTPStatus.UNPROCESSABLE_ENTITY,
    services.StorageError: HTTPStatus.BAD_GATEWAY,
    services.StorageUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    services.TrackingError: HTTPStatus.BAD_GATEWAY,
    services.TrackingUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    services.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    core.IcssError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status of an error is that of its nearest listed class; what is not listed is a 500."""

_HEADERS: Final[dict[HTTPStatus, dict[str, str]]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="icss"'},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": "10"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "5"},
}


def status_of(error: core.IcssError) -> HTTPStatus:
    """HTTP status of an error by its class, or by the nearest base class in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def error_body(
    kind: str, status: int, message: str, *, details: list[Any] | None = None, incident: str | None = None
) -> dict[str, Any]:
    """The JSON body of an error."""
    body: dict[str, Any] = {"type": kind, "status": status, "message": message}
    if details is not None:
        body["details"] = details
    if incident is not None:
        body["id"] = incident
    return {"error": body}


def error_response(error: core.IcssError) -> JSONResponse:
    """Response to an error of our own; the message of one that is the service's fault stays in the log."""
    status = status_of(error)
    kind = type(error).__name__
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return internal_error(error)
    told = (services.UnavailableError, services.NoJobsError)
    if status > HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, told):
        incident = uuid.uuid4().hex
        _log.error("incident %s: %s: %s", incident, kind, " ".join(str(error).split()))
        message = (
            "the object store or MLflow did not do what this service asked of it; try again in a moment; the "
            f"service's log has the reason under id {incident}"
        )
        body = error_body(kind, status, message, incident=incident)
    else:
        body = error_body(kind, status, str(error))
    return JSONResponse(body, status_code=status, headers=_HEADERS.get(status))


def internal_error(error: BaseException) -> JSONResponse:
    """Response to an error nobody foresaw: an id to quote, nothing of its inside."""
    incident = uuid.uuid4().hex
    _log.error("incident %s", incident, exc_info=error)
    message = f"the service failed; its log has the reason under id {incident}"
    body = error_body("InternalError", 500, message, incident=incident)
    return JSONResponse(body, status_code=HTTPStatus.INTERNAL_SERVER_ERROR)


def install_error_handlers(api: FastAPI) -> None:
    """Give every error that a route can raise its response."""

    async def ours(_: Request, error: Exception) -> JSONResponse:
        return error_response(error) if isinstance(error, core.IcssError) else internal_error(error)

    async def malformed(_: Request, error: Exception) -> JSONResponse:
        problems = error.errors() if isinstance(error, RequestValidationError) else []
        details = [{"where": _where(p["loc"]), "problem": p["msg"]} for p in problems]
        summary = "; ".join(f"{d['where']}: {d['problem']}" for d in details[:5])
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        body = error_body("InvalidRequest", status, f"the request is not valid: {summary}", details=details)
        return JSONResponse(body, status_code=status)

    async def routing(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            return internal_error(error)
        headers = dict(error.headers or {})
        methods = _methods(api, request) if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else []
        if methods:
            headers["Allow"] = ", ".join(methods)
        body = error_body(
            HTTPStatus(error.status_code).name.title().replace("_", ""), error.status_code, error.detail
        )
        return JSONResponse(body, status_code=error.status_code, headers=headers)

    api.add_exception_handler(core.IcssError, ours)
    api.add_exception_handler(RequestValidationError, malformed)
    api.add_exception_handler(HTTPException, routing)


def _methods(api: FastAPI, request: Request) -> list[str]:
    """Methods that the document names for this path; Starlette's `Allow` has those of one route only."""
    path = str(request.scope["path"]).removeprefix(str(request.scope.get("root_path", "")))
    return sorted(
        method.upper()
        for template, operations in api.openapi()["paths"].items()
        if compile_path(template)[0].match(path)
        for method in operations
    )


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
