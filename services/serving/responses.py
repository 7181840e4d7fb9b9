"""Bodies of responses; the client reads them with the same classes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from icss_core.labels import ClassInfo
from icss_core.metrics.forgetting import ForgettingReport
from services.serving.addresses import RunId, UploadId

UpdateState = Literal["accepted", "running", "successful", "failed", "dismissed"]
"""Status codes of OGC API - Processes, part 1: an update ends successful, failed or dismissed."""

FINISHED: Final[frozenset[UpdateState]] = frozenset({"successful", "failed", "dismissed"})


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


class Link(_Response):
    """A related resource."""

    href: str
    rel: str
    type: str = "application/json"


class ErrorDetail(_Response):
    """What went wrong: the class of the error and a message for people."""

    type: str = Field(examples=["ClickError"])
    message: str = Field(examples=["click 3 (class 'building') is off the raster: row 812 of 512"])
    status: int | None = Field(default=None, examples=[422])
    details: list[Any] | None = None
    id: str | None = Field(
        default=None, description="of a failure of the service: what to look for in its log"
    )


class ErrorResponse(_Response):
    """Body of every response of 400 and above."""

    error: ErrorDetail


class ModelSummary(_Response):
    """One registered model."""

    name: str
    aliases: dict[str, int] = Field(examples=[{"memory": 2, "updated": 3}])
    versions: int = Field(description="how many there are")
    classes: list[str] = Field(description="class names of the memory version, by index")


class VersionDetail(_Response):
    """One immutable version of a model."""

    version: int
    parent: int | None = Field(description="the version this one was made from; none: it was pretrained")
    created: datetime
    run_id: str | None = Field(description="the MLflow run that made it; for an update: the update's id")
    aliases: list[str]
    classes: list[ClassInfo] = Field(description="the label space: position is the index in maps")
    method: str | None
    preset: str | None
    bands: int = Field(description="bands an image must have")


class ModelDetail(_Response):
    """A model with its whole lineage, newest version first."""

    name: str
    aliases: dict[str, int]
    versions: list[VersionDetail]


class AliasDetail(_Response):
    """Where an alias points, and where it pointed before (to go back)."""

    model: str
    alias: str
    version: int
    previous: int | None


class UpdateStatus(_Response):
    """State of one update, in the manner of OGC API - Processes `statusInfo`."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "8d1f0c5b7a9e4d3c8b6a5f4e3d2c1b0a",
                    "type": "process",
                    "status": "running",
                    "message": "step 140 of 1000",
                    "created": "2026-11-21T10:00:00Z",
                    "started": "2026-11-21T10:00:01Z",
                    "updated": "2026-11-21T10:00:21Z",
                    "progress": 14,
                    "model": "town",
                    "base_version": 1,
                    "new_class": {"name": "building", "colour": [230, 25, 75]},
                    "preset": "icss",
                    "image": "s3://icss/scenes/town-03.tif",
                    "clicks": {"building": 120, "background": 120},
                    "stage": "training",
                    "step": 140,
                    "steps": 1000,
                    "loss": 0.412,
                    "seconds_left": 122.8,
                    "warnings": [],
                    "links": [{"href": "/v1/updates/8d1f0c5b7a9e4d3c8b6a5f4e3d2c1b0a", "rel": "self"}],
                }
            ]
        },
    )

    id: RunId
    type: Literal["process"] = "process"
    status: UpdateState
    message: str
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    updated: datetime | None = Field(default=None, description="when this state was last written")
    progress: int = Field(ge=0, le=100, description="percent of the time it takes, estimated")
    model: str
    base_version: int
    new_class: ClassInfo
    preset: str
    image: str
    clicks: dict[str, int] = Field(description="how many clicks each class got")
    stage: str | None = Field(
        default=None,
        description="what is being done: starting, memory, head, training, report, pictures, registering, "
        "recording",
    )
    step: int | None = Field(
        default=None, description="done in this stage: iterations while training, else tiles"
    )
    steps: int | None = None
    loss: float | None = Field(default=None, description="of the last iteration of the training")
    seconds_left: float | None = None
    result_version: int | None = Field(default=None, description="the version it made, once successful")
    forgetting: ForgettingReport | None = Field(
        default=None, description="what the new class cost the old ones, measured without ground truth"
    )
    warnings: list[str] = Field(default_factory=list)
    error: ErrorDetail | None = None
    links: list[Link] = Field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        """Whether this state is an end state."""
        return self.status in FINISHED


class UpdateList(_Response):
    """Updates, newest first."""

    updates: list[UpdateStatus]


class ModelList(_Response):
    """All registered models."""

    models: list[ModelSummary]


class Upload(_Response):
    """An image that was uploaded and can be read."""

    id: UploadId
    uri: str
    bytes: int
    width: int
    height: int
    bands: int
    dtype: str = Field(examples=["uint8"])
    crs: str | None = Field(description="none: clicks must be in pixels", examples=["EPSG:32631"])


class Prediction(_Response):
    """A finished prediction whose result lies in the object store."""

    id: str
    model: str
    version: int
    image: str
    format: Literal["cog", "geojson"]
    href: str = Field(examples=["s3://icss/predictions/3f0c.tif"])
    type: str = Field(examples=["image/tiff; application=geotiff; profile=cloud-optimized"])
    bytes: int
    width: int
    height: int
    classes: list[ClassInfo]
    seconds: float


class MapsStatus(_Response):
    """The state of a job that maps a region."""

    id: RunId
    type: Literal["process"] = "process"
    status: UpdateState
    message: str
    created: datetime
    model: str
    version: int
    out: str = Field(description="prefix of the maps, and of `collection.json` (STAC) over all of them")
    scenes: int | None = Field(default=None, description="images to be mapped; none before they are listed")
    done: int = Field(default=0, description="of them, mapped by now")
    failed: int = Field(default=0, description="of them, have no map: `failures.csv` of the run says why")
    progress: int = Field(ge=0, le=100, description="percent of the scenes")
    km2: float | None = Field(default=None, description="mapped since the job was last started")
    km2_per_second: float | None = None
    seconds_left: float | None = None
    square_kilometres: dict[str, float] = Field(
        default_factory=dict, description="what each class takes, once the job has ended"
    )
    links: list[Link] = Field(default_factory=list)


class MapsList(_Response):
    """Mapping jobs, newest first."""

    maps: list[MapsStatus]


class Health(_Response):
    """Whether the parts of the service answer."""

    status: Literal["ok", "not ready"]
    parts: dict[str, bool] = Field(default_factory=dict)
