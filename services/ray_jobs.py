"""The client of a Ray cluster's jobs, and how it says that the cluster does not answer."""

from __future__ import annotations

from typing import Final

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient
from requests import RequestException

NO_ANSWER: Final = (
    ConnectionError,
    RuntimeError,
    AuthenticationError,
    RequestException,
    aiohttp.ClientError,
)
"""What Ray's client raises where the cluster does not answer, or refuses."""


def job_client(address: str | None, token: str | None) -> JobSubmissionClient:
    """A client of a cluster; it asks the cluster for its version.

    Args:
        address: of the dashboard, http://...; None: what RAY_API_SERVER_ADDRESS or RAY_ADDRESS say.
        token: of the cluster; None: what Ray's own variables say.

    Raises:
        One of `NO_ANSWER`: the cluster does not answer.
    """
    return JobSubmissionClient(
        address, headers=None if token is None else {"Authorization": f"Bearer {token}"}
    )
