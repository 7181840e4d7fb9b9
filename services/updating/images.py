"""The images of an update job: found, looked at, pinned to their bytes."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict

from icss_core.clicks.click_set import ClickSet
from icss_core.clicks.geojson import clicks_from_geojson
from icss_core.errors import ClickError, IcssError, InvalidParameterError, UnknownClassError
from icss_core.networks.compatibility import check_image
from icss_core.raster.raster_pool import Layout
from icss_core.raster.reader import open_raster
from icss_core.text_file import decoded
from services.data.find_images import find_images
from services.errors import ImageChangedError, LostOwnershipError, may_pass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from icss_core.labels import LabelSpace
    from icss_core.networks.model_folder import ModelCard
    from icss_core.raster.reader import Raster
    from services.data.find_images import StoredImage
    from services.storage import Storage
    from services.updating.request import UpdateJobRequest

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 16
_TELL_EVERY: Final = 1000


class PlannedImage(BaseModel):
    """An image of an update, pinned to its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    etag: str
    height: int
    width: int
    bands: int
    """That are read of it."""
    dtype: str
    points: dict[str, list[int]] | None
    """Clicks as pixels and indices of the extended label space (`ClickSet.to_lists`); None: context."""

    @property
    def layout(self) -> Layout:
        """Size and kind."""
        return Layout(self.height, self.width, self.bands, self.dtype)

    @property
    def clicks(self) -> ClickSet:
        """Its clicks; none of context."""
        return ClickSet.empty() if self.points is None else ClickSet.from_lists(self.points)


def look_at_images(
    request: UpdateJobRequest, card: ModelCard, extended: LabelSpace, storage: Storage
) -> tuple[PlannedImage, ...]:
    """All images of a request, those with clicks first; headers and clicks are read.

    Args:
        request: what is asked.
        card: of the version to add to.
        extended: its classes and the new one.
        storage: where images and clicks lie.

    Raises:
        IcssError: as `make_update_plan`.
    """

    def looked_at(address: str, etag: str | None, clicks: str | None) -> PlannedImage:
        # asked for before the image is read: one that is overwritten meanwhile is noticed
        etag = etag or storage.etag(address)
        bands = card.architecture.in_channels
        with storage.raster_environment(), open_raster(address, bands=request.bands) as raster:
            check_image(raster, bands=bands, dtype=card.dtype, name=address, hint=raster.alpha_hint(bands))
            points = None if clicks is None else _clicks(clicks, raster, extended, request.crs, storage)
            return PlannedImage(
                address=address,
                etag=etag,
                height=raster.height,
                width=raster.width,
                bands=raster.bands,
                dtype=raster.dtype,
                points=None if points is None else points.to_lists(),
            )

    clicked: dict[str, str] = {}
    for one in request.clicked:
        address = storage.check_object(one.image)
        if address in clicked:
            raise InvalidParameterError(f"{address} is named twice; put all its clicks into one file")
        clicked[address] = one.clicks
    context = _context(request, clicked.keys(), storage)
    asked = [
        *((address, None, clicks) for address, clicks in clicked.items()),
        *((image.address, image.etag, None) for image in context),
    ]
    planned = []
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for number, image in enumerate(threads.map(lambda one: looked_at(*one), asked), start=1):
            planned.append(image)
            if number % _TELL_EVERY == 0:
                _log.info("looked at %d of %d images", number, len(asked))
    return tuple(planned)


def _context(request: UpdateJobRequest, clicked: Collection[str], storage: Storage) -> list[StoredImage]:
    """The images of the context that nobody clicked."""
    found: dict[str, StoredImage] = {}
    for source in request.context:
        images = find_images([source], storage)
        if not images:
            raise InvalidParameterError(f"there are no images at {source}")
        found |= {image.address: image for image in images}
    return [image for address, image in found.items() if address not in clicked]


def _clicks(
    address: str, raster: Raster, extended: LabelSpace, crs: str | None, storage: Storage
) -> ClickSet:
    """The clicks in a file as pixels of their image; what is wrong with them is said with its address."""
    try:
        collection = json.loads(decoded(storage.read_bytes(address), address, ClickError))
    except ValueError as error:
        raise ClickError(f"{address} is not JSON: {error}") from error
    if not isinstance(collection, dict):
        raise ClickError(f"{address} must be GeoJSON: a Feature or a FeatureCollection")
    try:
        return clicks_from_geojson(collection, raster, extended, crs=crs)
    except (ClickError, UnknownClassError) as error:
        raise type(error)(f"{address}: {error}") from error


def require_unchanged(images: Sequence[PlannedImage], storage: Storage) -> None:
    """Make sure that every image has the bytes that were planned with.

    Raises:
        ImageChangedError: one has not.
        StorageError: the store has it no more, or did not answer.
    """

    def check(image: PlannedImage) -> None:
        now = storage.etag(image.address)
        if now != image.etag:
            raise ImageChangedError(
                f"{image.address} has been overwritten since the job began (entity tag {image.etag} then, "
                f"{now} now); submit it again, with clicks on the new image"
            )

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(check, images):
            pass


@contextmanager
def pinned(images: Sequence[PlannedImage], storage: Storage) -> Iterator[None]:
    """A block in which the images have the bytes that were planned with, from first to last.

    Raises:
        ImageChangedError: one has not; also in place of the errors that this causes in the block.
    """
    require_unchanged(images, storage)
    try:
        yield
    except IcssError as error:
        if not isinstance(error, LostOwnershipError) and not may_pass(error):
            require_unchanged(images, storage)
        raise
    require_unchanged(images, storage)
