from __future__ import annotations

import pytest

from services.errors import ConfigurationError
from services.settings import Limits, Settings, environment_of, load_settings

MINIMAL = {"ICSS_DATA_PREFIX": "s3://bucket/data/", "ICSS_MLFLOW_URI": "http://mlflow:5000/"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("ICSS_")]:
        monkeypatch.delenv(name)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_two_variables_are_enough_and_keys_may_come_from_the_platform(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_all(monkeypatch, MINIMAL)
    settings = load_settings()
    assert settings.data_prefix == "s3://bucket/data"
    assert settings.mlflow_uri == "http://mlflow:5000"
    assert settings.s3_access_key is None
    assert settings.readable_prefixes == ("s3://bucket/data",)
    assert settings.threads >= 1


def test_prefixes_are_separated_by_commas_and_limits_are_nested(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(
        monkeypatch,
        MINIMAL | {"ICSS_ALLOWED_PREFIXES": "s3://one, s3://two/a", "ICSS_LIMITS__MAX_CLICKS": "7"},
    )
    settings = load_settings()
    assert settings.readable_prefixes == ("s3://bucket/data", "s3://one", "s3://two/a")
    assert settings.limits.max_clicks == 7


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"ICSS_DATA_PREFIX": "http://bucket"}, "ICSS_DATA_PREFIX"),
        ({"ICSS_DATA_PREFIX": "s3://bucket/../other"}, "ICSS_DATA_PREFIX"),
        ({"ICSS_ALLOWED_PREFIXES": "s3://good,file:///etc"}, "ICSS_ALLOWED_PREFIXES"),
        ({"ICSS_MLFLOW_URI": "sqlite:///x.db"}, "ICSS_MLFLOW_URI"),
        ({"ICSS_MLFLOW_URI": "http://"}, "ICSS_MLFLOW_URI"),
        ({"ICSS_MLFLOW_URI": "http://mlflow:port"}, "ICSS_MLFLOW_URI"),
        ({"ICSS_MLFLOW_URI": "http://mlflow:5000/?a=b"}, "ICSS_MLFLOW_URI"),
        ({"ICSS_MLFLOW_TOKEN": "short"}, "ICSS_MLFLOW_TOKEN"),
        ({"ICSS_MLFLOW_TIMEOUT": "0"}, "ICSS_MLFLOW_TIMEOUT"),
        ({"ICSS_S3_ENDPOINT": "s3.example"}, "ICSS_S3_ENDPOINT"),
        ({"ICSS_S3_ENDPOINT": "http://s3.example:70000"}, "ICSS_S3_ENDPOINT"),
        ({"ICSS_S3_ENDPOINT": "http://s3.example/bucket"}, "ICSS_S3_ENDPOINT"),
        ({"ICSS_S3_ENDPOINT": "http://s3 example"}, "ICSS_S3_ENDPOINT"),
        ({"ICSS_API_TOKEN": "short"}, "ICSS_API_TOKEN"),
        ({"ICSS_S3_ACCESS_KEY": "alone"}, "s3_secret_key"),
        ({"ICSS_LIMITS__MAX_CLICKS": "0"}, "ICSS_LIMITS__MAX_CLICKS"),
        ({"ICSS_API_PORT": "99999"}, "ICSS_API_PORT"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], named: str
) -> None:
    set_all(monkeypatch, MINIMAL | wrong)
    with pytest.raises(ConfigurationError, match=named):
        load_settings()


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"ICSS_DATA_PREFIX.*ICSS_MLFLOW_URI"):
        load_settings()


def test_no_secret_shows_in_messages_or_representations(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"ICSS_S3_ACCESS_KEY": "key", "ICSS_S3_SECRET_KEY": "very-secret-key"}
    set_all(monkeypatch, MINIMAL | secrets | {"ICSS_API_TOKEN": "tiny-secret"})
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "tiny-secret" not in str(caught.value)
    monkeypatch.setenv("ICSS_MLFLOW_URI", "http://me:my-password@mlflow:5000")
    with pytest.raises(ConfigurationError, match="ICSS_MLFLOW_URI") as caught:
        load_settings()
    assert "my-password" not in str(caught.value)
    monkeypatch.setenv("ICSS_MLFLOW_URI", "https://mlflow/behind/a/path/")
    monkeypatch.setenv("ICSS_MLFLOW_TOKEN", "another-token-long-enough")
    monkeypatch.setenv("ICSS_API_TOKEN", "a-token-long-enough")
    shown = repr(load_settings())
    assert "very-secret-key" not in shown
    assert "token-long-enough" not in shown
    assert "https://mlflow/behind/a/path" in shown


def test_the_api_does_not_run_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, MINIMAL | {"ICSS_API_TOKEN": ""})
    with pytest.raises(ConfigurationError, match="ICSS_API_TOKEN"):
        load_settings().require_api_token()


def test_a_child_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Settings(
        s3_endpoint="http://127.0.0.1:9000",
        s3_access_key="key",
        s3_secret_key="secret",
        data_prefix="s3://bucket/data",
        allowed_prefixes=("s3://one", "s3://two"),
        mlflow_uri="http://127.0.0.1:5000",
        mlflow_token="another-token-long-enough",
        mlflow_timeout=7,
        api_token="a-token-long-enough",
        limits=Limits(max_clicks=3),
    )
    set_all(monkeypatch, environment_of(original))
    assert load_settings() == original
