"""Rows of a class map on disk, between who predicts them and who makes the whole map of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

from icss_core.errors import InvalidParameterError
from icss_core.raster.cog import BLOCK, CONFIDENCE_STEPS
from icss_core.raster.environment import gdal_ready, georeference_optional

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.io import DatasetWriter

    from icss_core.raster.cog import CogSink


class LabelRows:
    """Writes rows of a class map into a compressed GeoTIFF of nothing but these; a context manager.

    `copy_label_rows` gives them to the sink of the whole map. Confidence is stored as `CogSink` stores it, so
    nothing is lost on the way.

    Args:
        path: the local file to write.
        first: row of the whole map that is the first of the file.
        height: rows that will come.
        width: of the map.
        confidence: whether every `write` brings it.
    """

    def __init__(self, path: Path, *, first: int, height: int, width: int, confidence: bool) -> None:
        self._path, self._first, self._height, self._width = path, first, height, width
        self._bands = 2 if confidence else 1
        self._file: DatasetWriter | None = None
        self._next = first

    def __enter__(self) -> Self:
        with gdal_ready(), georeference_optional():
            self._file = rasterio.open(
                self._path, "w", driver="GTiff", width=self._width, height=self._height, count=self._bands,
                dtype="uint8", blockysize=BLOCK, interleave="band", compress="deflate", zlevel=1,
                bigtiff="if_safer",
            )  # fmt: skip
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._file is not None:
            with gdal_ready():
                self._file.close()
            self._file = None
        if kind is None and self._next != self._first + self._height:
            raise InvalidParameterError(
                f"only {self._next - self._first} of {self._height} rows were written"
            )

    def write(self, row: int, labels: NDArray[np.uint8], confidence: NDArray[np.float32] | None) -> None:
        """Take the next rows; see `icss_core.inference.RowSink`.

        Raises:
            InvalidParameterError: not the next rows, or without the confidence promised.
        """
        if self._file is None or row != self._next or (confidence is None) != (self._bands == 1):
            raise InvalidParameterError(f"row {self._next} is next, not {labels.shape} at {row}")
        area = RasterioWindow(0, row - self._first, self._width, len(labels))
        planes = [labels]
        if confidence is not None:
            planes.append(np.rint(confidence * CONFIDENCE_STEPS).astype(np.uint8))
        with gdal_ready():
            self._file.write(np.stack(planes), window=area)
        self._next += len(labels)


def copy_label_rows(path: Path, sink: CogSink, *, first: int) -> None:
    """Give the rows of a file that `LabelRows` wrote to the sink of the whole map.

    Args:
        path: the local file.
        sink: the rows before have been given to it.
        first: row of the whole map that is the first of the file.
    """
    with gdal_ready(), georeference_optional(), rasterio.open(path) as file:
        for start in range(0, file.height, BLOCK):
            rows = min(BLOCK, file.height - start)
            values = file.read(window=RasterioWindow(0, start, file.width, rows))
            confidence = None
            if len(values) == 2:
                confidence = values[1].astype(np.float32) / CONFIDENCE_STEPS
            sink.write(first + start, values[0], confidence)
