"""All settings of the services: read once from ICSS_* variables, validated once, passed on as one object.

Nothing else in the services reads the process environment. The same settings describe the processes of one
machine and a Kubernetes deployment; only the values differ.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.errors import ConfigurationError, UriNotAllowedError
from services.s3_address import S3Address

ENV_PREFIX = "ICSS_"
LEASE_SECONDS = 15.0
"""See `services.ownership`."""


def _s3_prefix(value: str) -> str:
    try:
        return str(S3Address.parse(value))
    except UriNotAllowedError as error:
        raise ValueError(str(error)) from error


def _http_url(value: str) -> str:
    """Scheme, host, and a port or path if need be; whoever uses it relies on that."""
    parts = urlsplit(value)
    if parts.username is not None or parts.password is not None:
        raise ValueError("the address may not hold a name or password; there are settings for them")
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"{value!r} must start with http:// or https://")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{value!r}: {error}") from error
    if not parts.hostname or port == 0 or parts.query or parts.fragment or re.search(r"\s", value):
        raise ValueError(f"{value!r} must be http://HOST or http://HOST:PORT")
    return value.rstrip("/")


def _http_host(value: str) -> str:
    """An address without a path: buckets come right after the host, and signatures cover that."""
    if urlsplit(value).path:
        raise ValueError(f"{value!r} must end after the host or port")
    return value


def _long_token(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 16:
        raise ValueError("the token must have at least 16 characters")
    return value


LongToken = Annotated[SecretStr, AfterValidator(_long_token)]
S3Prefix = Annotated[str, AfterValidator(_s3_prefix)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
HttpHost = Annotated[HttpUrl, AfterValidator(_http_host)]


class Limits(BaseModel):
    """What one request may ask for. Set with ICSS_LIMITS__NAME."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: PositiveInt = Field(default=64 * 2**20, description="largest request body, uploads too")
    max_bodies_bytes: PositiveInt = Field(
        default=256 * 2**20, description="request bodies that the API holds at once, in all"
    )
    max_clicks: PositiveInt = Field(default=10_000, description="clicks in one update, at most")
    max_iterations: PositiveInt = Field(default=20_000, description="iterations of one update, at most")
    max_tiles: PositiveInt = Field(default=256, description="largest working area of an update, in tiles")
    max_pixels: PositiveInt = Field(default=10**10, description="largest raster, in pixels")
    max_inline_pixels: PositiveInt = Field(
        default=4096 * 4096, description="largest raster whose map is returned in the response"
    )
    max_inline_bytes: PositiveInt = Field(
        default=64 * 2**20, description="largest result that is returned in the response"
    )
    max_polygon_bytes: PositiveInt = Field(
        default=2**30, description="largest GeoJSON that a prediction may make"
    )
    max_network_pixels: PositiveInt = Field(
        default=2 * 10**10,
        description="work of one prediction, at most: windows x pixels of a window x squares of scales",
    )
    max_held_bytes: PositiveInt = Field(
        default=2 * 2**30, description="memory of one prediction for the sums of overlapping windows, at most"
    )
    max_decoded_bytes: PositiveInt = Field(
        default=2**30,
        description="largest part of an image that must be decoded as one: a PNG or JPEG, or a TIFF's block",
    )
    max_queued_updates: PositiveInt = Field(default=16, description="updates that may wait for their turn")
    max_queued_predictions: PositiveInt = Field(
        default=8, description="predictions, small and large ones each, that may wait for their turn"
    )


