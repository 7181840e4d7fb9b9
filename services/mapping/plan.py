"""What a scene costs, whether its map is there already, and how its work is shared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icss_core.networks.compatibility import check_image
from icss_core.networks.input_size import USUAL, InputSize
from icss_core.raster.class_areas import raster_area
from icss_core.raster.reader import open_raster
from services.mapping.map_item import MapRecord, read_record

if TYPE_CHECKING:
    from icss_core.inference.tiling import RowRange
    from icss_core.networks.model_folder import ModelCard
    from services.data.find_images import StoredImage
    from services.mapping.request import MapRequest
    from services.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenePlan:
    """A scene that can be mapped."""

    scene: StoredImage
    """With its entity tag."""
    height: int
    width: int
    area: float | None
    """Square metres; None where it lies nowhere."""
    parts: tuple[RowRange, ...]
    """Rows to be predicted apart from each other; one for a scene that is mapped as a whole."""

    @property
    def pixels(self) -> int:
        """Of the scene."""
        return self.height * self.width


def plan_scene(
    scene: StoredImage,
    request: MapRequest,
    card: ModelCard,
    storage: Storage,
    *,
    is_there: bool,
    size: InputSize = USUAL,
) -> ScenePlan | MapRecord:
    """Look at a scene's header; its record, where exactly this map was made before.

    Args:
        scene: what to look at.
        request: the job's.
        card: of the version.
        storage: where the scene lies.
        is_there: whether the store lists a record of a map of this name.
        size: what the network takes.

    Raises:
        ImageNotFoundError, ImageUnreadableError: the image cannot be read.
        BandMismatchError, DtypeMismatchError: the network was trained on something else.
        StorageError: the store did not answer.
    """
    etag = scene.etag or storage.etag(scene.address)
    if is_there:
        record = read_record(storage, request.out, scene.name)
        if record is not None and record.is_of(request, scene.address, etag):
            return record
    bands = card.architecture.in_channels
    with storage.raster_environment(), open_raster(scene.address, bands=request.bands) as raster:
        check_image(raster, bands=bands, dtype=card.dtype, name=scene.address, hint=raster.alpha_hint(bands))
        layout = request.tiling.layout(raster.height, raster.width, size)
        return ScenePlan(
            scene=replace(scene, etag=etag),
            height=raster.height,
            width=raster.width,
            area=raster_area(raster),
            parts=layout.parts(request.part_pixels),
        )
