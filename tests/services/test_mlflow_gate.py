"""Nobody writes to MLflow without the token; a browser and MLflow's own client get in with it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest

from services.errors import ConfigurationError, TrackingError
from services.mlflow_gate import TokenGate
from services.registry import Registry
from services.settings import load_mlflow_token
from services.tracking import UPDATES, Tracking

WRITE = "/api/2.0/mlflow/registered-models/create"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_nothing_is_read_or_written_without_the_token(mlflow_settings) -> None:
    with httpx.Client(base_url=mlflow_settings.mlflow_uri, timeout=30) as stranger:
        for headers in ({}, bearer("another token of this length")):
            refused = stranger.post(WRITE, json={"name": "a-strangers"}, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Basic ")  # a browser asks for a password
        for path in (
            "/",
            "/version",
            "/api/2.0/mlflow/experiments/search",
            "/ajax-api/2.0/mlflow/runs/search",
        ):
            assert stranger.get(path).status_code == 401
        assert stranger.get("/health").text == "OK"
    assert "a-strangers" not in Registry(mlflow_settings).names()


def test_the_pages_open_with_the_token_as_password(mlflow_settings) -> None:
    token = mlflow_settings.mlflow_token.get_secret_value()
    page = httpx.get(mlflow_settings.mlflow_uri, auth=("anybody", token), timeout=30)
    assert page.status_code == 200
    assert "<title>MLflow</title>" in page.text


def test_pages_of_other_sites_cannot_use_a_browser_that_is_let_in(mlflow_settings) -> None:
    token = mlflow_settings.mlflow_token.get_secret_value()
    write = {"url": f"{mlflow_settings.mlflow_uri}{WRITE}", "json": {"name": "another-sites"}, "timeout": 30}
    assert httpx.post(headers={**bearer(token), "Host": "elsewhere.example"}, **write).status_code == 403
    assert (
        httpx.post(headers={**bearer(token), "Origin": "https://elsewhere.example"}, **write).status_code
        == 403
    )


def test_our_client_without_the_token_says_what_is_wrong(mlflow_settings, monkeypatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    stranger = Tracking(mlflow_settings.model_copy(update={"mlflow_token": None}))
    with pytest.raises(TrackingError, match="wants the token"):
        stranger.create_run(UPDATES, name="x", tags={})


@pytest.mark.parametrize(
    ("authorization", "let_in"),
    [
        (b"Bearer a-long-enough-token", True),
        (b"bearer  a-long-enough-token ", True),
        (b"Basic " + base64.b64encode(b"me:a-long-enough-token"), True),
        (b"Basic " + base64.b64encode(b"a-long-enough-token:"), False),
        (b"Basic a-long-enough-token", False),
        (b"Basic \xff", False),
        (b"Digest a-long-enough-token", False),
        (b"a-long-enough-token", False),
        (b"", False),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_only_the_token_opens_the_gate(kind: str, authorization: bytes, *, let_in: bool) -> None:
    passed: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []

    async def app(scope, receive, send) -> None:
        passed.append(scope)

    async def send(message) -> None:
        sent.append(message)

    scope = {"type": kind, "path": "/api", "headers": [(b"authorization", authorization)]}
    asyncio.run(TokenGate(app, token="a-long-enough-token")(scope, None, send))
    assert bool(passed) == let_in
    assert bool(sent) != let_in


@pytest.mark.parametrize("token", [None, "", "short"])
def test_the_server_does_not_start_without_a_long_token(token, monkeypatch) -> None:
    monkeypatch.delenv("ICSS_MLFLOW_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("ICSS_MLFLOW_TOKEN", token)
    with pytest.raises(ConfigurationError, match="ICSS_MLFLOW_TOKEN"):
        load_mlflow_token()
