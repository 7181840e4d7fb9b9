"""What a training cannot do is refused while it is planned, before a worker starts."""

from __future__ import annotations

import numpy as np
import pytest

from icss_core.errors import FillValueError, InvalidParameterError
from icss_core.networks.packaged_weights import ENCODER, PACKAGE
from services.ingest.writer import DatasetWriter
from services.storage import Storage
from services.training import TrainingConfig
from services.training.plan import make_plan
from tests.services.training.toy_training import CLASSES, toy_plan


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"decoder": "pan"},
            r"crop is 32 pixels, and pan .* takes multiples of 16 from 128 on; set crop to 128",
        ),
        ({"encoder": "tu-hiera_tiny_224", "decoder": "unet"}, "images of one size only"),
        ({"encoder": "nonsense"}, "nonsense"),
        ({"encoder": "resnet18", "encoder_weights": PACKAGE}, f"those of encoder '{ENCODER}'"),
    ],
)
def test_networks_that_do_not_fit_their_crops(mlflow_settings, changes, match) -> None:
    with pytest.raises(InvalidParameterError, match=match):
        toy_plan(mlflow_settings, "refused", iterations=1, **changes)


def test_scenes_with_an_undeclared_fill_value(mlflow_settings) -> None:
    storage = Storage(mlflow_settings)
    writer = DatasetWriter(storage, f"{mlflow_settings.data_prefix}/filled", name="filled", classes=CLASSES)
    pixels = np.random.default_rng(0).uniform(0, 1, (3, 48, 48)).astype(np.float32)
    pixels[:, 20:] = -9999
    writer.add_array("one", pixels, np.ones((48, 48), np.uint8), split="train")
    dataset = writer.finish()
    config = TrainingConfig(
        dataset=f"{dataset.base}/dataset.yaml", model="filled", encoder="tu-test_resnet", crop=32
    )
    with pytest.raises(FillValueError, match=r"one.*have the value -9999, .*gdal_edit.py -a_nodata -9999"):
        make_plan(config, dataset, storage, code_version="test")
