"""A trial on real S3 and MLflow servers: resumed by image, written by one process at a time."""

import numpy as np
import pytest
import torch

from icss_core.errors import DatasetError
from icss_core.evaluation import SessionScores
from icss_core.methods import get_preset
from icss_core.networks import Architecture, ModelCard, Normalisation, Segmenter, save_model
from services.data.dataset import read_dataset
from services.errors import ConflictError
from services.ingest import ingest_town
from services.registry import Registry
from services.storage import Storage
from services.tracking import PRETRAINING, SWEEPS, Tracking
from services.tune.answer import gather
from services.tune.interactive import run as module
from services.tune.interactive.answer import write_session_answer
from services.tune.interactive.run import run_session_trial
from services.tune.interactive.spec import SessionSweep
from services.tune.interactive.trial import SessionTrial
from services.tune.kinds import KINDS
from services.tune.records import SweepRecords

CPU = torch.device("cpu")
QUICK = {"optimisation.iterations": 1, "crops.size": 64}


@pytest.fixture(scope="module")
def tracking(mlflow_settings):
    return Tracking(mlflow_settings)


@pytest.fixture(scope="module")
def trial(mlflow_settings, tracking, tmp_path_factory):
    storage = Storage(mlflow_settings)
    made = ingest_town(storage, f"{mlflow_settings.data_prefix}/trial", train=1, val=2, size=256, seed=3)
    dataset = read_dataset(f"{made.base}/dataset.yaml", storage)
    torch.manual_seed(0)
    statistics = Normalisation(mean=(110.0,) * 3, std=(50.0,) * 3)
    network = Segmenter(Architecture(encoder="tu-test_resnet", n_classes=2), statistics)
    folder = tmp_path_factory.mktemp("model")
    card = ModelCard(
        architecture=network.architecture,
        normalisation=statistics,
        label_space=dataset.select(["road"]),
        method="pretraining",
    )
    save_model(folder, network, card)
    run_id = tracking.create_run(PRETRAINING, name="trial", tags={})
    version = Registry(mlflow_settings).register("trial-memory", folder, run_id=run_id)
    return SessionTrial(
        task="town: road + building",
        variant="icss",
        dataset=f"{made.base}/dataset.yaml",
        manifest_hash=dataset.manifest_hash,
        old=("road",),
        new="building",
        memory=("trial-memory", version),
        preset=get_preset("icss", QUICK),
        annotations=10,
        pictures=1,
    )


def begin(tracking, trial):
    records = SweepRecords(tracking, revision="abc")
    run_id = records.run_of(trial, parent=tracking.create_run(SWEEPS, name="sweep", tags={}))
    records.start(run_id)
    return records, run_id


def test_a_trial_that_died_goes_on_with_the_next_image(mlflow_settings, tracking, trial, monkeypatch):
    sessions = []
    original = module.run_session

    def counted(*arguments, **more):
        sessions.append(arguments[2].name)
        return original(*arguments, **more)

    monkeypatch.setattr(module, "run_session", counted)
    records, run_id = begin(tracking, trial)

    def die(images, means):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_session_trial(trial, run_id, records, settings=mlflow_settings, device=CPU, on_result=die)
    assert sessions == ["town-01"]
    later = SweepRecords(tracking, revision="def")
    assert later.run_of(trial, parent="elsewhere") == run_id
    later.start(run_id)
    told = []
    results = run_session_trial(
        trial, run_id, later, settings=mlflow_settings, device=CPU,
        on_result=lambda images, means: told.append((images, means["mean_iou"])),
    )  # fmt: skip
    assert sessions == ["town-01", "town-02"]
    assert [one.image for one in results] == ["town-01", "town-02"]
    assert [images for images, _ in told] == [1, 2]
    assert told[1][1] == pytest.approx(np.mean([one.last.mean for one in results]))
    assert later.read(run_id, SessionScores) == results
    assert later.revisions(run_id) == ["abc", "def"]
    assert tracking.read_bytes(run_id, "maps/town-01.png")[:4] == b"\x89PNG"
    with pytest.raises(ConflictError, match="another process"):
        records.write(run_id, results)


def test_networks_as_they_are_are_scored_without_a_session(mlflow_settings, tracking, trial):
    plain = trial.model_copy(update={"what": "memory", "preset": None, "annotations": 0, "images": 1})
    records, run_id = begin(tracking, plain)
    (result,) = run_session_trial(plain, run_id, records, settings=mlflow_settings, device=CPU)
    assert result.last.iou["building"] == 0
    assert (result.clicks, result.iterations) == ({}, 0)


def test_a_class_that_the_data_lack_is_an_error(mlflow_settings, tracking, trial):
    other = trial.model_copy(update={"new": "lava"})
    records, run_id = begin(tracking, other)
    with pytest.raises(DatasetError, match="lava"):
        run_session_trial(other, run_id, records, settings=mlflow_settings, device=CPU)


def test_the_answer_counts_full_trials_and_names_the_others(mlflow_settings, tracking, trial):
    spec = SessionSweep.model_validate(
        {
            "name": "one",
            "question": "which?",
            "pairs": [{"dataset": "town", "old": ["road"], "new": "building"}],
            "variants": [{"preset": "icss"}],
        }
    )
    full = trial.model_copy(update={"images": 1, "seed": 1})
    cut = trial.model_copy(update={"seed": 2})
    records, run_id = begin(tracking, full)
    run_session_trial(full, run_id, records, settings=mlflow_settings, device=CPU)
    records.succeed(run_id)
    other = records.run_of(cut, parent="none")
    records.start(other)
    records.write(other, records.read(run_id, SessionScores))
    records.fail(other, "RuntimeError: out of memory")
    parent, identity = records.open_sweep(spec, [full, cut])
    runs = {full.trial_id: run_id, cut.trial_id: other}
    answer = gather(records, KINDS["icss"], [full, cut], runs)
    (row,) = write_session_answer(tracking, parent, spec, answer, mlflow_settings)
    assert (row.seeds, row.images, row.below) == (1, 1, None), "no memory network was scored"
    table = tracking.read_bytes(parent, "table.md").decode()
    assert "seed 2 (failed after 1 images, mean IoU" in table
    assert records.done(run_id, identity)
    assert not records.done(other, identity)
    records.stop(other, identity)
    assert records.done(other, identity)
    assert not records.done(other, "another sweep"), "what one sweep's scheduler gave up, another may do"
    assert records.open_sweep(spec, [full, cut]) == (parent, identity)
