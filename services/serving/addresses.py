"""The small values that requests and responses are made of: names, references, images, colours."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from icss_core.labels import from_hexadecimal

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", examples=["town"])]
"""Name of a registered model."""

Alias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$", examples=["memory"])]
"""A name that points to one version: `memory` (what the next class is added to) or `updated` (the newest)."""

VersionNumber = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1, examples=[3])]
"""Number of an immutable version: of 31 bits, as MLflow keeps it. `true` is none, though Python counts it."""

ModelReference = VersionNumber | Alias
"""One version of a model, by number or by alias."""

RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", examples=["8d1f0c5b7a9e4d3c8b6a5f4e3d2c1b0a"])]
"""Id of an update: of the MLflow run that records it."""

UploadId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", examples=["1b4e28ba2fa14b7fa03d5c2a9d0e6f11"])]
"""Id of an uploaded image."""


Channel = Annotated[int, Field(strict=True, ge=0, le=255)]

Colour = Annotated[
    tuple[Channel, Channel, Channel],
    BeforeValidator(from_hexadecimal, json_schema_input_type=tuple[Channel, Channel, Channel] | str),
    Field(examples=[(230, 25, 75)]),
]
"""8-bit (red, green, blue), or `#rrggbb`."""


Bands = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=1, le=65_535)], ...],
    Field(min_length=1, max_length=64, examples=[(1, 2, 3, 4)]),
]
"""1-based numbers of an image's bands, in the order in which a network takes them."""

BANDS_MEANING: Final = (
    "1-based numbers of the image's bands that the network takes, in its order; left out: all but alpha. A "
    "band that is named is data also where the file marks it as alpha, as near infrared after red, green and "
    "blue often is"
)


class ImageReference(BaseModel):
    """The image to work on: an address in the object store or the id of an upload, not both."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"uri": "s3://icss/scenes/town-03.tif"}, {"upload": "1b4e28ba" * 4}]},
    )

    uri: str | None = Field(
        default=None, max_length=1024, description="s3:// address of a raster below an allowed prefix"
    )
    upload: UploadId | None = Field(default=None, description="id from POST /v1/uploads")

    @model_validator(mode="after")
    def _exactly_one(self) -> ImageReference:
        if (self.uri is None) == (self.upload is None):
            raise ValueError("give either uri or upload")
        return self
