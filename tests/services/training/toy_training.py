"""A training of seconds, and a process that dies in the middle of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icss_core.labels import ClassInfo, LabelSpace
from icss_core.training import Optimisation
from services.ingest.writer import DatasetWriter
from services.storage import Storage
from services.training import TrainingConfig
from services.training.in_process import OnlyRank
from services.training.plan import Plan, make_plan

if TYPE_CHECKING:
    from collections.abc import Collection

    from services.settings import Settings

CLASSES = LabelSpace(
    classes=tuple(ClassInfo(name=name, colour=(i, 0, 0)) for i, name in enumerate(("background", "a")))
)


def toy_plan(
    settings: Settings, name: str, *, iterations: int, unlabelled: Collection[str] = (), **changes: Any
) -> Plan:
    """The plan of a training on scenes `one` and `two` of class `a`, validated on `three`.

    Args:
        settings: of the services.
        name: of the model, and of the folder of its data.
        iterations: of the training, with a checkpoint after every second.
        unlabelled: scenes without a mask.
        changes: to the configuration.
    """
    rng, storage = np.random.default_rng(0), Storage(settings)
    writer = DatasetWriter(storage, f"{settings.data_prefix}/{name}", name="toy", classes=CLASSES)
    for scene, split in (("one", "train"), ("two", "train"), ("three", "val")):
        mask = rng.integers(0, 2, (48, 48), dtype=np.uint8)
        pixels = rng.integers(0, 100, (3, 48, 48), dtype=np.uint8) + 100 * mask
        writer.add_array(scene, pixels.astype(np.uint8), None if scene in unlabelled else mask, split=split)
    dataset = writer.finish()
    config = TrainingConfig(
        dataset=f"{dataset.base}/dataset.yaml",
        model=name,
        crop=32,
        batch=2,
        workers=0,
        checkpoint_every=2,
        optimisation=Optimisation(iterations=iterations, lr=0.01, precision="float32"),
        **{"encoder": "tu-test_resnet", **changes},
    )
    return make_plan(config, dataset, storage, code_version="test")


class KilledError(Exception):
    """The process dies here."""


class Dying(OnlyRank):
    """Dies once the checkpoint of an iteration was saved and before anybody hears of it."""

    def __init__(self, *arguments: Any, at: int) -> None:
        super().__init__(*arguments)
        self._at = at

    def report(self, report: Any) -> None:
        if report.checkpoint and report.iteration == self._at:
            raise KilledError
        super().report(report)
