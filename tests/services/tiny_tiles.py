"""Tiles of a few pixels, written as published sets have them."""

import warnings

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

HEIGHT, WIDTH = 48, 64


def image(seed, bands=3, dtype="uint8", highest=255):
    """Values (C, H, W), none of them 0."""
    return np.random.default_rng(seed).integers(1, highest, (bands, HEIGHT, WIDTH)).astype(dtype)


def truth(seed, classes):
    """A mask (H, W) of class indices in which every class occurs."""
    mask = np.random.default_rng(seed).integers(0, classes, (HEIGHT, WIDTH)).astype(np.uint8)
    mask[0, :classes] = np.arange(classes)
    return mask


def in_colours(mask, colours, ignored=(0, 0, 0)):
    """The picture (3, H, W) of a mask; what is ignored is black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    table[255] = ignored
    return table[mask].transpose(2, 0, 1)


def write(path, values, *, world=None, **profile):
    """A TIFF, with a world file beside it if its six lines are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    colours = {"photometric": "RGB"} if bands == 3 and values.dtype == np.uint8 else {}
    size = {"count": bands, "height": height, "width": width}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", **{"driver": "GTiff", "dtype": values.dtype} | size | colours | profile
        ) as target:
            target.write(values)
    if world is not None:
        path.with_suffix(".tfw").write_text("\n".join(map(str, world)))
    return path
