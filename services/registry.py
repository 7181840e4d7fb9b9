"""The model registry: versions of a model, their lineage, and the aliases that say which one is in use.

A version is the artefact folder of the MLflow run that made it, registered under the model's name: one
`model.json`, one `weights.safetensors`, nothing that can execute. Versions are never overwritten. What has to
be known without downloading (the card, checksums, the parent) is in the version's tags.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from icss_core.errors import InvalidParameterError, ModelFormatError
from icss_core.networks.model_folder import ModelCard
from services.errors import ConflictError, ModelNotFoundError, VersionNotFoundError
from services.mlflow_calls import ALREADY_EXISTS, client_for, is_missing, mlflow_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient

    from services.settings import Settings

MEMORY: Final = "memory"
"""Alias of the version to which the next class is added."""
UPDATED: Final = "updated"
"""Alias of the newest result."""

_ARTEFACT_FOLDER = "model"
_FILES = ("model.json", "weights.safetensors")
_KIND, _CARD, _PARENT, _SHA256 = "icss.kind", "icss.card", "icss.parent", "icss.sha256."
_SEGMENTER = "segmenter"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
_ALIAS = re.compile(r"(?!v\d+$|latest$)[a-z][a-z0-9_\-]{0,31}")
_MAX_CARD_CHARACTERS = 100_000  # the server's limit for a tag


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One immutable version of a model."""

    name: str
    version: int
    aliases: tuple[str, ...]
    run_id: str
    parent: int | None
    """The version this one was made from, of the same model; None for a memory network trained afresh."""
    created: datetime
    card: ModelCard
    tags: dict[str, str]
    """Tags given at registration, without the registry's own."""
    checksums: dict[str, str]
    """SHA-256 by file name, in hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """A model: all its versions, newest first, and where its aliases point."""

    name: str
    versions: tuple[ModelVersion, ...]
    aliases: dict[str, int]


class Registry:
    """Registers, finds and fetches versions. Safe to share between threads and processes.

    Moving an alias is not atomic on the server: who must not lose somebody else's move passes `expected` and
    moves aliases from one place only (the service has one process that does).
    """

    def __init__(self, settings: Settings) -> None:
        self._client: MlflowClient = client_for(settings.mlflow_uri)
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
            InvalidParameterError: the name is not one.
            ModelFormatError: the folder is not a model folder.
            VersionNotFoundError: the parent is not a version of this model.
            ConflictError: this run has already produced a version with other content.
            TrackingError: the server refused or did not answer.
        """
        _check_name(name)
        checksums, card = _inspect(folder)
        if parent is not None:
            self.resolve(name, parent)
        with mlflow_call(f"register a version of {name!r}"):
            try:
                self._client.create_registered_model(name, tags={_KIND: _SEGMENTER})
            except MlflowException as error:
                if error.error_code != ALREADY_EXISTS:
                    raise
            for known in self._client.search_model_versions(f"run_id = '{run_id}'"):
                if known.name == name and _checksums(known.tags) == checksums:
                    return int(known.version)
                raise ConflictError(
                    f"run {run_id} has already produced version {known.version} of {known.name}"
                )
            self._client.log_artifacts(run_id, str(folder), _ARTEFACT_FOLDER)
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{_ARTEFACT_FOLDER}"
            own = {_KIND: _SEGMENTER, _CARD: card} | {
                _SHA256 + file: sum_ for file, sum_ in checksums.items()
            }
            if parent is not None:
                own[_PARENT] = str(parent)
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
        aliases = self._aliases(name)
        number = self._number(name, ref, aliases)
        with mlflow_call(f"read version {number} of {name!r}"):
            try:
                found = self._client.get_model_version(name, str(number))
            except MlflowException as error:
                if is_missing(error):
                    raise VersionNotFoundError(f"model {name!r} has no version {number}") from error
                raise
        return _version(found, aliases)

    def fetch(self, name: str, version: int) -> Path:
        """A local copy of the version's folder: downloaded once, checked against its checksums, then kept.

        The cache is addressed by content as well as by name, so it may be shared between servers.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is no such version.
            ModelFormatError: what was stored is not what was registered.
            TrackingError: the server refused or did not answer.
        """
        found = self.resolve(name, version)
        identity = hashlib.sha256("".join(sorted(found.checksums.values())).encode()).hexdigest()[:16]
        final = self._cache / name / f"{version}-{identity}"
        if final.is_dir():
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=".partial-"))
        try:
            for file, expected in found.checksums.items():
                with mlflow_call(f"download {file} of {name!r} version {version}"):
                    # with the artefact's folder below `partial` or without it, as the repository likes
                    fetched = Path(
                        self._client.download_artifacts(
                            found.run_id, f"{_ARTEFACT_FOLDER}/{file}", str(partial)
                        )
                    )
                path = partial / _ARTEFACT_FOLDER / file
                path.parent.mkdir(exist_ok=True)
                fetched.replace(path)
                if _sha256(path) != expected:
                    raise ModelFormatError(f"{file} of {name!r} version {version} is not what was registered")
            try:
                (partial / _ARTEFACT_FOLDER).rename(final)
            except OSError:
                if not final.is_dir():  # otherwise somebody else has just fetched the same
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final

    def set_alias(self, name: str, alias: str, version: int, *, expected: int | None = None) -> None:
        """Point an alias at a version; with `expected`, only if it points there now.

        Raises:
            InvalidParameterError: the alias is not one.
            ModelNotFoundError, VersionNotFoundError: there is no such version.
            ConflictError: the alias points elsewhere than expected.
            TrackingError: the server refused or did not answer.
        """
        if not _ALIAS.fullmatch(alias):
            raise InvalidParameterError(f"{alias!r} is not an alias: lower case letters, digits, '-', '_'")
        current = self.resolve(name, version)
        if expected is not None:
            actual = self._aliases(name).get(alias)
            if actual != expected:
                raise ConflictError(f"{alias!r} of {name!r} is version {actual} by now, not {expected}")
        with mlflow_call(f"set the alias {alias!r} of {name!r}"):
            self._client.set_registered_model_alias(name, alias, str(current.version))

    def describe(self, name: str) -> ModelDescription:
        """A model with all its versions, newest first.

        Raises:
            ModelNotFoundError: there is none.
            TrackingError: the server refused or did not answer.
        """
        aliases = self._aliases(name)
        found: list[Any] = []
        token: str | None = None
        with mlflow_call(f"list the versions of {name!r}"):
            while True:
                page = self._client.search_model_versions(
                    f"name = '{name}'", max_results=1000, page_token=token
                )
                found += page
                token = page.token
                if not token:
                    break
        versions = sorted((_version(one, aliases) for one in found), key=lambda one: -one.version)
        return ModelDescription(name=name, versions=tuple(versions), aliases=aliases)

    def names(self) -> list[str]:
        """Names of all models registered by this code, in order.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        found: list[str] = []
        token: str | None = None
        with mlflow_call("list the models"):
            while True:
                page = self._client.search_registered_models(
                    f"tags.`{_KIND}` = '{_SEGMENTER}'", max_results=1000, page_token=token
                )
                found += [str(model.name) for model in page]
                token = page.token
                if not token:
                    return sorted(found)

    def _aliases(self, name: str) -> dict[str, int]:
        _check_name(name)
        with mlflow_call(f"read model {name!r}"):
            try:
                model = self._client.get_registered_model(name)
            except MlflowException as error:
                if is_missing(error):
                    raise ModelNotFoundError(f"no model is registered as {name!r}") from error
                raise
        if model.tags.get(_KIND) != _SEGMENTER:
            raise ModelNotFoundError(f"{name!r} on this MLflow server is not a model of this service")
        return {str(alias): int(version) for alias, version in model.aliases.items()}

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


def _inspect(folder: Path) -> tuple[dict[str, str], str]:
    """Checksums by file name, and the text of model.json, of a folder that holds a model and nothing else."""
    present = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if present != sorted(_FILES):
        raise ModelFormatError(
            f"a model folder holds {list(_FILES)} and nothing else; {folder} holds {present}"
        )
    card = (folder / "model.json").read_text(encoding="utf-8")
    if len(card) > _MAX_CARD_CHARACTERS:
        raise ModelFormatError(
            f"{folder / 'model.json'} has {len(card)} characters, over {_MAX_CARD_CHARACTERS}"
        )
    _card(card, str(folder))
    return {file: _sha256(folder / file) for file in _FILES}, card


def _card(text: str, where: str) -> ModelCard:
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise ModelFormatError(f"the card of {where} cannot be read: {error}") from error


def _version(found: Any, aliases: dict[str, int]) -> ModelVersion:
    where = f"{found.name!r} version {found.version}"
    if found.tags.get(_KIND) != _SEGMENTER or _CARD not in found.tags:
        raise ModelFormatError(f"{where} was not registered by this service")
    parent = found.tags.get(_PARENT)
    return ModelVersion(
        name=str(found.name),
        version=int(found.version),
        aliases=tuple(sorted(alias for alias, number in aliases.items() if number == int(found.version))),
        run_id=str(found.run_id),
        parent=None if parent is None else int(parent),
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        card=_card(found.tags[_CARD], where),
        tags={key: value for key, value in found.tags.items() if not key.startswith("icss.")},
        checksums=_checksums(found.tags),
    )


def _checksums(tags: Mapping[str, str]) -> dict[str, str]:
    """Checksums of the known files only: a file name from a tag is never used as a path."""
    return {file: tags[_SHA256 + file] for file in _FILES if _SHA256 + file in tags}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
