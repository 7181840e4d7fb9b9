"""Models as the API shows them, and the moves of the alias `memory`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.registry import MEMORY
from services.serving.responses import AliasDetail, ModelDetail, ModelSummary, VersionDetail

if TYPE_CHECKING:
    from services.registry import ModelDescription, ModelVersion, Registry


class Catalogue:
    """Reads the registry and moves its aliases. Blocking; safe to share between threads."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

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

        Args:
            name: of the model.
            version: the one to point to.
            expected: where `memory` points as far as the caller knows; None: wherever it does.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is no such version.
            ConflictError: `memory` points elsewhere; the message names both versions.
        """
        previous = self._registry.describe(name).aliases.get(MEMORY)
        self._registry.set_alias(name, MEMORY, version, expected=expected)
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