class Settings(BaseSettings):
    """Where the parts of the system are, and what they may do.

    Keys left out (`s3_access_key`, `s3_secret_key`) mean: the platform provides them, as a service account
    does on Kubernetes.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    s3_endpoint: HttpHost | None = Field(default=None, description="object store; empty: AWS itself")
    s3_access_key: str | None = None
    s3_secret_key: SecretStr | None = None
    s3_region: str = "us-east-1"
    data_prefix: S3Prefix = Field(description="where scenes, uploads, maps and checkpoints live")
    allowed_prefixes: Annotated[tuple[S3Prefix, ...], NoDecode] = Field(
        default=(), description="further prefixes that may be read, separated by commas"
    )
    mlflow_uri: HttpUrl
    mlflow_public_uri: HttpUrl | None = Field(
        default=None, description="where people open MLflow's pages, if that is elsewhere; told by jobs"
    )
    mlflow_token: LongToken | None = Field(
        default=None, description="what the MLflow server asks for, if anything"
    )
    mlflow_timeout: PositiveInt = Field(
        default=4, description="seconds that a request to the HTTP API waits for one answer of MLflow"
    )
    s3_timeout: PositiveInt = Field(
        default=10, description="seconds that a request to the HTTP API waits for one answer of the store"
    )
    experiment_prefix: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")] = Field(
        default="icss",
        description="beginning of the names of MLflow's experiments; services that share a server, but not "
        "the work that waits there, have different ones",
    )
    api_token: LongToken | None = Field(default=None, description="bearer token of the HTTP API, 16 or more")
    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=1, le=65535)] = 8000
    jobs_address: HttpUrl | None = Field(
        default=None, description="dashboard of the Ray cluster that maps regions; empty: none does"
    )
    jobs_token: SecretStr | None = Field(default=None, description="of that cluster, if it asks for one")
    map_workers: PositiveInt = Field(
        default=1, description="processes that map a region which was asked for over HTTP"
    )
    map_cpus_per_worker: PositiveInt = Field(default=1, description="CPUs of each of them")
    map_gpu: bool | None = Field(
        default=None,
        description="whether each has a GPU; empty: if there are as many when the job starts, which is never "
        "so on a cluster that makes its workers when they are asked for",
    )
    threads: PositiveInt = Field(default_factory=lambda: len(os.sched_getaffinity(0)))
    cache_dir: Path = Path("~/.cache/icss")
    lease_seconds: PositiveFloat = Field(
        default=LEASE_SECONDS,
        description="a process that gives no sign of life for so long loses its work to another; the same "
        "for all that share an MLflow server",
    )
    retention_days: PositiveFloat | None = Field(
        default=30.0,
        description="uploads, maps of predictions, and what unfinished jobs and downloads have left behind "
        "are deleted when they are older; empty: never",
    )
    revision: str | None = Field(default=None, description="commit of an image without git")
    limits: Limits = Limits()

    @field_validator(
        "s3_endpoint",
        "s3_access_key",
        "s3_secret_key",
        "mlflow_public_uri",
        "mlflow_token",
        "api_token",
        "jobs_address",
        "jobs_token",
        "map_gpu",
        "retention_days",
        "revision",
        mode="before",
    )
    @classmethod
    def _empty_is_absent(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("allowed_prefixes", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("cache_dir")
    @classmethod
    def _expand_home(cls, value: Path) -> Path:
        return value.expanduser()

    @model_validator(mode="after")
    def _keys_come_in_pairs(self) -> Settings:
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("s3_access_key and s3_secret_key are given together or not at all")
        return self

    @property
    def readable_prefixes(self) -> tuple[str, ...]:
        """All prefixes a request may name: the data prefix and the further allowed ones."""
        return (self.data_prefix, *(p for p in self.allowed_prefixes if p != self.data_prefix))

    def require_api_token(self) -> str:
        """The API's token in clear.

        Raises:
            ConfigurationError: none is set; the API never runs open.
        """
        if self.api_token is None:
            raise ConfigurationError(f"{ENV_PREFIX}API_TOKEN is not set; the API does not run without it")
        return self.api_token.get_secret_value()


def load_settings() -> Settings:
    """Read the settings from the environment; a process does this once, at its start.

    Raises:
        ConfigurationError: variables are missing or wrong; the message names each of them, and no secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from error


class _MlflowServer(BaseSettings):
    """What the MLflow server of this project needs to know, which is less than the other processes."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", hide_input_in_errors=True)

    mlflow_token: LongToken


def load_mlflow_token() -> str:
    """The token that the MLflow server asks for, in clear; it never runs without one.

    Raises:
        ConfigurationError: the variable is missing, or the token is too short.
    """
    try:
        return _MlflowServer().mlflow_token.get_secret_value()
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        path = "__".join(str(part) for part in problem["loc"])
        name = f"{ENV_PREFIX}{path.upper()}" if path else "settings"
        lines.append(f"{name}: {problem['msg']}")
    return "the environment does not describe a working set of services: " + "; ".join(lines)


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables from which a child process reads these same settings. Secrets are in clear."""
    variables: dict[str, str] = {}
    for name, value in settings:
        if isinstance(value, Limits):
            variables |= {f"{ENV_PREFIX}LIMITS__{k.upper()}": str(v) for k, v in value}
        elif isinstance(value, SecretStr):
            variables[f"{ENV_PREFIX}{name.upper()}"] = value.get_secret_value()
        elif isinstance(value, tuple):
            variables[f"{ENV_PREFIX}{name.upper()}"] = ",".join(value)
        elif value is not None or name == "retention_days":  # whose default is another
            variables[f"{ENV_PREFIX}{name.upper()}"] = "" if value is None else str(value)
    return variables
