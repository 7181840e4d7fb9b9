"""Class maps as Cloud Optimised GeoTIFFs, written row by row."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE
from icss_core.raster.class_names import CLASS_TAG, write_description
from icss_core.raster.environment import gdal_ready, georeference_optional
from icss_core.raster.extra_samples import mark_extra_sample_unspecified
from icss_core.raster.side_files import check_output, description_of, remove_side_files

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetWriter

    from icss_core.labels import LabelSpace
    from icss_core.raster.reader import Raster

BLOCK: Final = 512
"""Side of the tiles of the file."""
CONFIDENCE_STEPS: Final = 250
"""The confidence band stores round(250 p) in uint8 with scale 1/250, so that 255 stays free for no data."""


class CogSink:
    """Writes the rows of a class map into a Cloud Optimised GeoTIFF; a context manager.

    Band 1 is the class: label-space indices, nodata 255, a colour table, and the names as band tags
    `CLASS_<index>`. Band 2, if asked for, is the probability of that class. Both carry the source's CRS with
    its transform, ground control points or RPCs. The names are also in NAME.tif.aux.xml beside the map, where
    GDAL and QGIS look for them (`icss_core.raster.class_names`); it can be lost when a map is copied, tags
    cannot.

    Rows are collected to whole tiles and go into a tiled file beside `path`; when the block ends without an
    error that file is rewritten in COG order with overviews, by GDAL and in bounded memory, and takes the
    place of `path` at once. What an old map at `path` has left beside it, such as statistics, overviews, a
    mask or a world file, is removed then, as GDAL would take it for the new map's. After an error nothing is
    left, and an old map keeps what it has.

    Args:
        path: the local file to write; replaced if it exists.
        like: the raster that was predicted.
        label_space: names and colours of the classes.
        confidence: whether to write band 2; then every `write` must bring it.

    Raises:
        InvalidParameterError: the folder does not exist; `path`, or a file beside it that would be replaced
            or removed, is a file of `like`, or may belong to somebody else (`check_output`); rows come out of
            order or are missing.
    """

    def __init__(
        self, path: str | Path, *, like: Raster, label_space: LabelSpace, confidence: bool = False
    ) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise InvalidParameterError(
                f"there is no folder {self.path.parent} to write {self.path.name} into"
            )
        check_output(self.path, _files_of(like))
        self._height, self._width = like.height, like.width
        self._label_space = label_space
        self._georeference = _georeference(like)
        self._bands = 2 if confidence else 1
        self._tiled_path = self.path.with_name(f".{self.path.name}.{os.getpid()}.tiled.tif")
        self._cog_path = self.path.with_name(f".{self.path.name}.{os.getpid()}.cog.tif")
        self._file: DatasetWriter | None = None
        self._waiting = np.empty((self._bands, BLOCK, self._width), np.uint8)
        self._next_row = 0
        """First row that has not come yet; rows from the last multiple of BLOCK on are waiting."""

    def __enter__(self) -> Self:
        with gdal_ready(), georeference_optional():
            self._file = rasterio.open(
                self._tiled_path, "w", driver="GTiff", width=self._width, height=self._height,
                count=self._bands, dtype="uint8", nodata=IGNORE, tiled=True, blockxsize=BLOCK,
                blockysize=BLOCK, interleave="band", compress="deflate", zlevel=1, bigtiff="if_safer",
                **self._georeference,
            )  # fmt: skip
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
            elif self._file is not None:
                with gdal_ready():
                    self._file.close()
        finally:
            self._file = None
            self._tiled_path.unlink(missing_ok=True)
            for leftover in (self._cog_path, description_of(self._cog_path)):
                leftover.unlink(missing_ok=True)

    def write(self, row: int, labels: NDArray[np.uint8], confidence: NDArray[np.float32] | None) -> None:
        """Take the next rows; see `icss_core.inference.RowSink`.

        Raises:
            InvalidParameterError: not the next rows, of another width, or without the confidence promised.
        """
        if row != self._next_row or labels.shape[1] != self._width or row + len(labels) > self._height:
            raise InvalidParameterError(
                f"row {self._next_row} of {self._height} x {self._width} is next, not {labels.shape} at {row}"
            )
        planes = [labels]
        if self._bands == 2:
            if confidence is None:
                raise InvalidParameterError("this map has a confidence band; predict with confidence=True")
            steps = np.rint(confidence * CONFIDENCE_STEPS).astype(np.uint8)
            planes.append(np.where(labels == IGNORE, np.uint8(IGNORE), steps))
        taken = 0
        while taken < len(labels):
            filled = self._next_row % BLOCK
            count = min(BLOCK - filled, len(labels) - taken)
            for waiting, plane in zip(self._waiting, planes, strict=True):
                waiting[filled : filled + count] = plane[taken : taken + count]
            taken += count
            self._next_row += count
            if self._next_row % BLOCK == 0 or self._next_row == self._height:
                self._flush(filled + count)

    def _flush(self, rows: int) -> None:
        if self._file is None:
            raise InvalidParameterError(f"the map {self.path} is not open; use CogSink as a context manager")
        area = RasterioWindow(0, self._next_row - rows, self._width, rows)
        with gdal_ready():
            self._file.write(self._waiting[:, :rows], window=area)

    def _finish(self) -> None:
        if self._file is None or self._next_row != self._height:
            raise InvalidParameterError(f"only {self._next_row} of {self._height} rows were written")
        with gdal_ready():
            self._describe(self._file)
            self._file.close()
            try:
                rasterio.shutil.copy(
                    self._tiled_path, self._cog_path, driver="COG", compress="deflate", blocksize=BLOCK,
                    overview_resampling="nearest", bigtiff="if_safer",
                )  # fmt: skip
            except (RasterioError, CPLE_BaseError) as error:
                raise OSError(f"the map {self.path} cannot be written: {error}") from error
        if self._bands == 2:
            mark_extra_sample_unspecified(self._cog_path)
        description = write_description(self._cog_path, self._label_space)
        remove_side_files(self.path)
        self._cog_path.replace(self.path)
        description.replace(description_of(self.path))

    def _describe(self, file: DatasetWriter) -> None:
        table = {index: (*colour, 255) for index, colour in enumerate(self._label_space.colours)}
        file.write_colormap(1, table | {IGNORE: (0, 0, 0, 0)})
        file.set_band_description(1, "class")
        names = {f"{CLASS_TAG}{index}": name for index, name in enumerate(self._label_space.names)}
        file.update_tags(1, **names)
        if self._bands == 2:
            file.set_band_description(2, "confidence")
            file.scales = (1.0, 1 / CONFIDENCE_STEPS)


def _files_of(like: Raster) -> list[Path]:
    """The files of this machine that a raster is read from: itself, its mask, its world file and so on."""
    dataset = like.gdal_band().ds
    return [] if dataset.name.startswith("/vsi") else [Path(name) for name in dataset.files]


def _georeference(like: Raster) -> dict[str, Any]:
    """What rasterio needs to place a new file as the source is placed; nothing where it is not placed."""
    placed: dict[str, Any] = {"crs": like.crs} if like.crs is not None else {}
    if like.transform != Affine.identity():
        placed["transform"] = like.transform
    elif like.gcps:
        placed |= {"gcps": list(like.gcps), "crs": like.gcps_crs}
    if like.rpcs is not None:
        placed["rpcs"] = like.rpcs
    return placed
