"""Data sets and their rasters, read back from the object store."""

from icss_core.dataset import Dataset
from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window


def stored(storage, dataset):
    """The data set as its dataset.yaml in the store says."""
    return Dataset.from_yaml(storage.read_bytes(f"{dataset.base}/dataset.yaml"), base=dataset.base)


def pixels_of(storage, address):
    """Values (C, H, W) of a raster, and what it says of itself."""
    with storage.raster_environment(), open_raster(address) as raster:
        return raster.read(Window(0, 0, raster.height, raster.width)).values, raster
