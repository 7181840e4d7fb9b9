"""Calls to the MLflow server: the client, its token and its patience, and its errors in our own words.

MLflow's client takes its token and its time limits from variables of the process only, read at every call.
So both hold for a process, and they are set in this file alone.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests import RequestException

from services.errors import TrackingError, TrackingUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.settings import Settings

NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"
ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"

_PASSING = frozenset(
    {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED"}
)
"""Error codes of a server that is away or failing; a call that never reached it has the first of them."""


def client_for(settings: Settings) -> MlflowClient:
    """A client of the server that the settings name, for runs and registry alike."""
    os.environ.update(client_variables(settings))
    return MlflowClient(tracking_uri=settings.mlflow_uri, registry_uri=settings.mlflow_uri)


def client_variables(settings: Settings) -> dict[str, str]:
    """MLflow's own variables that let its client past the token; none where the settings hold no token."""
    if settings.mlflow_token is None:
        return {}
    # not MLFLOW_TRACKING_TOKEN: a name and password in ~/.mlflow/credentials would be preferred to it
    return {
        "MLFLOW_TRACKING_USERNAME": "icss",
        "MLFLOW_TRACKING_PASSWORD": settings.mlflow_token.get_secret_value(),
    }


def limit_waiting(settings: Settings) -> None:
    """Let no call of this process wait longer for MLflow than `mlflow_timeout`, and try it twice at most.

    For processes that answer requests. A training does not call it: it had rather wait for minutes.
    """
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(settings.mlflow_timeout)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"


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
