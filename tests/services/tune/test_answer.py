"""Tables and plots of sweeps, from results made up so that the answer is known."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from icss_core.evaluation import ImageScore, SessionScores
from icss_core.methods import get_preset
from services.tune.interactive.means import by_index, means_of
from services.tune.interactive.plot import plot_rows
from services.tune.interactive.table import INTERACTIVE_TABLE, rows_of
from services.tune.interactive.trial import InteractiveTrial
from services.tune.spec import Plot
from services.tune.table import to_csv, to_markdown

NAMES = ("background", "road", "building")


def trial(**changes) -> InteractiveTrial:
    common = {
        "case": "town: road + building",
        "variant": "icss",
        "dataset": "s3://icss/town/dataset.yaml",
        "manifest_hash": "0",
        "old": ("road",),
        "new": "building",
        "memory": ("town-road", 1),
        "annotations": 30,
    }
    return InteractiveTrial(**{**common, **changes})


def scores(image: str, *values: float | None, best: float | None = None, seconds: float = 2) -> SessionScores:
    known = [value for value in values if value is not None]
    last = ImageScore(iou=dict(zip(NAMES, values, strict=True)), mean=float(np.mean(known)))
    return SessionScores(
        image=image,
        seed=0,
        clicks={},
        pseudo_labels={},
        last=last,
        rounds={},
        best_of_last_half=None if best is None else ImageScore(iou=last.iou, mean=best),
        agreement=None,
        warnings=(),
        iterations=1,
        seconds=seconds,
    )


MEMORY = trial(what="memory", variant="memory", annotations=0)
CONTROL = trial(what="control", variant="control", control=("c", 1), annotations=0)
ONE, TWO = (trial(seed=seed) for seed in (0, 1))
MORE = trial(annotations=300)
LOST = trial(annotations=1000)
RESULTS = {
    MEMORY.trial_id: [scores("a", 0.9, 0.6, 0.0), scores("b", 0.6, None, 0.0)],
    CONTROL.trial_id: [scores("a", 0.9, 0.9, 0.9), scores("b", 0.5, None, 0.7)],
    ONE.trial_id: [scores("a", 0.6, 0.3, 0.3, best=0.5), scores("b", 0.5, None, 0.5, best=0.5)],
    TWO.trial_id: [scores("a", 0.8, 0.5, 0.5, best=0.7), scores("b", 0.5, None, 0.7, best=0.7)],
    MORE.trial_id: [scores("a", 0.9, 0.9, 0.9), scores("b", 0.9, None, 0.9)],
}
TRIALS = [MEMORY, CONTROL, ONE, TWO, MORE, LOST]


def test_means_are_image_wise():
    means = means_of(RESULTS[ONE.trial_id])
    assert means["iou/background"] == pytest.approx(0.55)
    assert means["iou/road"] == pytest.approx(0.3), "only the image that shows it counts"
    assert means["mean_iou"] == pytest.approx((0.4 + 0.5) / 2)
    assert means["best_mean_iou"] == pytest.approx(0.5)
    by_number = by_index(means, ("background", "road", "building"))
    assert by_number["iou/1"] == means["iou/road"]
    assert "iou/road" not in by_number
    assert by_number["mean_iou"] == means["mean_iou"]


def test_rows_have_the_spread_over_seeds_and_the_sessions_below_the_memory_network():
    rows = rows_of(TRIALS, RESULTS)
    assert [(row.variant, row.annotations, row.seeds) for row in rows] == [
        ("memory", 0, 1), ("control", 0, 1), ("icss", 30, 2), ("icss", 300, 1)
    ]  # fmt: skip
    row = rows[2]
    assert row.mean.mean == pytest.approx(np.mean([0.45, 0.6]))
    assert row.mean.deviation == pytest.approx(np.std([0.45, 0.6], ddof=1))
    assert row.of_control == pytest.approx(np.mean([0.45, 0.6]) / 0.75)
    assert (row.below, row.sessions) == (1, 4), "0.4 on image a is below the memory network's 0.5"
    assert rows[3].mean.deviation is None


def test_the_table_says_what_is_missing_and_what_kind_of_mean_it_shows():
    text = to_markdown(rows_of(TRIALS, RESULTS), INTERACTIVE_TABLE, question="Which?", notes=[LOST.title])
    assert text.startswith("Which?")
    line = next(line for line in text.splitlines() if line.startswith("| icss | 30 |"))
    assert "| 52.5 ± 10.6 |" in line
    assert "| 60.0 ± 14.1 |" in line
    assert "| 1 of 4 | 2 x 2 |" in line
    assert "image-wise, background included" in text
    assert text.endswith("town: road + building; icss; 1000 clicks; seed 0\n")


def test_the_csv_has_the_same_numbers():
    rows = list(csv.DictReader(io.StringIO(to_csv(rows_of(TRIALS, RESULTS), INTERACTIVE_TABLE))))
    assert [row["variant"] for row in rows] == ["memory", "control", "icss", "icss"]
    assert float(rows[2]["mean"]) == pytest.approx(0.525)
    assert float(rows[2]["iou_road"]) == pytest.approx(0.4)
    assert rows[3]["mean_deviation"] == ""


def test_varied_numbers_are_columns_and_the_axis_of_the_plot():
    path = "regularisers.podnet.weight"
    varied = [
        trial(variant="podnet", values={path: weight}, preset=get_preset("icss-paper/podnet", {path: weight}))
        for weight in (0.1, 1.0)
    ]
    results = {one.trial_id: RESULTS[ONE.trial_id] for one in varied}
    assert len(results) == 2
    rows = rows_of(varied, results)
    assert "| method | weight | clicks |" in to_markdown(rows, INTERACTIVE_TABLE, question="?")
    picture = Image.open(io.BytesIO(plot_rows(rows, Plot(x="weight"))))
    assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_the_plot_shows_lines_for_methods_and_levels_for_networks():
    rows = rows_of(TRIALS, RESULTS)
    with_levels = np.asarray(Image.open(io.BytesIO(plot_rows(rows, Plot(x="annotations")))))
    without = np.asarray(Image.open(io.BytesIO(plot_rows(rows[2:], Plot(x="annotations")))))
    assert with_levels.shape == without.shape
    assert (with_levels != without).any()


def test_a_trial_is_known_by_what_decides_its_numbers():
    assert trial(pictures=3, dataset="s3://elsewhere/dataset.yaml").trial_id == trial().trial_id
    for change in ({"seed": 1}, {"annotations": 31}, {"manifest_hash": "1"}, {"memory": ("town-road", 2)}):
        assert trial(**change).trial_id != trial().trial_id
