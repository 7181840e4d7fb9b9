"""What a mapping job is asked to do."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, model_validator

from icss_core.inference import DEFAULT_TILING, Tiling
from services.model_version import MODEL_NAME
from services.s3_address import S3Address

if TYPE_CHECKING:
    from typing import Any

OutlineFormat = Literal["gpkg", "parquet"]

_SPREAD: Final = {"workers", "cpus_per_worker", "gpu", "part_pixels"}
"""Fields that decide how the work is spread, and change no pixel."""


class MapRequest(BaseModel):
    """A version of a network, the images to map, and where the maps go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str, Field(pattern=MODEL_NAME)]
    version: PositiveInt
    images: Annotated[tuple[str, ...], Field(min_length=1)]
    """Addresses: of images; of prefixes, whose images are all taken; of a dataset.yaml; of a text file with
    one address a line. See `find_images`."""
    pattern: str = "*"
    """Which files of a prefix are taken, by their path within it, as `fnmatch` reads it."""
    out: str
    """Prefix of the maps."""
    bands: tuple[PositiveInt, ...] | None = None
    """1-based numbers of the bands that the network takes; None: all but alpha."""
    confidence: bool = False
    """Whether maps have a second band with the probability of the class."""
    outlines: OutlineFormat | None = None
    """Format of the classes' outlines beside each map; None: no outlines."""
    min_area: NonNegativeFloat = 0.0
    """Smaller regions have no outline; in square metres, or as the areas are (`write_polygons`)."""
    tiling: Tiling = DEFAULT_TILING
    workers: PositiveInt = 1
    """Processes that predict."""
    cpus_per_worker: PositiveInt = 1
    gpu: bool | None = None
    """One GPU for each worker; None: if the cluster has one for each."""
    part_pixels: PositiveInt = 2**27
    """Larger scenes are shared by several workers, in parts of about so many pixels.

    A worker that is lost costs the part it was at: 15 s with a GPU, 96 s on two cores (docs/scale.md: 8.7 and
    1.4 megapixels/s). Smaller parts cost less then, and always a second reading and writing of the map.
    """

    @model_validator(mode="after")
    def _addresses_are_addresses(self) -> Self:
        for address in (*self.images, self.out):
            S3Address.parse(address)
        return self

    @property
    def fingerprint(self) -> str:
        """Hash over what decides the content of one scene's map, apart from its image."""
        content = self.model_dump(mode="json", exclude=_SPREAD | {"images", "pattern", "out"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def identity(self) -> str:
        """Hash that is equal for equal requests, however the work is spread over a cluster."""
        return hashlib.sha256(json.dumps(self.decisive(), sort_keys=True).encode()).hexdigest()[:16]

    def decisive(self) -> dict[str, Any]:
        """The fields that influence the results."""
        return self.model_dump(mode="json", exclude=_SPREAD)

    def spread(self) -> str:
        """The other fields, as JSON; each submission of a job may have its own."""
        return self.model_dump_json(include=_SPREAD)

    def options(self) -> list[str]:
        """The options of `python -m services.mapping` that mean this request."""
        options = ["--model", f"{self.model}@{self.version}", "--out", self.out, "--pattern", self.pattern]
        for address in self.images:
            options += ["--images", address]
        if self.bands is not None:
            options += ["--bands", ",".join(map(str, self.bands))]
        if self.confidence:
            options += ["--confidence"]
        if self.outlines is not None:
            options += ["--outlines", self.outlines, "--min-area", str(self.min_area)]
        options += ["--window", str(self.tiling.window), "--overlap", str(self.tiling.overlap)]
        options += ["--blend", self.tiling.blend, "--workers", str(self.workers)]
        options += ["--cpus-per-worker", str(self.cpus_per_worker), "--part-pixels", str(self.part_pixels)]
        if self.gpu is not None:
            options += ["--gpu" if self.gpu else "--no-gpu"]
        return options
