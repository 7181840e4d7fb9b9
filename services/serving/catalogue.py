"""Models as the API shows them, and the moves of the alias `memory`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.errors import ConflictError
from services.ownership import acquire, find_or_create
from services.registry import MEMORY
from services.serving.responses import AliasDetail, ModelDetail, ModelSummary, VersionDetail
from services.tracking import MODELS

if TYPE_CHECKING:
    from services.registry import ModelDescription, ModelVersion, Registry
    from services.tracking import Tracking


MOVE_SECONDS: Final = 4.0
"""After so long without a sign of life, whoever moves an alias counts as gone."""


class Catalogue:
    """Reads the registry and moves its aliases. Blocking; safe to share between threads and processes."""

    def __init__(self, registry: Registry, tracking: Tracking) -> None:
        self._registry = registry
        self._tracking = tracking

    def models(self) -> list[ModelSummary]:
        """All models.

        Raises:
            TrackingError: the registry does not answer.
        """
        return [_summary(self._registry.describe(name)) for name in self._registry.names()]

    def model(self, name: str) -> ModelDetail:
        """One model with all its versions, newest first.

        Raises:
            ModelNotFoundError: there is none of this name.
        """
        model = self._registry.describe(name)
        versions = [_version(version) for version in model.versions]
        return ModelDetail(name=model.name, aliases=model.aliases, versions=versions)

    def move_memory(self, name: str, version: int, *, expected: int | None) -> AliasDetail:
        """Let `memory` point to a version, which the caller has seen to load.

        The moves of a model come one after another, whatever process makes them: each is made by the owner
        of a run of the model's own (see `services.ownership`), since MLflow cannot compare and set in one.

        Args:
            name: of the model.
            version: the one to point to.
            expected: where `memory` points as far as the caller knows; None: wherever it does.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is no such version.
            ConflictError: `memory` points elsewhere; the message names both versions.
            TrackingError: MLflow refused or did not answer.
        """
        self._registry.resolve(name, version)
        moves = find_or_create(self._tracking, MODELS, identity={"icss.model": name}, name=name)
        with acquire(self._tracking, moves, ttl=MOVE_SECONDS) as lease:
            previous = self._registry.aliases(name).get(MEMORY)
            if expected is not None and previous != expected:
                raise ConflictError(f"{MEMORY!r} of {name!r} is version {previous} by now, not {expected}")
            lease.check()
            self._registry.set_alias(name, MEMORY, version)
        return AliasDetail(model=name, alias=MEMORY, version=version, previous=previous)


def _summary(model: ModelDescription) -> ModelSummary:
    newest_first = model.versions
    shown = next((v for v in newest_first if v.version == model.aliases.get(MEMORY)), newest_first[0])
    return ModelSummary(
        name=model.name,
        aliases=model.aliases,
        versions=len(newest_first),
        classes=list(shown.card.label_space.names),
    )


def _version(version: ModelVersion) -> VersionDetail:
    return VersionDetail(
        version=version.version,
        parent=version.parent,
        created=version.created,
        run_id=version.run_id,
        aliases=list(version.aliases),
        classes=list(version.card.label_space.classes),
        method=version.card.method,
        preset=version.card.preset,
        bands=version.card.architecture.in_channels,
    )
