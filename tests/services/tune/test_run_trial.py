"""A trial on real S3 and MLflow servers: resumed by image, written by one process at a time."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from icss_core.errors import DatasetError
from icss_core.evaluation import CarriedScore, SessionScores
from icss_core.methods import get_preset
from icss_core.networks import Architecture, ModelCard, Normalisation, Segmenter, save_model
from services.data.dataset import read_dataset
from services.errors import LostOwnershipError
from services.ingest import ingest_town
from services.registry import Registry
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking
from services.tune.carry_over.run import run_carry_over_trial
from services.tune.carry_over.trial import CarryOverTrial
from services.tune.interactive import run as module
from services.tune.interactive.run import run_interactive_trial
from services.tune.interactive.spec import InteractiveSweep
from services.tune.interactive.trial import InteractiveTrial
from services.tune.kinds import SWEEP_KINDS
from services.tune.records import SweepRecords
from services.tune.write_answer import write_answer

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
    return InteractiveTrial(
        case="town: road + building",
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


@contextmanager
def owned(tracking, trial, *, revision="abc"):
    records = SweepRecords(tracking, revision=revision, ttl=1.0)
    run_id = records.run_of(trial, parent="some sweep")
    with records.working_on(run_id, "some sweep") as work:
        yield records, work


def test_a_trial_that_died_goes_on_with_the_next_image(mlflow_settings, tracking, trial, monkeypatch):
    sessions = []
    original = module.run_session

    def counted(*arguments, **more):
        sessions.append(arguments[2].name)
        return original(*arguments, **more)

    monkeypatch.setattr(module, "run_session", counted)

    def die(images, means):
        raise KeyboardInterrupt

    with owned(tracking, trial) as (records, work), pytest.raises(KeyboardInterrupt):
        run_interactive_trial(trial, work, records, settings=mlflow_settings, device=CPU, on_result=die)
    assert sessions == ["town-01"]
    run_id, told = work.run_id, []
    with owned(tracking, trial, revision="def") as (later, again):
        assert again.run_id == run_id
        results = run_interactive_trial(
            trial, again, later, settings=mlflow_settings, device=CPU,
            on_result=lambda images, means: told.append((images, means["mean_iou"])),
        )  # fmt: skip
    assert sessions == ["town-01", "town-02"]
    assert [one.image for one in results] == ["town-01", "town-02"]
    assert [images for images, _ in told] == [1, 2]
    assert told[1][1] == pytest.approx(np.mean([one.last.mean for one in results]))
    assert later.read(run_id, SessionScores) == results
    assert later.revisions(run_id) == ["abc", "def"]
    assert tracking.read_bytes(run_id, "maps/town-01.png")[:4] == b"\x89PNG"
    with pytest.raises(LostOwnershipError, match="another process"):
        records.write(work, results)


def test_networks_as_they_are_are_scored_without_a_session(mlflow_settings, tracking, trial):
    plain = trial.model_copy(update={"what": "memory", "preset": None, "annotations": 0, "images": 1})
    with owned(tracking, plain) as (records, work):
        (result,) = run_interactive_trial(plain, work, records, settings=mlflow_settings, device=CPU)
    assert result.last.iou["building"] == 0
    assert (result.clicks, result.iterations) == ({}, 0)


def test_a_class_that_the_data_lack_is_an_error(mlflow_settings, tracking, trial):
    other = trial.model_copy(update={"new": "lava"})
    with pytest.raises(DatasetError, match="lava"), owned(tracking, other) as (records, work):
        run_interactive_trial(other, work, records, settings=mlflow_settings, device=CPU)
    status = tracking.get(work.run_id)
    assert (status.status, status.tags["icss.status"]) == ("FAILED", "failed")
    assert "lava" in status.tags["icss.error"]


def test_the_answer_counts_full_trials_and_names_the_others(mlflow_settings, tracking, trial):
    spec = InteractiveSweep.model_validate(
        {
            "name": "one",
            "question": "which?",
            "pairs": [{"dataset": "town", "old": ["road"], "new": "building"}],
            "variants": [{"preset": "icss"}],
        }
    )
    full = trial.model_copy(update={"images": 1, "seed": 1})
    cut = trial.model_copy(update={"seed": 2})
    with owned(tracking, full) as (records, work):
        run_interactive_trial(full, work, records, settings=mlflow_settings, device=CPU)
        work.succeed()
    with owned(tracking, cut) as (_, failing):
        records.write(failing, records.read(work.run_id, SessionScores))
        failing.fail("RuntimeError: out of memory")
    run_id, other = work.run_id, failing.run_id
    parent, identity = records.sweep(spec, [full, cut])
    runs = {full.trial_id: run_id, cut.trial_id: other}
    kind = SWEEP_KINDS["interactive"]
    answer = kind.gather(records, [full, cut], runs)
    (row,) = write_answer(kind, tracking, parent, spec, answer, mlflow_settings)
    assert (row.seeds, row.images, row.below) == (1, 1, None), "no memory network was scored"
    table = tracking.read_bytes(parent, "table.md").decode()
    assert "seed 2 (failed after 1 images, mean IoU" in table
    assert records.done(run_id, identity)
    assert not records.done(other, identity)
    records.settle(other, identity, "ended")
    assert records.status(other) == "failed", "what a trial says itself stays"
    with owned(tracking, cut):
        pass  # as a trial that a scheduler stops leaves it
    records.settle(other, identity, "ended")
    assert records.done(other, identity)
    assert not records.done(other, "another sweep"), "what one sweep's scheduler gave up, another may do"
    assert records.sweep(spec, [full, cut]) == (parent, identity)


def test_an_update_is_scored_on_every_image_and_goes_on_after_a_death(mlflow_settings, tracking, trial):
    carried = CarryOverTrial(
        case="town", variant="icss", dataset=trial.dataset, manifest_hash=trial.manifest_hash, old=trial.old,
        new=trial.new, district="town", clicked="town", network=trial.memory, preset=trial.preset,
        clicked_images=1, context_images=1, annotations=10, pictures=1,
    )  # fmt: skip

    def die(images, means):
        raise KeyboardInterrupt

    with owned(tracking, carried) as (records, work), pytest.raises(KeyboardInterrupt):
        run_carry_over_trial(carried, work, records, settings=mlflow_settings, device=CPU, on_result=die)
    (before,) = records.read(work.run_id, CarriedScore)
    with owned(tracking, carried) as (later, again):
        results = run_carry_over_trial(carried, again, later, settings=mlflow_settings, device=CPU)
    assert [one.image for one in results] == ["town-01", "town-02"]
    assert results[0] == before
    assert sorted((one.relation, one.in_context) for one in results) == [
        ("clicked", False), ("same district", True)
    ]  # fmt: skip
    assert all(abs(sum(one.mapped.values()) - 1) < 1e-6 for one in results)
    assert all(one.seconds > 0 for one in results)
    assert tracking.files(again.run_id, "maps") == ["maps/town-01.png"]
    many = carried.model_copy(update={"clicked_images": 3})
    with pytest.raises(DatasetError, match="not 3"), owned(tracking, many) as (records, work):
        run_carry_over_trial(many, work, records, settings=mlflow_settings, device=CPU)
