"""Bodies of requests, with the examples that the documentation page shows."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from icss_core.inference.scales import Scales
from icss_core.inference.tiling import SIZE_MULTIPLE
from icss_core.labels import ClassName
from services.serving.addresses import (
    BANDS_MEANING,
    Bands,
    Colour,
    ImageReference,
    ModelName,
    ModelReference,
    VersionNumber,
)

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
    bands: Bands | None = Field(default=None, description=BANDS_MEANING)
    base: ModelReference = Field(default="memory", description="the version to add the class to")
    preset: str = Field(default="icss", max_length=100, description="method with its numbers")
    overrides: dict[str, JsonValue] = Field(
        default_factory=dict, description="numbers of the preset to change, by name"
    )
    seed: int = Field(
        default=0, strict=True, ge=0, lt=2**31, description="same seed and clicks, same network"
    )


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


MAX_PASSES: Final = 32.0
"""Of the network over an image: what overlapping windows and several scales come to together."""
MAX_WINDOW: Final = 2048
"""Side in pixels, after resizing: what a call of the network may need memory for."""


class TilingRequest(_Request):
    """How the sliding window goes over the image; left out: the service's own choice."""

    window: int = Field(
        default=512,
        strict=True,
        ge=SIZE_MULTIPLE,
        le=MAX_WINDOW,
        multiple_of=SIZE_MULTIPLE,
        description="side of a window, pixels",
    )
    overlap: int = Field(
        default=64, strict=True, ge=0, lt=MAX_WINDOW, description="pixels that neighbouring windows share"
    )
    blend: Literal["constant", "gaussian"] = "gaussian"

    @model_validator(mode="after")
    def _windows_advance(self) -> Self:
        if self.overlap >= self.window:
            raise ValueError(
                f"windows of {self.window} pixels cannot share {self.overlap}: overlap must be below window"
            )
        return self


class PredictionOptions(_Request):
    """What to predict with and how to get the result."""

    model: ModelName
    version: ModelReference = Field(default="memory", description="number or alias")
    bands: Bands | None = Field(default=None, description=BANDS_MEANING)
    confidence: bool = Field(
        default=False, strict=True, description="add a band with the confidence of each pixel"
    )
    format: Literal["cog", "geojson"] = "cog"
    min_area: float = Field(
        default=0.0,
        strict=True,
        ge=0,
        allow_inf_nan=False,
        description="geojson: leave out polygons below this area, m2",
    )
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
    def _work_is_bounded(self) -> Self:
        tiling = self.tiling or TilingRequest()
        scales = self.scales or (1.0,)
        overlapping = (tiling.window / (tiling.window - tiling.overlap)) ** 2
        passes = overlapping * sum(scale**2 for scale in scales)
        if passes > MAX_PASSES:
            raise ValueError(
                f"this overlap and these scales take {passes:.0f} times as long as the image itself, "
                f"{MAX_PASSES:.0f} at most"
            )
        if tiling.window * max(scales) > MAX_WINDOW:
            raise ValueError(
                f"a window of {tiling.window} pixels at scale {max(scales):g} is larger than {MAX_WINDOW}; "
                "ask for a smaller tiling.window or smaller scales"
            )
        return self


class PredictionRequest(PredictionOptions):
    """Predict one image that is already in the object store."""

    image: ImageReference


class MapsRequest(_Request):
    """Map every image of a region with one version of a model."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [{"model": "town", "version": "updated", "images": ["s3://icss/region/"]}]
        },
    )

    model: ModelName
    version: ModelReference = Field(default="memory", description="number or alias")
    images: list[Annotated[str, Field(max_length=1024)]] = Field(
        min_length=1,
        max_length=100,
        description="s3:// addresses of images, of prefixes whose images are all taken, of a dataset.yaml, "
        "or of a .txt with one address a line",
    )
    pattern: str = Field(
        default="*", max_length=256, description="which files of a prefix, such as `rgb/*.tif`"
    )
    out: str | None = Field(
        default=None,
        max_length=1024,
        description="s3:// prefix of the maps; left out: a prefix of the service's own, for this request",
    )
    bands: Bands | None = Field(default=None, description=BANDS_MEANING)
    confidence: bool = Field(
        default=False, strict=True, description="add a band with the confidence of each pixel"
    )
    outlines: Literal["gpkg", "parquet"] | None = Field(
        default=None, description="outlines of the classes beside each map, as GeoPackage or GeoParquet"
    )
    min_area: float = Field(
        default=0.0, strict=True, ge=0, allow_inf_nan=False, description="outlines: leave out smaller, m2"
    )
    tiling: TilingRequest | None = None
