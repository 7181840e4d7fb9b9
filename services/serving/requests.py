"""Bodies of requests, with the examples that the documentation page shows."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from icss_core.inference.scales import Scales
from icss_core.labels import ClassName
from services.serving.addresses import Colour, ImageReference, ModelName, ModelReference, VersionNumber

CLICKS_EXAMPLE: Final[dict[str, Any]] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [2.3512, 48.8561]},
            "properties": {"class": "building"},
        },
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [2.3524, 48.8565]},
            "properties": {"class": "background"},
        },
    ],
}

UPDATE_EXAMPLES: Final[dict[str, Any]] = {
    "lon_lat": {
        "summary": "Add a class by clicks in longitude and latitude",
        "value": {
            "image": {"uri": "s3://icss/scenes/town-03.tif"},
            "new_class": {"name": "building", "colour": "#e6194b"},
            "clicks": CLICKS_EXAMPLE,
        },
    },
    "pixels": {
        "summary": "Clicks as (column, row) on an uploaded image, another preset, fewer iterations",
        "value": {
            "image": {"upload": "1b4e28ba" * 4},
            "new_class": {"name": "building"},
            "crs": "pixel",
            "clicks": {
                "type": "FeatureCollection",
                "features": [
                    {
                        "type": "Feature",
                        "geometry": {"type": "Point", "coordinates": [120, 64]},
                        "properties": {"class": "building"},
                    }
                ],
            },
            "base": "memory",
            "preset": "icss-paper/baseline",
            "overrides": {"iterations": 200},
        },
    },
}

PREDICTION_EXAMPLES: Final[dict[str, Any]] = {
    "map": {
        "summary": "The map of a scene by the newest version, as a COG in the object store",
        "value": {
            "model": "town",
            "version": "updated",
            "image": {"uri": "s3://icss/scenes/town-03.tif"},
            "confidence": True,
        },
    },
    "polygons": {
        "summary": "Polygons in the response",
        "value": {
            "model": "town",
            "version": 2,
            "image": {"upload": "1b4e28ba" * 4},
            "format": "geojson",
            "delivery": "inline",
        },
    },
}


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NewClass(_Request):
    """The class to be added."""

    name: Annotated[ClassName, Field(examples=["building"])]
    colour: Colour | None = Field(
        default=None, description="colour on maps; left out: one unlike those already taken"
    )


class UpdateRequest(_Request):
    """Add one class to a model by clicks on one image."""

    image: ImageReference
    new_class: NewClass
    clicks: dict[str, JsonValue] = Field(
        description="GeoJSON FeatureCollection of Points; property `class` names the new class, the "
        "background or any class the model knows"
    )
    crs: str | None = Field(
        default=None,
        max_length=4096,
        description="CRS of the clicks, e.g. `EPSG:32631`, or `pixel` for (column, row); left out: longitude "
        "and latitude, as GeoJSON says",
    )
    base: ModelReference = Field(default="memory", description="the version to add the class to")
    preset: str = Field(default="icss", max_length=100, description="method with its numbers")
    overrides: dict[str, JsonValue] = Field(
        default_factory=dict, description="numbers of the preset to change, by name"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="same seed and clicks, same network")


class AliasRequest(_Request):
    """Let an alias point to a version: accept an update, or go back to an older version."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={"examples": [{"version": 3, "expected": 2}]}
    )

    version: VersionNumber
    expected: VersionNumber | None = Field(
        default=None,
        description="the version that the alias points to as far as you know; left out: move it from "
        "wherever it is, which may undo what somebody else did a moment ago",
    )


MOST_PASSES: Final = 16.0
"""Of the network over an image, counted by the pixels of all its scales."""
LARGEST_WINDOW: Final = 2048
"""Side in pixels, after resizing: what a call of the network may need memory for."""


class TilingRequest(_Request):
    """How the sliding window goes over the image; left out: the service's own choice."""

    window: int = Field(
        default=512, ge=32, le=LARGEST_WINDOW, multiple_of=32, description="side of a window, pixels"
    )
    overlap: int = Field(default=64, ge=0, description="pixels that neighbouring windows share")
    blend: Literal["constant", "gaussian"] = "gaussian"


class PredictionOptions(_Request):
    """What to predict with and how to get the result."""

    model: ModelName
    version: ModelReference = Field(default="memory", description="number or alias")
    confidence: bool = Field(default=False, description="add a band with the confidence of each pixel")
    format: Literal["cog", "geojson"] = "cog"
    min_area: float = Field(default=0.0, ge=0, description="geojson: leave out polygons below this area, m2")
    tiling: TilingRequest | None = None
    scales: Scales | None = Field(
        default=None,
        description="predict at several scales and keep the highest score of each class; takes the sum of "
        "their squares times as long. Left out: the image as it is",
        examples=[[0.5, 0.75, 1, 1.25, 1.5]],
    )
    delivery: Literal["s3", "inline"] | None = Field(
        default=None,
        description="`s3`: the response names the address; `inline`: the response is the file. Left out: "
        "inline for an image in the request itself, else s3",
    )

    @model_validator(mode="after")
    def _scales_are_bounded(self) -> Self:
        passes = sum(scale**2 for scale in self.scales or ())
        if passes > MOST_PASSES:
            raise ValueError(
                f"these scales take {passes:.0f} times as long as the image itself, {MOST_PASSES:.0f} at most"
            )
        window = (self.tiling or TilingRequest()).window
        if self.scales is not None and window * max(self.scales) > LARGEST_WINDOW:
            raise ValueError(
                f"a window of {window} pixels at scale {max(self.scales):g} is larger than {LARGEST_WINDOW}; "
                "ask for a smaller tiling.window or smaller scales"
            )
        return self


class PredictionRequest(PredictionOptions):
    """Predict one image that is already in the object store."""

    image: ImageReference
