"""One prediction, from the image to the map in the store or in the response."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict

from icss_core.errors import InvalidParameterError
from icss_core.inference import DEFAULT_TILING, Tiling, predict_raster, prepare_for_inference
from icss_core.inference.scales import Scales
from icss_core.raster.polygons import write_polygons
from services.s3_address import S3Address
from services.serving.model_cache import ModelCache
from services.serving.requests import TilingRequest
from services.serving.responses import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.registry import Registry
    from services.serving.images import Images
    from services.serving.model_cache import LoadedModel
    from services.settings import Settings
    from services.storage import Storage

Format = Literal["cog", "geojson"]

MEDIA_TYPES: Final[dict[Format, str]] = {
    "cog": "image/tiff; application=geotiff; profile=cloud-optimized",
    "geojson": "application/geo+json",
}
_EXTENSIONS: Final[dict[Format, str]] = {"cog": "tif", "geojson": "geojson"}


class PredictionJob(BaseModel):
    """A checked prediction request in which nothing is left to be looked up."""

    model_config = ConfigDict(frozen=True)

    id: str
    model: str
    version: int
    image: str
    """Checked s3:// address; for an image in the request, a name to show."""
    content: bytes | None = None
    """The image itself, if it came in the request."""
    format: Format
    confidence: bool
    min_area: float
    tiling: TilingRequest | None = None
    scales: Scales | None = None
    inline: bool
    """Whether the result goes into the response instead of the store."""


class PredictionOutcome(BaseModel):
    """A description of the result, and the file itself if it goes into the response."""

    model_config = ConfigDict(frozen=True)

    prediction: Prediction
    content: bytes | None
    pixels: int


class PredictionService:
    """Predicts images with cached networks. Blocking; run one prediction at a time, they use all threads."""

    def __init__(self, settings: Settings, registry: Registry, storage: Storage, images: Images) -> None:
        self.models = ModelCache(registry, lambda network: prepare_for_inference(network, "auto"))
        self._images = images
        self._storage = storage
        self._results = S3Address.parse(settings.data_prefix).child("predictions")
        self._max_inline_pixels = settings.limits.max_inline_pixels

    def predict(self, job: PredictionJob, should_stop: Callable[[], bool] | None = None) -> PredictionOutcome:
        """Predict one image, by windows, into a file that then goes to the store or into the response.

        Raises:
            ModelNotFoundError, VersionNotFoundError, ModelFormatError: the version cannot be had.
            ImageNotFoundError, ImageUnreadableError, BandMismatchError: the image cannot be used.
            InvalidParameterError: too large for the response.
            CancelledError: `should_stop` said so.
        """
        started = time.monotonic()
        model = self.models.get(job.model, job.version)
        with tempfile.TemporaryDirectory(prefix="icss-prediction-") as scratch:
            folder = Path(scratch)
            source = _source(job, folder)
            with self._images.opened(source, bands=model.card.architecture.in_channels) as raster:
                pixels = raster.height * raster.width
                if job.inline and pixels > self._max_inline_pixels:
                    raise InvalidParameterError(
                        f"a map of {raster.height} x {raster.width} pixels does not go into a response "
                        f"({self._max_inline_pixels} at most); ask for delivery 's3'"
                    )
                result = _write_map(model, source, job, folder / "map.tif", should_stop)
                if job.format == "geojson":
                    result = _write_polygons(result, model, job, folder / "map.geojson")
                prediction = Prediction(
                    id=job.id,
                    model=job.model,
                    version=job.version,
                    image=job.image,
                    format=job.format,
                    href=str(self._results.child(f"{job.id}.{_EXTENSIONS[job.format]}")),
                    type=MEDIA_TYPES[job.format],
                    bytes=result.stat().st_size,
                    width=raster.width,
                    height=raster.height,
                    classes=list(model.card.label_space.classes),
                    seconds=time.monotonic() - started,
                )
            content = result.read_bytes() if job.inline else None
            if content is None:
                self._storage.upload(result, prediction.href)
        return PredictionOutcome(prediction=prediction, content=content, pixels=pixels)


def _source(job: PredictionJob, folder: Path) -> str | Path:
    """What to open: the address, or the bytes of the request as a file."""
    if job.content is None:
        return job.image
    file = folder / "image"
    file.write_bytes(job.content)
    return file


def _write_map(
    model: LoadedModel,
    source: str | Path,
    job: PredictionJob,
    path: Path,
    should_stop: Callable[[], bool] | None,
) -> Path:
    predict_raster(
        model.network,
        source,
        path,
        label_space=model.card.label_space,
        tiling=DEFAULT_TILING if job.tiling is None else Tiling(**job.tiling.model_dump()),
        scales=job.scales,
        confidence=job.confidence,
        should_stop=should_stop,
    )
    return path


def _write_polygons(map_file: Path, model: LoadedModel, job: PredictionJob, path: Path) -> Path:
    with path.open("wb") as file:
        write_polygons(file, map_file, model.card.label_space, min_area=job.min_area)
    return path
