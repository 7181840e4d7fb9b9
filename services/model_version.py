"""One version of a model: what is in its folder, and what its tags on the MLflow server say about it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from icss_core.errors import ModelFormatError
from icss_core.networks.model_folder import CARD, ModelCard, read_card

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODEL_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$"
KIND: Final = "icss.kind"
SEGMENTER: Final = "segmenter"
"""Tag and its value by which our models are told from others on the same server."""

_CARD, _PARENT, _SHA256 = "icss.card", "icss.parent", "icss.sha256."
_FILE = re.compile(r"[A-Za-z0-9_\-]+\.safetensors|model\.json")
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


def inspect_folder(folder: Path, name: str, parent: int | None) -> dict[str, str]:
    """The registry's own tags for a model folder that is about to become a version of `name`.

    Raises:
        ModelFormatError: the folder is not a model, holds anything else besides, or its card names another
            parent.
    """
    card = read_card(folder)
    expected = card.files
    present = {path.name for path in folder.iterdir()}
    if present != expected or not all(_FILE.fullmatch(file) for file in expected):
        raise ModelFormatError(
            f"{folder} should hold {sorted(expected)} and nothing else, not {sorted(present)}"
        )
    if parent is not None and card.parent != f"{name}:{parent}":
        raise ModelFormatError(
            f"the card of {folder} names {card.parent!r} as its parent, not {name}:{parent}"
        )
    text = (folder / CARD).read_text(encoding="utf-8")
    if len(text) > _MAX_CARD_CHARACTERS:
        raise ModelFormatError(f"{folder / CARD} has {len(text)} characters, over {_MAX_CARD_CHARACTERS}")
    tags = {KIND: SEGMENTER, _CARD: text}
    if parent is not None:
        tags[_PARENT] = str(parent)
    return tags | {_SHA256 + file: sha256_of(folder / file) for file in expected}


def version_from(registered: Any, aliases: Mapping[str, int]) -> ModelVersion:
    """Our view of MLflow's model version.

    Raises:
        ModelFormatError: it was registered by something else, or its card is damaged.
    """
    where = f"{registered.name!r} version {registered.version}"
    if registered.tags.get(KIND) != SEGMENTER or _CARD not in registered.tags:
        raise ModelFormatError(f"{where} was not registered by this service")
    try:
        card = ModelCard.model_validate_json(registered.tags[_CARD])
    except ValidationError as error:
        raise ModelFormatError(f"the card of {where} cannot be read: {error}") from error
    parent = registered.tags.get(_PARENT)
    return ModelVersion(
        name=str(registered.name),
        version=int(registered.version),
        aliases=tuple(
            sorted(alias for alias, number in aliases.items() if number == int(registered.version))
        ),
        run_id=str(registered.run_id),
        parent=None if parent is None else int(parent),
        created=datetime.fromtimestamp(registered.creation_timestamp / 1000, UTC),
        card=card,
        tags={key: value for key, value in registered.tags.items() if not key.startswith("icss.")},
        checksums=checksums_of(registered.tags),
    )


def checksums_of(tags: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 by file name, from a version's tags; only names that a model folder may hold."""
    checksums = {key.removeprefix(_SHA256): value for key, value in tags.items() if key.startswith(_SHA256)}
    return {file: value for file, value in checksums.items() if _FILE.fullmatch(file)}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
