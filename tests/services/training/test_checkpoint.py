from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from icss_core.data.labelled_scene import LabelledScene
from icss_core.data.random_crops import RandomCrops
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks.model_folder import ModelCard
from icss_core.networks.normalisation import Normalisation
from icss_core.networks.segmenter import Architecture, Segmenter
from icss_core.raster.source import ArraySource
from icss_core.training import Fit, Optimisation, cross_entropy_objective
from services.training.checkpoint import Progress, load_checkpoint, save_checkpoint

ARCHITECTURE = Architecture(encoder="tu-test_resnet", n_classes=2)
NORMALISATION = Normalisation(mean=(100.0,) * 3, std=(50.0,) * 3)
OPTIMISATION = Optimisation(
    iterations=4, lr=0.01, schedule="poly", warmup=1, average_last=0.5, precision="float32"
)
CARD = ModelCard(
    architecture=ARCHITECTURE,
    normalisation=NORMALISATION,
    label_space=LabelSpace(
        classes=(ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="a", colour=(1, 1, 1)))
    ),
)


def start() -> tuple[Segmenter, Fit]:
    torch.manual_seed(0)
    network = Segmenter(ARCHITECTURE, NORMALISATION)
    return network, Fit(network, cross_entropy_objective, OPTIMISATION)


def crops() -> RandomCrops:
    rng = np.random.default_rng(0)
    image = ArraySource(rng.integers(0, 255, (3, 80, 80), dtype=np.uint8))
    mask = ArraySource(rng.integers(0, 2, (1, 80, 80), dtype=np.uint8))
    return RandomCrops(
        [LabelledScene(image=image, mask=mask, lookup=np.arange(256, dtype=np.uint8))], size=32, batch=2
    )


def test_a_resumed_training_ends_with_the_same_weights_bit_for_bit(tmp_path) -> None:
    straight, fit = start()
    fit.run(crops())
    interrupted, fit = start()
    fit.run(crops(), until=3)
    save_checkpoint(tmp_path, interrupted, CARD, fit, Progress(step=3, iterations=4, seconds=1.5))
    torch.manual_seed(1)
    resumed = Segmenter(ARCHITECTURE, NORMALISATION)
    fit = Fit(resumed, cross_entropy_objective, OPTIMISATION)
    assert load_checkpoint(tmp_path, resumed, fit) == Progress(step=3, iterations=4, seconds=1.5)
    assert fit.step == 3
    fit.run(crops())
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_nothing_in_a_checkpoint_is_executed(tmp_path) -> None:
    network, fit = start()
    save_checkpoint(tmp_path, network, CARD, fit, Progress(step=0, iterations=4, seconds=0))

    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('executed')",))

    torch.save({"step": Trap()}, tmp_path / "state.pt")
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        load_checkpoint(tmp_path, network, fit)
