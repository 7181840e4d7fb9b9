"""From the reference in a request to an image that can be opened."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from icss_core.errors import ImageNotFoundError, ImageUnreadableError, InvalidParameterError
from icss_core.networks.compatibility import check_image
from icss_core.raster.formats import FORMAT_NAMES, JPEG, PNG, format_of
from icss_core.raster.reader import open_raster
from services.errors import ImageChangedError, ObjectNotFoundError, UploadNotFoundError
from services.s3_address import S3Address
from services.serving.responses import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from icss_core.raster.reader import Raster
    from services.serving.addresses import ImageReference
    from services.settings import Settings
    from services.storage import Storage

_FROM_THE_START: Final = frozenset({*PNG.drivers, *JPEG.drivers})
"""Formats of which a pixel can be had only by decoding all before it."""


class Images:
    """Images of requests: resolved to addresses, opened with this store's settings, kept when uploaded."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._storage = storage
        self._uploads = S3Address.parse(settings.data_prefix).child("uploads")
        self._limits = settings.limits

    def address(self, reference: ImageReference) -> str:
        """The s3:// address of an image.

        Raises:
            UriNotAllowedError: malformed, or outside the allowed prefixes.
            UploadNotFoundError: no upload has this id.
        """
        if reference.uri is not None:
            return self._storage.check_object(reference.uri)
        folder = self._uploads.child(str(reference.upload))
        address = next(iter(self._storage.list(str(folder))), None)
        if address is None:
            raise UploadNotFoundError(
                f"no upload has the id {reference.upload!r}; POST /v1/uploads gives ids"
            )
        return address

    def etag(self, address: str) -> str:
        """What the object store calls the present bytes of an image; see `Storage.etag`.

        Raises:
            ImageNotFoundError: nothing there.
        """
        try:
            return self._storage.etag(address)
        except ObjectNotFoundError as error:
            raise ImageNotFoundError(f"there is no image at {address}") from error

    def require_unchanged(self, address: str, etag: str) -> None:
        """Make sure that an image still has the bytes it had when `etag` was read.

        Raises:
            ImageNotFoundError: it is gone.
            ImageChangedError: it has others.
        """
        now = self.etag(address)
        if now != etag:
            raise ImageChangedError(
                f"{address} has been overwritten since the update was accepted (entity tag {etag} then, "
                f"{now} now); send the request again, with clicks on the new image"
            )

    @contextmanager
    def opened(
        self,
        address: str | Path,
        *,
        bands: int | None = None,
        band_numbers: Sequence[int] | None = None,
        dtype: str | None = None,
        name: str | None = None,
    ) -> Iterator[Raster]:
        """Open an image for windowed reads, in this thread only.

        Args:
            address: checked s3:// address, or a local file that came with the request.
            bands: number of bands it must have; None: any.
            band_numbers: 1-based, of the bands to be read; None: all but alpha.
            dtype: data type it must have (`ModelCard.dtype`); None: any.
            name: what messages call it, as they must not show where a file of a request lies. None: its
                address, or "the uploaded image".

        Raises:
            ImageNotFoundError: nothing there.
            ImageUnreadableError: not a raster we read.
            BandMismatchError, DtypeMismatchError: not what the network was trained on.
            InvalidParameterError: more pixels than the service takes, or more to be decoded at once.
        """
        shown = name or (address if isinstance(address, str) else "the uploaded image")
        with (
            self._storage.raster_environment(),
            open_raster(address, bands=band_numbers, name=shown) as raster,
        ):
            self._check_size(raster)
            check_image(raster, bands=bands, dtype=dtype, name=shown, hint=raster.alpha_hint(bands))
            yield raster

    def _check_size(self, raster: Raster) -> None:
        pixels = raster.height * raster.width
        if pixels > self._limits.max_pixels:
            raise InvalidParameterError(
                f"{raster.address} has {raster.height} x {raster.width} pixels; "
                f"this service takes {self._limits.max_pixels}"
            )
        rows, columns = raster.block_shape
        together = pixels if raster.driver in _FROM_THE_START else rows * columns
        needed = together * raster.bands * np.dtype(raster.dtype).itemsize
        if needed > self._limits.max_decoded_bytes:
            raise InvalidParameterError(
                f"{raster.address} is a {raster.driver} of {raster.height} x {raster.width} pixels of which "
                f"{needed} bytes must be decoded to read one pixel; this service takes "
                f"{self._limits.max_decoded_bytes}: convert it to a tiled GeoTIFF"
            )

    def keep(self, file: Path) -> Upload:
        """Check that a local file is an image and copy it to the store.

        Raises:
            ImageUnreadableError: it is not.
            InvalidParameterError: it has more pixels than the service takes.
            StorageError: the store refused.
        """
        identifier = uuid.uuid4().hex
        with self.opened(file) as raster:
            with file.open("rb") as stream:
                kind = format_of(stream.read(16))
            if kind is None:
                raise ImageUnreadableError(f"the uploaded image is not {FORMAT_NAMES}")
            upload = Upload(
                id=identifier,
                uri=str(self._uploads.child(identifier, f"image{kind.extensions[0]}")),
                bytes=file.stat().st_size,
                width=raster.width,
                height=raster.height,
                bands=raster.bands,
                dtype=raster.dtype,
                crs=None if raster.crs is None else str(raster.crs),
            )
        self._storage.upload(file, upload.uri)
        return upload
