"""Training in the job's own process, with a real store and a real MLflow server."""

import pytest
import torch
from toy_training import Dying, KilledError, toy_plan

from icss_core.data.random_crops import RandomCrops
from icss_core.errors import InvalidParameterError
from icss_core.networks.model_folder import load_model
from icss_core.networks.packaged_weights import ENCODER, PACKAGE, packaged_weights
from icss_core.networks.segmenter import Segmenter
from icss_core.raster.raster_pool import RasterPool
from icss_core.training import Fit, Optimisation, SegmentationLearner, cross_entropy_objective
from services.data.scenes import open_scenes
from services.errors import TrainingError
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking
from services.training import worker
from services.training.callback import MlflowCallback
from services.training.checkpoint import MODEL_FOLDER, CheckpointStore
from services.training.in_process import train_in_process
from services.training.worker import train


@pytest.fixture(scope="module")
def plan(mlflow_settings):
    return toy_plan(mlflow_settings, "in-process", iterations=5)


@pytest.fixture
def run_id(mlflow_environment):
    return Tracking(mlflow_environment).create_run(PRETRAINING, name="in process", tags={})


def weights_of(storage, prefix):
    with CheckpointStore(storage, prefix).latest() as folder:
        network, _ = load_model(folder / MODEL_FOLDER)
        return network.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_numbers_are_those_of_the_training_loop_alone(plan, run_id, mlflow_settings):
    prefix = f"{mlflow_settings.data_prefix}/training/alone"
    config, storage = plan.config, Storage(mlflow_settings)
    train_in_process(plan, run_id, prefix)
    found = weights_of(storage, prefix)
    torch.manual_seed(config.seed)
    network = Segmenter(plan.card.architecture, plan.card.normalisation)
    with storage.raster_environment(), RasterPool() as pool:
        scenes = open_scenes(plan.dataset, "train", classes=("a",), storage=storage, pool=pool)
        crops = RandomCrops(scenes, size=32, batch=2, seed=config.seed)
        Fit(SegmentationLearner(network, cross_entropy_objective, crops), config.optimisation).run()
    assert same(found, network.state_dict())
    tracking = Tracking(mlflow_settings)
    assert [step for step, _ in tracking.metric_history(run_id, "loss")] == [1, 2, 3, 4, 5]
    assert 0 <= tracking.get(run_id).metrics["val_miou"] <= 1


@pytest.mark.parametrize("at", [2, 4, 5])
def test_a_job_goes_on_with_its_last_checkpoint_and_loses_no_number(plan, run_id, mlflow_settings, at):
    tracking, storage = Tracking(mlflow_settings), Storage(mlflow_settings)
    straight = f"{mlflow_settings.data_prefix}/training/straight"
    if not list(storage.list(straight)):
        train_in_process(plan, tracking.create_run(PRETRAINING, name="straight", tags={}), straight)

    prefix = f"{mlflow_settings.data_prefix}/training/killed-{at}"
    with pytest.raises(KilledError):
        train(plan, Dying(MlflowCallback(run_id), at=at), prefix)
    train_in_process(plan, run_id, prefix)
    assert same(weights_of(storage, prefix), weights_of(storage, straight))
    assert [step for step, _ in tracking.metric_history(run_id, "loss")] == [1, 2, 3, 4, 5]
    if at < 5:
        assert tracking.get(run_id).tags["icss.resumed_at"] == str(at)


def test_iterations_that_nobody_heard_of_are_heard_when_the_training_goes_on(plan, run_id, mlflow_settings):
    """Workers of Ray Train go on while their reports wait for the job, which may be stopped with them."""
    prefix = f"{mlflow_settings.data_prefix}/training/unheard"
    often = plan.model_copy(update={"config": plan.config.model_copy(update={"checkpoint_every": 1})})

    class Unheard(Dying):
        def report(self, report):
            if report.iteration < 2 or report.iteration == self._at:
                super().report(report)

    with pytest.raises(KilledError):
        train(often, Unheard(MlflowCallback(run_id), at=4), prefix)
    tracking = Tracking(mlflow_settings)
    assert [step for step, _ in tracking.metric_history(run_id, "loss")] == [1]
    train_in_process(often, run_id, prefix)
    assert [step for step, _ in tracking.metric_history(run_id, "loss")] == [1, 2, 3, 4, 5]


def test_a_checkpoint_is_never_older_than_a_minute(plan, run_id, mlflow_settings, monkeypatch):
    """However rare they are by iterations: here the clock asks for one after each."""
    monkeypatch.setattr(worker, "CHECKPOINT_SECONDS", 0.0)
    rare = plan.model_copy(update={"config": plan.config.model_copy(update={"checkpoint_every": 10_000})})
    prefix = f"{mlflow_settings.data_prefix}/training/by-time"
    with pytest.raises(KilledError):
        train(rare, Dying(MlflowCallback(run_id), at=3), prefix)
    train_in_process(rare, run_id, prefix)
    tracking = Tracking(mlflow_settings)
    assert tracking.get(run_id).tags["icss.resumed_at"] == "3"
    assert [step for step, _ in tracking.metric_history(run_id, "loss")] == [1, 2, 3, 4, 5]


def test_a_network_starts_from_packaged_weights(run_id, mlflow_settings):
    # too small a learning rate to change a weight that is not near 0
    optimisation = Optimisation(iterations=1, lr=1e-12, precision="float32")
    changes = {"encoder": ENCODER, "encoder_weights": PACKAGE}
    plan = toy_plan(mlflow_settings, "pretrained", iterations=1, **changes)
    config = plan.config.model_copy(update={"optimisation": optimisation})
    prefix = f"{mlflow_settings.data_prefix}/training/pretrained"
    train_in_process(plan.model_copy(update={"config": config}), run_id, prefix)
    (copy,) = (mlflow_settings.cache_dir / "encoder-weights").iterdir()
    found = weights_of(Storage(mlflow_settings), prefix)
    weights = {name: one for name, one in packaged_weights(copy.parent).items() if name.endswith("weight")}
    for name, one in weights.items():
        torch.testing.assert_close(found[f"body.encoder.model.{name}"], one)


def test_a_training_that_goes_wrong_says_so_in_its_run(plan, run_id, mlflow_settings, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Fit, "run", fail)
    prefix = f"{mlflow_settings.data_prefix}/training/wrong"
    with pytest.raises(TrainingError, match="RuntimeError: out of memory"):
        train_in_process(plan, run_id, prefix)
    kept = Tracking(mlflow_settings).read_bytes(run_id, "failures/1.txt").decode()
    assert "out of memory" in kept


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(plan, run_id, mlflow_settings):
    asked = plan.model_copy(update={"config": plan.config.model_copy(update={"gpu": True})})
    with pytest.raises(InvalidParameterError, match="sees none"):
        train_in_process(asked, run_id, f"{mlflow_settings.data_prefix}/x")
