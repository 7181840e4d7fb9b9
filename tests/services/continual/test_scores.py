from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from tiny_model import HEIGHT, WIDTH, write_scene, write_tiny_model

from icss_core.dataset import BACKGROUND_CLASS, Dataset, Scene
from icss_core.evaluation import map_image
from icss_core.labels import ClassInfo
from icss_core.networks import load_model
from icss_core.raster.reader import open_raster
from services.continual.scores import ScoreRequest, score_version
from services.registry import Registry
from services.storage import Storage
from services.tracking import Tracking

if TYPE_CHECKING:
    from pathlib import Path

    from services.settings import Settings

BASE = "s3://icss/data/scored"


def test_a_version_is_scored_at_the_scales_asked_for(mlflow_settings: Settings, tmp_path: Path) -> None:
    storage, registry = Storage(mlflow_settings), Registry(mlflow_settings)
    model = write_tiny_model(tmp_path / "model")
    run = Tracking(mlflow_settings).create_run("icss-pretraining", name="scored", tags={})
    version = registry.register("scored", model, run_id=run)
    scene = write_scene(tmp_path / "scene.tif")
    truth = np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH), np.uint8)
    mask = tmp_path / "mask.tif"
    with rasterio.open(scene) as like:
        profile = like.profile | {"count": 1, "nodata": None}
    with rasterio.open(mask, "w", **profile) as file:
        file.write(truth, 1)
    data = Dataset(
        name="scored",
        classes=[BACKGROUND_CLASS, ClassInfo(name="road", colour=(1, 2, 3))],
        scenes=[Scene(name="s", image="scene.tif", mask="mask.tif", split="val")],
    )
    storage.write_bytes(f"{BASE}/dataset.yaml", data.to_yaml().encode())
    for path in (scene, mask):
        storage.upload(path, f"{BASE}/{path.name}")

    def score(scales: tuple[float, ...] | None) -> tuple[float | None, np.ndarray]:
        request = ScoreRequest(
            model="scored",
            version=version,
            dataset=f"{BASE}/dataset.yaml",
            new=1,
            pictures=1,
            scales=scales,
        )
        report, maps = score_version(request, mlflow_settings)
        return report.mean_iou_of_images["s"], maps["s"]

    network, _ = load_model(model)
    with open_raster(scene) as raster:
        for scales in (None, (0.5, 1.5)):
            iou, labels = score(scales)
            np.testing.assert_array_equal(labels, map_image(network, raster, scales=scales))
            known = labels != 255
            overlaps = [
                (known & (labels == k) & (truth == k)).sum() / (known & ((labels == k) | (truth == k))).sum()
                for k in (0, 1)
            ]
            assert iou == pytest.approx(np.mean(overlaps))
    assert not np.array_equal(score(None)[1], score((0.5, 1.5))[1])
