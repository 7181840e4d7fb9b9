"""An update as it was accepted: everything needed to carry it out, now or again after a crash."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from icss_core.labels import ClassInfo
from icss_core.methods import Preset

if TYPE_CHECKING:
    from services.serving.requests import UpdateRequest


class ClassClicks(BaseModel):
    """How many clicks a class got."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: int
    """Index of the class in the extended label space."""
    name: str
    clicks: int


class UpdateOrder(BaseModel):
    """A checked update request in which nothing is left to be looked up.

    Aliases are version numbers here, uploads are addresses, the image is pinned to its bytes, clicks are
    pixels and the preset's numbers are written out: carrying out the same order twice gives the same network,
    whatever has happened to aliases, images and defaults since.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """`fingerprint_of` the request that was accepted."""
    model: str
    base_version: int
    image: str
    image_etag: str
    """Entity tag of the image in the object store: it changes with the bytes."""
    bands: tuple[int, ...] | None
    """1-based numbers of the bands to be read; None: all but alpha."""
    new_class: ClassInfo
    clicks: dict[str, JsonValue]
    """The GeoJSON FeatureCollection as it was sent; for people."""
    crs: str | None
    points: dict[str, list[int]]
    """The same clicks as pixels of the image and indices in the extended label space: `ClickSet.to_lists`."""
    click_counts: tuple[ClassClicks, ...]
    preset: Preset
    """See `icss_core.methods.written_out`."""
    overrides: dict[str, JsonValue]
    """What the request changed in the preset; for people, the numbers are all in `preset`."""
    seed: int


def fingerprint_of(model: str, request: UpdateRequest) -> str:
    """SHA-256 (hex) of a request as it was sent: the model's name and the fields that were given.

    Nothing in it depends on what the service knows at the moment, such as where an alias points or what a
    default is: the same request has the same fingerprint whenever it comes. The order of JSON members does
    not count.
    """
    sent = {"model": model, "request": request.model_dump(mode="json", exclude_unset=True)}
    return hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()
