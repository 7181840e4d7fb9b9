from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from same_weights import same_weights

from icss_core.data.labelled_scene import LabelledScene
from icss_core.data.random_crops import RandomCrops
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks.model_folder import ModelCard, load_model
from icss_core.networks.normalisation import Normalisation
from icss_core.networks.segmenter import Architecture, Segmenter
from icss_core.raster.source import ArraySource
from icss_core.training import Fit, Optimisation, SegmentationLearner, cross_entropy_objective
from services.storage import Storage
from services.training.checkpoint import (
    MODEL_FOLDER,
    CheckpointStore,
    TrainingProgress,
    is_finished,
    load_checkpoint,
    save_checkpoint,
)

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


def start() -> Fit:
    torch.manual_seed(0)
    learner = SegmentationLearner(Segmenter(ARCHITECTURE, NORMALISATION), cross_entropy_objective, crops())
    return Fit(learner, OPTIMISATION)


def crops() -> RandomCrops:
    rng = np.random.default_rng(0)
    image = ArraySource(rng.integers(0, 255, (3, 80, 80), dtype=np.uint8))
    mask = ArraySource(rng.integers(0, 2, (1, 80, 80), dtype=np.uint8))
    return RandomCrops(
        [LabelledScene(image=image, mask=mask, lookup=np.arange(256, dtype=np.uint8))], size=32, batch=2
    )


def test_a_resumed_training_ends_with_the_same_weights_bit_for_bit(tmp_path) -> None:
    straight = start()
    straight.run()
    interrupted = start()
    interrupted.run(until=3)
    progress = TrainingProgress(iteration=3, iterations=4, seconds=1.5)
    save_checkpoint(tmp_path, interrupted, progress)
    assert not is_finished(tmp_path)
    resumed = start()
    assert load_checkpoint(tmp_path, resumed) == progress
    assert resumed.iteration == 3
    resumed.run()
    weights = resumed.learner.network.state_dict()
    for name, tensor in straight.learner.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_a_finished_checkpoint_is_a_model_version_and_nothing_else(tmp_path) -> None:
    fit = start()
    save_checkpoint(tmp_path, fit, TrainingProgress(iteration=4, iterations=4, seconds=1), finished=CARD)
    assert is_finished(tmp_path)
    network, card = load_model(tmp_path / MODEL_FOLDER)
    assert card == CARD
    assert same_weights(network, fit.learner.network)
    assert not list(tmp_path.glob("*.pt")), "five times the network's size, and of no more use"


def test_nothing_in_a_checkpoint_is_executed(tmp_path) -> None:
    fit = start()
    save_checkpoint(tmp_path, fit, TrainingProgress(iteration=0, iterations=4, seconds=0))

    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('executed')",))

    torch.save({"iteration": Trap()}, tmp_path / "state.pt")
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        load_checkpoint(tmp_path, fit)


class CutOffError(Exception):
    """The process dies here."""


class CutOff(Storage):
    """A store whose connection is lost after some uploads."""

    uploads = 1

    def upload(self, path, address, **more):
        if not self.uploads:
            raise CutOffError
        self.uploads -= 1
        return super().upload(path, address, **more)


def test_a_checkpoint_that_was_cut_off_is_never_read(tmp_path, store_settings) -> None:
    prefix = f"{store_settings.data_prefix}/training/cut-off"
    store = CheckpointStore(Storage(store_settings), prefix)
    with store.latest() as folder:
        assert folder is None
    for name in ("a.txt", "deep/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("first")
    store.save(tmp_path, 2)
    (tmp_path / "a.txt").write_text("second")
    with pytest.raises(CutOffError):
        CheckpointStore(CutOff(store_settings), prefix).save(tmp_path, 4)
    with store.latest() as folder:
        assert [(folder / name).read_text() for name in ("a.txt", "deep/b.txt")] == ["first", "first"]
    store.save(tmp_path, 4)
    with store.latest() as folder:
        assert (folder / "a.txt").read_text() == "second"
    kept = sorted(address.removeprefix(f"{prefix}/") for address in Storage(store_settings).list(prefix))
    assert kept == ["checkpoint-0-4/a.txt", "checkpoint-0-4/deep/b.txt", "latest-0.txt"]
    store.delete()
    assert not list(Storage(store_settings).list(prefix))


def test_an_owner_that_was_overtaken_spoils_nothing(tmp_path, store_settings) -> None:
    storage, prefix = Storage(store_settings), f"{store_settings.data_prefix}/training/overtaken"
    file = tmp_path / "a.txt"

    def save(text: str, iteration: int, generation: int) -> None:
        file.write_text(text)
        CheckpointStore(storage, prefix, generation=generation).save(tmp_path, iteration)

    def latest() -> str:
        with CheckpointStore(storage, prefix, generation=2).latest() as folder:
            return (folder / "a.txt").read_text()

    storage.write_bytes(f"{prefix}/latest.txt", b"checkpoint-8")  # from before there were generations
    storage.write_bytes(f"{prefix}/checkpoint-8/a.txt", b"before")
    assert latest() == "before"
    save("first owner", 10, 1)
    assert latest() == "first owner"
    save("second owner", 12, 2)
    save("first owner, who does not know", 40, 1)
    assert latest() == "second owner"
    save("second owner", 14, 2)
    kept = {address.removeprefix(f"{prefix}/") for address in storage.list(prefix)}
    assert kept == {"checkpoint-2-14/a.txt", "latest-2.txt"}
