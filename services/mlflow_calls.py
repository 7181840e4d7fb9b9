"""Calls to the MLflow server: the client, bound to one address, and its errors in our own words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests import RequestException

from services.errors import TrackingError, TrackingUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"
ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"

_PASSING = frozenset(
    {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED"}
)
"""Error codes of a server that is away or failing; a call that never reached it has the first of them."""


def client_for(mlflow_uri: str) -> MlflowClient:
    """A client of one server, for runs and registry alike. Nothing global is set or read."""
    return MlflowClient(tracking_uri=mlflow_uri, registry_uri=mlflow_uri)


@contextmanager
def mlflow_call(what: str) -> Iterator[None]:
    """Turn MLflow's exceptions into ours; `what` ends the sentence "MLflow could not ...".

    Raises:
        TrackingUnavailableError: the server did not answer, or failed itself.
        TrackingError: it refused.
    """
    try:
        yield
    except (MlflowException, RequestException) as error:
        kind = TrackingUnavailableError if _may_pass(error) else TrackingError
        raise kind(f"MLflow could not {what}: {error}") from error


def is_missing(error: MlflowException) -> bool:
    """Whether the server says that the thing asked for is not there."""
    return bool(error.error_code == NOT_FOUND)


def _may_pass(error: MlflowException | RequestException) -> bool:
    """Whether the same call may succeed a moment later."""
    if isinstance(error, MlflowException):
        return error.error_code in _PASSING
    return error.response is None or error.response.status_code >= 500
