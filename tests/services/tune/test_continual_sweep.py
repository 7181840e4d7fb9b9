"""Continual sweeps: the files, the plan of their trials, tables and plots of histories made up."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from icss_core.continual import TaskHistory, WeightedScore, split_tasks
from icss_core.errors import InvalidParameterError
from icss_core.metrics import ConfusionAccumulator, segmentation_report
from services.ingest import ingest_town
from services.storage import Storage
from services.tune.continual.means import means_of_history
from services.tune.continual.plan import plan_continual
from services.tune.continual.plot import plot_rows
from services.tune.continual.spec import ContinualSweep
from services.tune.continual.table import CONTINUAL_TABLE, rows_of
from services.tune.read_spec import read_spec
from services.tune.spec import Plot
from services.tune.table import to_csv, to_markdown

FOLDER = Path(__file__).parents[3] / "tune_specs"
FILES = [*sorted(FOLDER.glob("mib_*.yaml")), FOLDER / "openearthmap_fewshot.yaml"]
CONTENT = {
    "name": "one",
    "question": "which?",
    "kind": "continual",
    "protocols": [{"dataset": "town", "protocol": {"name": "roads", "groups": [["road"], ["building"]]}}],
    "variants": [
        {"preset": "mib-paper/ft"},
        {
            "preset": "mib-paper/mib",
            "vary": {"regularisers.distillation.weight": {"grid": [1, 10]}},
        },
        {"preset": "mib-paper/joint", "offline": True},
    ],
    "seeds": [0, 1],
}


def write(folder: Path, **changes) -> Path:
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, **changes}, sort_keys=False))
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_can_run_at_every_scale(path):
    scales = yaml.safe_load(path.read_text())["scales"]
    assert {"cpu", "smoke"} <= scales.keys()
    for scale in (None, *scales):
        spec = read_spec(path, scale)
        assert isinstance(spec, ContinualSweep)
        assert list(spec.points())
        assert spec.cases()


def test_the_papers_protocols_and_methods_are_asked():
    spec = read_spec(FOLDER / "mib_table1.yaml")
    asked = [(case.dataset, case.protocol.name, case.protocol.setting) for case in spec.cases()]
    for groups in ("19-1", "15-5", "15-1"):
        for setting in ("disjoint", "overlapped"):
            assert ("voc", f"voc-{groups}", setting) in asked
    methods = {variant.preset.rpartition("/")[2] for variant in spec.variants}
    assert methods >= {"ft", "pi", "ewc", "rw", "lwf", "lwf-mc", "ilt", "mib", "plop", "joint"}
    network = (spec.network.decoder, spec.network.encoder, spec.network.encoder_output_stride)
    assert network == ("deeplabv3", "resnet101", 16)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"protocols": []}, "protocols: "),
        ({"protocols": [*CONTENT["protocols"], *CONTENT["protocols"]]}, "two protocols have the same title"),
        ({"protocols": [{"dataset": "voc", "protocol": "voc-1-1"}]}, "no file and no protocol"),
        ({"protocols": [{**CONTENT["protocols"][0], "overrides": {"crop": 7}}]}, "crop"),
        ({"variants": [{"preset": "icss"}]}, "unknown preset 'icss'"),
        ({"pairs": []}, "pairs: Extra inputs"),
        ({"kind": "stairs"}, r"kind is one of \['carry-over', 'continual', 'interactive'\], not 'stairs'"),
        ({"protocol": "steps"}, "protocol is called kind"),
        ({"tasks": []}, "tasks is called protocols"),
        ({"plot": {"x": "annotations"}}, "plot.x"),
    ],
)
def test_faults_are_named_with_the_file(tmp_path, changes, complaint):
    with pytest.raises(InvalidParameterError, match=rf"spec\.yaml.*{complaint}"):
        read_spec(write(tmp_path, **changes))


@pytest.fixture
def planned(store_settings, tmp_path):
    storage = Storage(store_settings)
    made = ingest_town(storage, f"{store_settings.data_prefix}/planned", train=2, val=1, size=256, seed=0)
    address = f"{made.base}/dataset.yaml"
    return made, plan_continual(read_spec(write(tmp_path)), {"town": address}, store_settings)


def test_trials_are_every_variant_with_every_seed_the_shared_first_task_first(planned):
    made, trials = planned
    titles = [(trial.variant, *trial.values.values(), trial.seed) for trial in trials]
    assert titles == [
        ("mib-paper/ft", 0),
        ("mib-paper/ft", 1),
        ("mib-paper/mib", 1, 0),
        ("mib-paper/mib", 10, 0),
        ("mib-paper/joint", 0),
        ("mib-paper/mib", 1, 1),
        ("mib-paper/mib", 10, 1),
        ("mib-paper/joint", 1),
    ]
    assert len({trial.trial_id for trial in trials}) == len(trials)
    assert {trial.groups for trial in trials} == {(("road",), ("building",))}
    labels = {scene.name: scene.labels for scene in made.scenes}
    by_variant = {trial.variant: trial for trial in trials if trial.seed == 0}
    jobs = {}
    for name, trial in by_variant.items():
        manifest = split_tasks(made, trial.run.protocol, labels)
        config = trial.run.training_of(0, manifest, None)
        jobs[name] = (config.classes, config.job_name(made.manifest_hash))
    assert jobs["mib-paper/ft"] == jobs["mib-paper/mib"]
    assert jobs["mib-paper/joint"][0] == ("road", "building")
    assert by_variant["mib-paper/joint"].rivals is None, "it learns at once: no other is as far after a task"
    assert (
        by_variant["mib-paper/ft"].rivals == by_variant["mib-paper/mib"].rivals == "town: roads, overlapped"
    )


def test_a_data_set_without_an_address_is_named(store_settings, tmp_path):
    with pytest.raises(InvalidParameterError, match=r"no address for the data sets \['town'\]"):
        plan_continual(read_spec(write(tmp_path)), {}, store_settings)


def report(*iou: float):
    """Of classes that have exactly these IoU: so many of 100 pixels found, the others called background."""
    names = ("background", "road", "building")[: len(iou)]
    confusion = ConfusionAccumulator(len(names))
    truth, labels = [], []
    for index, value in enumerate(iou[1:], start=1):
        truth += [index] * 100
        labels += [index] * round(100 * value) + [0] * round(100 * (1 - value))
    truth += [0] * 1000
    labels += [0] * 1000
    confusion.update(np.array([labels], np.uint8), np.array([truth], np.uint8), image="i")
    return segmentation_report(confusion, class_names=names)


def history(*tasks: tuple[float, ...]) -> TaskHistory:
    found = TaskHistory.start([["road"], ["building"]])
    for iou in tasks:
        found = found.after(report(*iou))
    return found


@pytest.fixture
def results(planned):
    _, trials = planned
    at_once = TaskHistory.start([["road", "building"]]).after(report(0, 0.9, 0.7))
    found = {}
    for trial in trials:
        if trial.variant == "mib-paper/joint":
            found[trial.trial_id] = [at_once]
        elif trial.variant == "mib-paper/ft":
            found[trial.trial_id] = [history((0, 0.8), (0, 0.0, 0.4 + 0.2 * trial.seed))]
        elif trial.seed == 0:
            weight = trial.values["regularisers.distillation.weight"]
            found[trial.trial_id] = [history((0, 0.8), (0, 0.6 + 0.01 * weight, 0.5))]
    return trials, found


def test_rows_have_means_of_groups_and_what_was_forgotten(results):
    rows = rows_of(*results)
    assert [(row.variant, row.seeds) for row in rows] == [
        ("mib-paper/ft", 2), ("mib-paper/mib", 1), ("mib-paper/mib", 1), ("mib-paper/joint", 2)
    ]  # fmt: skip
    ft = rows[0]
    assert ft.iou["building"].mean == pytest.approx(0.5)
    assert ft.iou["building"].deviation == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert [one.mean for one in ft.of_groups] == pytest.approx([0, 0.5])
    assert ft.mean.mean == pytest.approx(0.25)
    assert ft.forgotten.mean == pytest.approx(0.8)
    assert [one.mean for one in ft.by_task] == pytest.approx([0.8, 0.25])
    assert rows[2].mean.mean == pytest.approx((0.7 + 0.5) / 2)
    joint = rows[3]
    assert [one.mean for one in joint.of_groups] == pytest.approx([0.9, 0.7]), "in the groups of the task"
    assert (joint.forgotten, len(joint.by_task)) == (None, 1)
    assert means_of_history(next(iter(results[1].values())))["mean_iou"] == pytest.approx(0.2)


def test_the_table_and_the_csv_say_the_same(results):
    rows = rows_of(*results)
    text = to_markdown(rows, CONTINUAL_TABLE, question="Which?", notes=["Code: abc."])
    assert "| method | weight | task 0 | task 1 | all | all, with background | forgotten | seeds |" in text
    line = next(line for line in text.splitlines() if line.startswith("| mib-paper/ft "))
    assert line.startswith("| mib-paper/ft | - | 0.0 ± 0.0 | 50.0 ± 14.1 | 25.0 ± 7.1 |")
    assert "task 0: road; task 1: building" in text
    read = list(csv.DictReader(io.StringIO(to_csv(rows, CONTINUAL_TABLE))))
    assert float(read[0]["mean"]) == pytest.approx(0.25)
    assert float(read[0]["iou_building"]) == pytest.approx(0.5)
    assert [row["regularisers.distillation.weight"] for row in read] == ["", "1", "10", ""]
    assert read[3]["forgotten"] == ""


def test_a_protocols_score_has_its_own_column_and_metric(planned):
    _, trials = planned
    score = WeightedScore(
        name="ranked", groups=[{"weight": 0.4, "classes": ["road"]}, {"weight": 0.6, "classes": ["building"]}]
    )
    started = TaskHistory.start([["road"], ["building"]], score).after(report(0, 0.8))
    assert "score_ranked" not in means_of_history([started]), "a class is still to come"
    found = {}
    for trial in trials:
        if trial.variant == "mib-paper/ft":
            found[trial.trial_id] = [started.after(report(0, 0.5, 0.4 + 0.2 * trial.seed))]
    assert means_of_history(next(iter(found.values())))["score_ranked"] == pytest.approx(0.44)
    rows = rows_of(trials, found)
    assert rows[0].score_reached.mean == pytest.approx(0.5)
    text = to_markdown(rows, CONTINUAL_TABLE, question="Which?")
    assert "| all, with background | score_ranked | forgotten |" in text
    assert " | 50.0 ± 8.5 | " in text
    assert "task 1: building; score_ranked = 0.4 x mean of road + 0.6 x mean of building" in text
    (read,) = csv.DictReader(io.StringIO(to_csv(rows, CONTINUAL_TABLE)))
    assert float(read["score_ranked"]) == pytest.approx(0.5)


def test_a_score_of_a_class_that_is_not_learnt_is_refused_with_the_plan(store_settings, tmp_path):
    made = ingest_town(
        Storage(store_settings), f"{store_settings.data_prefix}/scored", train=1, val=1, size=64
    )
    protocol = {
        **CONTENT["protocols"][0]["protocol"],
        "score": {"name": "s", "groups": [{"weight": 1, "classes": ["water"]}]},
    }
    spec = read_spec(write(tmp_path, protocols=[{"dataset": "town", "protocol": protocol}]))
    with pytest.raises(InvalidParameterError, match=r"score 's' names .*\['water'\]"):
        plan_continual(spec, {"town": f"{made.base}/dataset.yaml"}, store_settings)


def test_plots_over_tasks_and_over_numbers(results):
    rows = rows_of(*results)
    over_tasks, over_weights = (
        np.asarray(Image.open(io.BytesIO(plot_rows(rows, plot))).convert("L"))
        for plot in (None, Plot(x="weight"))
    )
    assert over_tasks.shape == over_weights.shape
    assert (over_tasks != over_weights).any()
    assert min(len(np.unique(over_tasks)), len(np.unique(over_weights))) > 20
