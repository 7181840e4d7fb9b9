"""What an update job is asked to do."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from icss_core.labels import ClassInfo
from icss_core.methods import Preset
from icss_core.seed import Seed
from services.model_version import MODEL_NAME


class ClickedAddress(BaseModel):
    """An image, and the file with the clicks on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    clicks: str
    """GeoJSON, as `clicks_from_geojson` reads it."""


class Spread(BaseModel):
    """How the work is spread over a cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: NonNegativeInt = 1
    """Data-parallel; each sees crops of its own in an iteration. 0: the job's own process does what one
    worker would, and saves its start."""
    cpus_per_worker: PositiveInt = 1
    gpu: bool | None = None
    """One GPU for each worker; None: if the cluster has that many."""
    max_failures: NonNegativeInt = 3
    """How often the workers may be started again after one died."""
    checkpoint_every: PositiveInt = 100
    """Iterations; time calls for checkpoints too."""


class UpdateJobRequest(BaseModel):
    """A class to be added to a version, and the images that were clicked for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str, Field(pattern=MODEL_NAME)]
    version: PositiveInt
    """Of the network to add to."""
    new_class: ClassInfo
    clicked: Annotated[tuple[ClickedAddress, ...], Field(min_length=1)]
    context: tuple[str, ...] = ()
    """Images that nobody clicked, where the old classes are to hold, as `find_images` takes them."""
    crs: str | None = None
    """Of all clicks; None: as each file says, or else longitude and latitude."""
    bands: tuple[PositiveInt, ...] | None = None
    """1-based numbers of the bands that the network takes; None: all but alpha."""
    preset: Preset
    seed: Seed = 0
    spread: Spread = Spread()
