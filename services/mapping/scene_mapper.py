"""Maps of single scenes, made in one process with one network."""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from icss_core.compute.device import default_device
from icss_core.inference import predict, predict_raster, prepare_for_inference
from icss_core.networks.model_folder import load_model
from icss_core.raster.class_areas import class_areas
from icss_core.raster.cog import CogSink
from icss_core.raster.footprint import footprint
from icss_core.raster.label_rows import LabelRows, copy_label_rows
from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.side_files import DESCRIPTION, description_of
from services.errors import ImageChangedError
from services.mapping.map_item import MAP, MapRecord, map_item, write_item
from services.mapping.outlines import write_outlines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icss_core.inference.tiling import RowRange
    from icss_core.raster.reader import Raster
    from services.mapping.plan import ScenePlan
    from services.mapping.request import MapRequest
    from services.registry import Registry
    from services.storage import Storage

PARTS: Final = ".parts"
"""Under the job's prefix: rows of scenes that several workers share, until the whole map is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDone:
    """Some rows of a scene are in the store."""

    seconds: float


class SceneMapper:
    """Makes maps, or parts of one, with the version of a request.

    Threads may share it: one predicts while another fetches the next scene, or stores the last. Making the
    same map twice, at once or later, does no harm: the same bytes come of it.

    Args:
        request: the job's.
        registry: where the version comes from.
        storage: where scenes and maps lie.

    Raises:
        IcssError: the version cannot be loaded.
    """

    def __init__(self, request: MapRequest, registry: Registry, storage: Storage) -> None:
        self._request = request
        self._storage = storage
        network, self._card = load_model(registry.fetch(request.model, request.version))
        self._network = prepare_for_inference(network.to(default_device()))
        self._predicting = threading.Lock()

    def map_scene(self, plan: ScenePlan, should_stop: Callable[[], bool] = lambda: False) -> MapRecord:
        """Map a whole scene.

        Raises:
            ImageUnreadableError, ImageChangedError: the image is damaged, or another one by now.
            CancelledError: `should_stop` said so.
            StorageError: the store did not answer.
        """
        request = self._request
        with self._scratch() as folder, self._opened(plan) as raster:
            with self._predicting:
                started = time.monotonic()
                predict_raster(
                    self._network,
                    raster,
                    folder / f"map{MAP}",
                    label_space=self._card.label_space,
                    tiling=request.tiling,
                    confidence=request.confidence,
                    should_stop=should_stop,
                )
            return self._stored(plan, folder / f"map{MAP}", time.monotonic() - started)

    def map_part(
        self, plan: ScenePlan, part: RowRange, should_stop: Callable[[], bool] = lambda: False
    ) -> PartDone:
        """Predict some rows of a scene, unless they are in the store already.

        Raises:
            IcssError: as `map_scene`.
        """
        request, address = self._request, self._part_address(plan, part)
        if self._storage.exists(address):
            return PartDone(seconds=0.0)
        with self._scratch() as folder, self._opened(plan) as raster, self._predicting:
            started = time.monotonic()
            rows = folder / "rows.tif"
            with LabelRows(
                rows,
                first=part.first,
                height=part.end - part.first,
                width=plan.width,
                confidence=request.confidence,
            ) as sink:
                predict(
                    self._network,
                    raster,
                    sink,
                    n_classes=len(self._card.label_space),
                    tiling=request.tiling,
                    part=part,
                    confidence=request.confidence,
                    should_stop=should_stop,
                )
            seconds = time.monotonic() - started
            self._storage.upload(rows, address)
        return PartDone(seconds=seconds)

    def join_parts(self, plan: ScenePlan, seconds: float) -> MapRecord:
        """Make the map of a scene whose parts are all in the store, and remove these.

        Args:
            plan: of the scene.
            seconds: that the parts took.

        Raises:
            IcssError: as `map_scene`.
        """
        started = time.monotonic()
        with self._scratch() as folder, self._opened(plan) as raster:
            path, rows = folder / f"map{MAP}", folder / "rows.tif"
            with CogSink(
                path, like=raster, label_space=self._card.label_space, confidence=self._request.confidence
            ) as sink:
                for part in plan.parts:
                    self._storage.download(self._part_address(plan, part), rows)
                    copy_label_rows(rows, sink, first=part.first)
            record = self._stored(plan, path, seconds + time.monotonic() - started)
        for part in plan.parts:
            self._storage.delete(self._part_address(plan, part))
        return record

    def _stored(self, plan: ScenePlan, path: Path, seconds: float) -> MapRecord:
        """Bring a map and what belongs to it into the store; the record comes last."""
        request, labels = self._request, self._card.label_space
        base = f"{request.out.rstrip('/')}/{plan.scene.name}"
        started = time.monotonic()
        counts = class_areas(path)
        outlines = None
        if request.outlines is not None:
            file = path.with_suffix(f".{request.outlines}")
            outlines = write_outlines(
                file, path, labels, file_format=request.outlines, min_area=request.min_area
            )
            self._storage.upload(file, f"{base}.{request.outlines}")
        self._storage.upload(description_of(path), f"{base}{MAP}{DESCRIPTION}")
        self._storage.upload(path, f"{base}{MAP}")
        square_metres = None
        if counts.square_metres is not None:
            square_metres = {
                name: float(counts.square_metres[index]) for index, name in enumerate(labels.names)
            }
        with open_mask(path) as class_map:
            outline = footprint(class_map)
            record = MapRecord(
                name=plan.scene.name,
                image=plan.scene.address,
                etag=str(plan.scene.etag),
                fingerprint=request.fingerprint,
                model=request.model,
                version=request.version,
                height=plan.height,
                width=plan.width,
                pixels={name: int(counts.pixels[index]) for index, name in enumerate(labels.names)},
                square_metres=square_metres,
                bbox=None if outline is None else list(outline.bounds),
                outlines=outlines,
                seconds=seconds + time.monotonic() - started,
            )
            item = map_item(record, request, class_map, labels, outline)
        write_item(self._storage, request.out, item, plan.scene.name)
        return record

    @contextmanager
    def _opened(self, plan: ScenePlan) -> Iterator[Raster]:
        """The image as it was planned for.

        Raises:
            ImageChangedError: it has been overwritten.
        """
        scene = plan.scene
        with (
            self._storage.raster_environment(),
            open_raster(scene.address, bands=self._request.bands) as raster,
        ):
            if self._storage.etag(scene.address) != scene.etag or (raster.height, raster.width) != (
                plan.height,
                plan.width,
            ):
                raise ImageChangedError(f"{scene.address} was overwritten since the job looked at it")
            yield raster

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="icss-map-") as name:
            yield Path(name)

    def _part_address(self, plan: ScenePlan, part: RowRange) -> str:
        """Where rows of a scene lie: under what decides their content, so that others' are never taken."""
        etag = "".join(filter(str.isalnum, str(plan.scene.etag)))
        tiles = f"{self._request.fingerprint}/{etag}"
        return (
            f"{self._request.out.rstrip('/')}/{PARTS}/{tiles}/{plan.scene.name}/{part.first}-{part.end}.tif"
        )
