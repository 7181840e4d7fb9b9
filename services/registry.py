"""The model registry: versions of a model, their lineage, and the aliases that say which one is in use.

A version is the artefact folder of the MLflow run that made it, registered under the model's name: one
`model.json`, one `weights.safetensors`, nothing that can execute. Versions are never overwritten. What has to
be known without downloading (the card, checksums, the parent) is in the version's tags.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow.exceptions import MlflowException

from icss_core.errors import InvalidParameterError, ModelFormatError
from services.errors import ConflictError, ModelNotFoundError, VersionNotFoundError
from services.mlflow_calls import ALREADY_EXISTS, client_for, is_missing, mlflow_call
from services.model_version import (
    KIND,
    MODEL_NAME,
    SEGMENTER,
    ModelDescription,
    ModelVersion,
    checksums_of,
    inspect_folder,
    sha256_of,
    version_from,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient

    from services.settings import Settings

__all__ = ["MEMORY", "UPDATED", "ModelDescription", "ModelVersion", "Registry"]

MEMORY: Final = "memory"
"""Alias of the version to which the next class is added."""
UPDATED: Final = "updated"
"""Alias of the newest result."""

_ARTEFACT_FOLDER = "model"
_NAME = re.compile(MODEL_NAME)
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_ALIAS = re.compile(r"(?!v\d+$|latest$)[a-z][a-z0-9_\-]{0,31}")


class Registry:
    """Registers, finds and fetches versions. Safe to share between threads and processes."""

    def __init__(self, settings: Settings) -> None:
        self._client: MlflowClient = client_for(settings)
        self._cache = settings.cache_dir / "models"

    def register(
        self,
        name: str,
        folder: Path,
        *,
        run_id: str,
        parent: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> int:
        """Store a model folder as the artefact of a run and as the next version of a model.

        Calling it again for the same run and content returns the same version, so a caller that crashed
        after registering may simply repeat it.

        Raises:
            InvalidParameterError: the name is not one, or the run's id.
            ModelFormatError: the folder is not a model folder.
            VersionNotFoundError: the parent is not a version of this model.
            ConflictError: this run has already produced a version with other content.
            TrackingError: the server refused or did not answer.
        """
        _check_name(name)
        if not _RUN_ID.fullmatch(run_id):
            raise InvalidParameterError(f"{run_id!r} is not the id of an MLflow run: 32 hexadecimal digits")
        own = inspect_folder(folder, name, parent)
        if parent is not None:
            self.resolve(name, parent)
        with mlflow_call(f"register a version of {name!r}"):
            try:
                self._client.create_registered_model(name, tags={KIND: SEGMENTER})
            except MlflowException as error:
                if error.error_code != ALREADY_EXISTS:
                    raise
            for earlier in self._client.search_model_versions(f"run_id = '{run_id}'"):
                if earlier.name == name and checksums_of(earlier.tags) == checksums_of(own):
                    return int(earlier.version)
                raise ConflictError(
                    f"run {run_id} has already produced version {earlier.version} of {earlier.name}"
                )
            self._client.log_artifacts(run_id, str(folder), _ARTEFACT_FOLDER)
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{_ARTEFACT_FOLDER}"
            created = self._client.create_model_version(
                name, source, run_id=run_id, tags=dict(tags or {}) | own, await_creation_for=0
            )
            return int(created.version)

    def resolve(self, name: str, ref: str | int) -> ModelVersion:
        """The version a number or an alias stands for.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is none.
            TrackingError: the server refused or did not answer.
        """
        aliases = self.aliases(name)
        number = self._number(name, ref, aliases)
        with mlflow_call(f"read version {number} of {name!r}"):
            try:
                version = self._client.get_model_version(name, str(number))
            except MlflowException as error:
                if is_missing(error):
                    raise VersionNotFoundError(f"model {name!r} has no version {number}") from error
                raise
        return version_from(version, aliases)

    def fetch(self, name: str, version: int) -> Path:
        """A local copy of the version's folder: downloaded once, checked against its checksums, then kept.

        The cache is addressed by content as well as by name, so it may be shared between servers.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is no such version.
            ModelFormatError: what was stored is not what was registered.
            TrackingError: the server refused or did not answer.
        """
        registered = self.resolve(name, version)
        identity = hashlib.sha256("".join(sorted(registered.checksums.values())).encode()).hexdigest()[:16]
        final = self._cache / name / f"{version}-{identity}"
        if final.is_dir():
            os.utime(final)  # what is used is not deleted from the cache
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=".partial-"))
        try:
            for file, expected in registered.checksums.items():
                with mlflow_call(f"download {file} of {name!r} version {version}"):
                    # with the artefact's folder below `partial` or without it, as the repository likes
                    fetched = Path(
                        self._client.download_artifacts(
                            registered.run_id, f"{_ARTEFACT_FOLDER}/{file}", str(partial)
                        )
                    )
                path = partial / _ARTEFACT_FOLDER / file
                path.parent.mkdir(exist_ok=True)
                fetched.replace(path)
                if sha256_of(path) != expected:
                    raise ModelFormatError(f"{file} of {name!r} version {version} is not what was registered")
            try:
                (partial / _ARTEFACT_FOLDER).rename(final)
            except OSError:
                if not final.is_dir():  # otherwise somebody else has just fetched the same
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final

    def aliases(self, name: str) -> dict[str, int]:
        """The version that each alias of a model stands for.

        Raises:
            ModelNotFoundError: there is no such model.
            TrackingError: the server refused or did not answer.
        """
        _check_name(name)
        with mlflow_call(f"read model {name!r}"):
            try:
                model = self._client.get_registered_model(name)
            except MlflowException as error:
                if is_missing(error):
                    raise ModelNotFoundError(f"no model is registered as {name!r}") from error
                raise
        if model.tags.get(KIND) != SEGMENTER:
            raise ModelNotFoundError(f"{name!r} on this MLflow server is not a model of this service")
        return {str(alias): int(version) for alias, version in model.aliases.items()}

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version, wherever it points now: the server cannot compare and set in one.

        Raises:
            InvalidParameterError: the alias is not one.
            ModelNotFoundError, VersionNotFoundError: there is no such version.
            TrackingError: the server refused or did not answer.
        """
        if not _ALIAS.fullmatch(alias):
            raise InvalidParameterError(f"{alias!r} is not an alias: lower case letters, digits, '-', '_'")
        current = self.resolve(name, version)
        with mlflow_call(f"set the alias {alias!r} of {name!r}"):
            self._client.set_registered_model_alias(name, alias, str(current.version))

    def describe(self, name: str) -> ModelDescription:
        """A model with all its versions, newest first.

        Raises:
            ModelNotFoundError: there is none.
            TrackingError: the server refused or did not answer.
        """
        aliases = self.aliases(name)
        listed: list[Any] = []
        token: str | None = None
        with mlflow_call(f"list the versions of {name!r}"):
            while True:
                page = self._client.search_model_versions(
                    f"name = '{name}'", max_results=1000, page_token=token
                )
                listed += page
                token = page.token
                if not token:
                    break
        versions = sorted((version_from(one, aliases) for one in listed), key=lambda one: -one.version)
        return ModelDescription(name=name, versions=tuple(versions), aliases=aliases)

    def names(self) -> list[str]:
        """Names of all models registered by this code, in order.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        names: list[str] = []
        token: str | None = None
        with mlflow_call("list the models"):
            while True:
                page = self._client.search_registered_models(
                    f"tags.`{KIND}` = '{SEGMENTER}'", max_results=1000, page_token=token
                )
                names += [str(model.name) for model in page]
                token = page.token
                if not token:
                    return sorted(names)

    @staticmethod
    def _number(name: str, ref: str | int, aliases: dict[str, int]) -> int:
        if isinstance(ref, int):
            return ref
        if ref.isdecimal() and ref.isascii():
            return int(ref)
        if ref not in aliases:
            raise VersionNotFoundError(f"model {name!r} has no alias {ref!r}; it has {sorted(aliases)}")
        return aliases[ref]


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidParameterError(f"{name!r} is not a model name: up to 64 letters, digits, '-', '_', '.'")
