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
        found = self._registry.describe(name)
        versions = [_version(version) for version in found.versions]
        return ModelDetail(name=found.name, aliases=found.aliases, versions=versions)

    def move_memory(self, name: str, version: int) -> AliasDetail:
        """Let `memory` point to a version, which the caller has seen to load.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is no such version.
            ConflictError: somebody else has moved the alias in the meantime.
        """
        previous = self._registry.describe(name).aliases.get(MEMORY)
        self._registry.set_alias(name, MEMORY, version, expected=previous)
        return AliasDetail(model=name, alias=MEMORY, version=version, previous=previous)


def _summary(found: ModelDescription) -> ModelSummary:
    newest_first = found.versions
    shown = next((v for v in newest_first if v.version == found.aliases.get(MEMORY)), newest_first[0])
    return ModelSummary(
        name=found.name,
        aliases=found.aliases,
        versions=len(newest_first),
        classes=list(shown.card.label_space.names),
    )


def _version(found: ModelVersion) -> VersionDetail:
    return VersionDetail(
        version=found.version,
        parent=found.parent,
        created=found.created,
        run_id=found.run_id,
        aliases=list(found.aliases),
        classes=list(found.card.label_space.classes),
        method=found.card.method,
        preset=found.card.preset,
        bands=found.card.architecture.in_channels,
    )
