"""A kind of training that nobody ships goes through a job, a kill, a resume and registration."""

from types import MappingProxyType

import pytest
import torch
from toy_training import Dying, KilledError, toy_plan
from two_streams import TWO_STREAMS

from icss_core.learners import registry
from icss_core.networks.model_folder import load_artefact, load_model
from services.registry import Registry
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking
from services.training.callback import MlflowCallback
from services.training.checkpoint import MODEL_FOLDER, CheckpointStore
from services.training.config import LearnerChoice
from services.training.in_process import train_in_process
from services.training.worker import train

ENTRY = MappingProxyType({**registry.LEARNERS, TWO_STREAMS.name: TWO_STREAMS})


@pytest.fixture
def plan(mlflow_environment, monkeypatch):
    monkeypatch.setattr(registry, "LEARNERS", ENTRY)
    learner = LearnerChoice(kind="two-streams", parameters={"warmup": 3})
    return toy_plan(mlflow_environment, "streams", iterations=6, unlabelled=["two"], learner=learner)


def test_two_networks_two_streams_and_a_phase_survive_a_kill(plan, mlflow_settings):
    tracking, storage = Tracking(mlflow_settings), Storage(mlflow_settings)
    folders = {}
    for way in ("straight", "killed"):
        run = tracking.create_run(PRETRAINING, name=way, tags={})
        prefix = f"{mlflow_settings.data_prefix}/training/streams-{way}"
        if way == "killed":
            with pytest.raises(KilledError):
                # one iteration into the second phase
                train(plan, Dying(MlflowCallback(run), at=4), prefix)
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
