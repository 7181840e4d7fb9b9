"""One prediction, from the image to the map in the store or in the response."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict

from icss_core.errors import InvalidParameterError, OutlinesTooLargeError
from icss_core.inference import DEFAULT_TILING, Tiling, predict_raster, prepare_for_inference
from icss_core.inference.scales import Scales
from icss_core.networks.input_size import input_size_of
from icss_core.raster.polygons import write_polygons
from icss_core.raster.side_files import DESCRIPTION, description_of
from services.s3_address import S3Address
from services.serving.model_cache import ModelCache
from services.serving.requests import TilingRequest
from services.serving.responses import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    from icss_core.raster.reader import Raster
    from services.registry import Registry
    from services.serving.images import Images
    from services.serving.lanes import Lanes
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
    bands: tuple[int, ...] | None = None
    """1-based numbers of the bands to be read; None: all but alpha."""
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
    """Predicts images with cached networks. Blocking; callers in several threads take turns, see `Lanes`."""

    def __init__(
        self, settings: Settings, registry: Registry, storage: Storage, images: Images, lanes: Lanes
    ) -> None:
        self.models = ModelCache(registry, lambda network: prepare_for_inference(network, "auto"))
        self._images = images
        self._storage = storage
        self._results = S3Address.parse(settings.data_prefix).child("predictions")
        self._limits = settings.limits
        self._lanes = lanes

    def predict(
        self, job: PredictionJob, should_stop: Callable[[], bool] = lambda: False
    ) -> PredictionOutcome:
        """Predict one image, by windows, into a file that then goes to the store or into the response.

        What it costs is worked out from the image's header before it waits for its turn.

        Args:
            job: what to do.
            should_stop: asked while it waits and between calls of the network.

        Raises:
            ModelNotFoundError, VersionNotFoundError, ModelFormatError: the version cannot be had.
            ImageNotFoundError, ImageUnreadableError: the image cannot be read.
            BandMismatchError, DtypeMismatchError: it is not what the network was trained on.
            InvalidParameterError, OutlinesTooLargeError: too much work, or too large a result.
            BusyError: too many wait already.
            CancelledError: `should_stop` said so.
        """
        started = time.monotonic()
        model = self.models.get(job.model, job.version)
        tiling = DEFAULT_TILING if job.tiling is None else Tiling(**job.tiling.model_dump())
        with tempfile.TemporaryDirectory(prefix="icss-prediction-") as scratch:
            folder = Path(scratch)
            source = _source(job, folder)
            with self._images.opened(
                source,
                bands=model.card.architecture.in_channels,
                band_numbers=job.bands,
                dtype=model.card.dtype,
                name=job.image,
            ) as raster:
                self._check_cost(job, tiling, raster, model)
                cost = tiling.network_pixels(
                    raster.height, raster.width, job.scales, input_size_of(model.network)
                )
                asked = time.monotonic()
                with self._lanes.turn(cost, should_stop):
                    started += time.monotonic() - asked  # waiting is no work
                    result = _write_map(model, raster, job, tiling, folder / "map.tif", should_stop)
                    if job.format == "geojson":
                        limit = (
                            self._limits.max_inline_bytes if job.inline else self._limits.max_polygon_bytes
                        )
                        result = _write_polygons(result, model, job, folder / "map.geojson", limit)
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
            pixels = prediction.height * prediction.width
            if not job.inline:
                if job.format == "cog":  # first, so that whoever sees the map finds its class names
                    self._storage.upload(description_of(result), prediction.href + DESCRIPTION)
                self._storage.upload(result, prediction.href)
                return PredictionOutcome(prediction=prediction, content=None, pixels=pixels)
            self._check_inline(prediction.bytes, "bytes", self._limits.max_inline_bytes)
            return PredictionOutcome(prediction=prediction, content=result.read_bytes(), pixels=pixels)

    def _check_cost(self, job: PredictionJob, tiling: Tiling, raster: Raster, model: LoadedModel) -> None:
        """Refuse by arithmetic what would take too long or too much memory."""
        height, width, limits = raster.height, raster.width, self._limits
        if job.inline:
            self._check_inline(height * width, "pixels", limits.max_inline_pixels)
        size = input_size_of(model.network)
        cost = tiling.network_pixels(height, width, job.scales, size)
        if cost > limits.max_network_pixels:
            raise InvalidParameterError(
                f"{height} x {width} pixels with this tiling and these scales put {cost} pixels through the "
                f"network; this service takes {limits.max_network_pixels}: ask for less overlap, fewer "
                "scales or a part of the image"
            )
        held = tiling.held_bytes(height, width, model.card.architecture.n_classes, size)
        if held > limits.max_held_bytes:
            raise InvalidParameterError(
                f"{width} columns with an overlap of {tiling.overlap} need {held} bytes of memory; this "
                f"service takes {limits.max_held_bytes}: ask for less overlap or a part of the image"
            )

    @staticmethod
    def _check_inline(size: int, unit: str, limit: int) -> None:
        if size > limit:
            raise InvalidParameterError(
                f"a result of {size} {unit} does not go into a response ({limit} at most); "
                "ask for delivery 's3'"
            )


def _source(job: PredictionJob, folder: Path) -> str | Path:
    """What to open: the address, or the bytes of the request as a file."""
    if job.content is None:
        return job.image
    file = folder / "image"
    file.write_bytes(job.content)
    return file


def _write_map(
    model: LoadedModel,
    raster: Raster,
    job: PredictionJob,
    tiling: Tiling,
    path: Path,
    should_stop: Callable[[], bool],
) -> Path:
    predict_raster(
        model.network,
        raster,
        path,
        label_space=model.card.label_space,
        tiling=tiling,
        scales=job.scales,
        confidence=job.confidence,
        should_stop=should_stop,
    )
    return path


def _write_polygons(map_file: Path, model: LoadedModel, job: PredictionJob, path: Path, limit: int) -> Path:
    """The polygons of a map as GeoJSON, at most `limit` bytes.

    Raises:
        OutlinesTooLargeError: they take more.
    """
    try:
        with path.open("wb") as file:
            write_polygons(file, map_file, model.card.label_space, min_area=job.min_area, max_bytes=limit)
    except OutlinesTooLargeError as error:
        # the caller does not know the file, and must not see where it lies
        raise OutlinesTooLargeError(str(error).replace(str(map_file), "the map")) from error
    return path
