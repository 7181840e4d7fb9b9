"""Calls to the MLflow server: the client, bound to one address, and its errors in our own words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests import RequestException

from services.errors import TrackingError

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"
ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"


def client_for(mlflow_uri: str) -> MlflowClient:
    """A client of one server, for runs and registry alike. Nothing global is set or read."""
    return MlflowClient(tracking_uri=mlflow_uri, registry_uri=mlflow_uri)


@contextmanager
def mlflow_call(what: str) -> Iterator[None]:
    """Turn MLflow's exceptions into ours; `what` ends the sentence "MLflow could not ...".

    Raises:
        TrackingError: the server refused, or did not answer.
    """
    try:
        yield
    except (MlflowException, RequestException) as error:
        raise TrackingError(f"MLflow could not {what}: {error}") from error


def is_missing(error: MlflowException) -> bool:
    """Whether the server says that the thing asked for is not there."""
    return bool(error.error_code == NOT_FOUND)
