"""A kind of training that nobody ships goes through a job, a kill, a resume and registration."""

from types import MappingProxyType

import numpy as np
import pytest
import torch
from two_streams import TWO_STREAMS

from icss_core.labels import ClassInfo, LabelSpace
from icss_core.learners import registry
from icss_core.networks.model_folder import load_artefact, load_model
from icss_core.training import Optimisation
from services.ingest.writer import DatasetWriter
from services.registry import Registry
from services.settings import environment_of
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking
from services.training import TrainingConfig
from services.training.callback import MlflowCallback
from services.training.checkpoint import MODEL_FOLDER, CheckpointStore
from services.training.config import LearnerChoice
from services.training.in_process import OnlyRank, train_in_process
from services.training.plan import make_plan
from services.training.worker import train

CLASSES = LabelSpace(
    classes=tuple(ClassInfo(name=name, colour=(i, 0, 0)) for i, name in enumerate(("background", "a")))
)
ENTRY = MappingProxyType({**registry.LEARNERS, TWO_STREAMS.name: TWO_STREAMS})


@pytest.fixture
def plan(mlflow_settings, monkeypatch):
    monkeypatch.setattr(registry, "LEARNERS", ENTRY)
    for name, value in environment_of(mlflow_settings).items():
        monkeypatch.setenv(name, value)
    rng = np.random.default_rng(0)
    storage = Storage(mlflow_settings)
    writer = DatasetWriter(storage, f"{mlflow_settings.data_prefix}/streams", name="toy", classes=CLASSES)
    for name, split, labelled in (("one", "train", True), ("two", "train", False), ("three", "val", True)):
        mask = rng.integers(0, 2, (48, 48), dtype=np.uint8)
        pixels = rng.integers(0, 100, (3, 48, 48), dtype=np.uint8) + 100 * mask
        writer.add_array(name, pixels.astype(np.uint8), mask if labelled else None, split=split)
    dataset = writer.finish()
    config = TrainingConfig(
        dataset=f"{dataset.base}/dataset.yaml",
        model="streams",
        encoder="tu-test_resnet",
        crop=32,
        batch=2,
        workers=0,
        checkpoint_every=2,
        optimisation=Optimisation(iterations=6, lr=0.01, precision="float32"),
        learner=LearnerChoice(kind="two-streams", parameters={"warmup": 3}),
    )
    return make_plan(config, dataset, storage, code_version="test")


class KilledError(Exception):
    """The process dies here."""


class Dying(OnlyRank):
    """Dies with the checkpoint of iteration 4 just saved: one iteration into the second phase."""

    def report(self, report):
        if report.checkpoint and report.iteration == 4:
            raise KilledError
        super().report(report)


def test_two_networks_two_streams_and_a_phase_survive_a_kill(plan, mlflow_settings):
    tracking, storage = Tracking(mlflow_settings), Storage(mlflow_settings)
    folders = {}
    for way in ("straight", "killed"):
        run = tracking.create_run(PRETRAINING, name=way, tags={})
        prefix = f"{mlflow_settings.data_prefix}/training/streams-{way}"
        if way == "killed":
            with pytest.raises(KilledError):
                train(plan, Dying(MlflowCallback(run)), prefix)
        train_in_process(plan, run, prefix)
        folders[way] = prefix
        if way == "straight":
            assert [step for step, _ in tracking.metric_history(run, "loss/reconstruction")] == [4, 5, 6]
            assert [step for step, _ in tracking.metric_history(run, "loss")] == [1, 2, 3, 4, 5, 6]
    networks = []
    for way, prefix in folders.items():
        with CheckpointStore(storage, prefix).latest() as folder:
            network, card = load_model(folder / MODEL_FOLDER)
            networks.append(network.state_dict())
            phases = load_artefact(folder / MODEL_FOLDER, "phases")["active"].tolist()
            assert phases == ([True] if way == "straight" else [True, True])
            assert not any("reconstruction" in name for name in network.state_dict()), "dropped"
            if way == "killed":
                version = Registry(mlflow_settings).register("streams", folder / MODEL_FOLDER, run_id=run)
    assert all(torch.equal(networks[0][name], one) for name, one in networks[1].items())
    fetched, _ = load_model(Registry(mlflow_settings).fetch("streams", version))
    assert all(torch.equal(networks[1][name], one) for name, one in fetched.state_dict().items())
    assert (card.method, card.label_space.names) == ("pretraining", ("background", "a"))


def test_a_kind_that_is_not_entered_is_refused():
    with pytest.raises(ValueError, match="unknown kind of training 'two-streams'"):
        LearnerChoice(kind="two-streams")
