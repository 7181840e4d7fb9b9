"""The smallest things the services work on: an untrained network, a small scene, a few clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import torch
from affine import Affine

from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks.model_folder import ModelCard, save_model
from icss_core.networks.normalisation import Normalisation
from icss_core.networks.segmenter import Architecture, Segmenter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEIGHT, WIDTH, NODATA_COLUMNS = 96, 160, 10
SHORT: dict[str, Any] = {
    "optimisation.iterations": 3,
    "crops.size": 64,
    "crops.batch": 1,
    "head_fit.iterations": 2,
}
"""Overrides that make an update last a second."""
LONG: dict[str, Any] = SHORT | {"optimisation.iterations": 5000}
"""Overrides that make an update last until it is cancelled."""


def at(name: str) -> dict[str, str]:
    """Reference to a scene of the service's tests in the object store."""
    return {"uri": f"s3://icss/data/scenes/{name}.tif"}


def write_tiny_model(folder: Path, *, bands: int = 3) -> Path:
    """A model folder with classes background and road, and random weights that are always the same."""
    classes = (ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="road", colour=(128, 128, 128)))
    architecture = Architecture(decoder="linknet", encoder="tu-test_resnet", in_channels=bands, n_classes=2)
    normalisation = Normalisation(mean=(100.0,) * bands, std=(50.0,) * bands)
    torch.manual_seed(0)
    network = Segmenter(architecture, normalisation)
    card = ModelCard(
        architecture=architecture,
        normalisation=normalisation,
        label_space=LabelSpace(classes=classes),
        dtype="uint8",
        method="pretraining",
    )
    save_model(folder, network, card)
    return folder


def write_scene(
    path: Path, *, bands: int = 3, height: int = HEIGHT, width: int = WIDTH, dtype: str = "uint8"
) -> Path:
    """A GeoTIFF with bright squares on noise; its first 10 columns have no data (0)."""
    rng = np.random.default_rng(0)
    values = rng.integers(20, 120, (bands, height, width), np.uint8)
    for row in range(8, height - 16, 32):
        for col in range(24, width - 16, 32):
            values[:, row : row + 16, col : col + 16] = rng.integers(200, 250, (bands, 16, 16), np.uint8)
    values[:, :, :NODATA_COLUMNS] = 0
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=bands, dtype=dtype, nodata=0,
        crs="EPSG:32631", transform=Affine(0.5, 0, 450_000, 0, -0.5, 5_410_000), tiled=True,
        blockxsize=64, blockysize=64,
    ) as dataset:  # fmt: skip
        dataset.write(values.astype(dtype))
    return path


def pixel_clicks(*points: tuple[int, int, str]) -> dict[str, Any]:
    """Clicks (row, col, class) as GeoJSON in pixel coordinates, which are (col, row)."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [col, row]},
                "properties": {"class": name},
            }
            for row, col, name in points
        ],
    }


def building_clicks(name: str = "building", squares: Sequence[tuple[int, int]] = ()) -> dict[str, Any]:
    """Clicks on bright squares, and as many of background between them."""
    corners = squares or [(row, col) for row in (8, 40) for col in (24, 56, 88)]
    points = [(row + 6, col + 6, name) for row, col in corners]
    return pixel_clicks(*points, *((row + 20, col + 20, "background") for row, col in corners))
