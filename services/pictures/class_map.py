"""A class map as a file: PNG, whose pixels are the indices."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt


def map_png(labels: npt.NDArray[np.uint8]) -> bytes:
    """A class map (H, W) as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def read_map(content: bytes) -> npt.NDArray[np.uint8]:
    """The class map (H, W) of a PNG."""
    return np.asarray(Image.open(io.BytesIO(content)), dtype=np.uint8)
