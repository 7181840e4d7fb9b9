"""What a sweep found: the table, the plot and the pictures in its MLflow run."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from icss_core.labels import IGNORE
from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window
from services.errors import TrackingError
from services.pictures import grid_picture, to_rgb
from services.storage import Storage
from services.training.plan import read_dataset
from services.tune.means import means_of
from services.tune.plot import plot_rows
from services.tune.table import Row, rows_of, to_csv, to_markdown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from icss_core.protocols import SessionScores
    from services.settings import Settings
    from services.tracking import Tracking
    from services.tune.records import SweepRecords
    from services.tune.spec import SweepSpec
    from services.tune.trial import Trial


def write_answer(
    records: SweepRecords,
    parent: str,
    spec: SweepSpec,
    trials: Sequence[Trial],
    runs: Mapping[str, str],
    settings: Settings,
) -> list[Row]:
    """Write `table.md`, `table.csv`, `plot.png`, `trials.json` and `pictures/*.png` to the sweep's run.

    Only trials with all their images are in means; the others are named below the table.

    Raises:
        TrackingError: the server refused or did not answer.
    """
    results: dict[str, list[SessionScores]] = {}
    revisions: set[str] = set()
    lacking = []
    for trial in trials:
        run_id = runs[trial.trial_id]
        found, status = records.read(run_id), records.status(run_id)
        revisions.update(records.revisions(run_id))
        if status == "successful":
            results[trial.trial_id] = found
        else:
            mean = f", mean IoU {100 * means_of(found)['mean_iou']:.1f}" if found else ""
            lacking.append(f"{trial.title} ({status or 'not begun'} after {len(found)} images{mean})")
    rows = rows_of(trials, results)
    notes = [f"Code: {', '.join(sorted(revisions))}."]
    notes += [f"Without a full result: {'; '.join(lacking)}."] if lacking else []
    tracking = records.tracking
    tracking.write_text(parent, "table.md", to_markdown(rows, question=spec.question, notes=notes))
    tracking.write_text(parent, "table.csv", to_csv(rows))
    tracking.write_json(parent, "trials.json", {trial.title: runs[trial.trial_id] for trial in trials})
    if spec.plot is not None:
        tracking.write_bytes(parent, "plot.png", plot_rows(rows, spec.plot))
    complete = [trial for trial in trials if trial.trial_id in results]
    for pair in dict.fromkeys(trial.pair for trial in complete):
        mine = [trial for trial in complete if trial.pair == pair]
        picture = _picture(tracking, mine, runs, spec.pictures, settings)
        if picture is not None:
            name = re.sub(r"[^A-Za-z0-9_.]+", "-", pair)
            tracking.write_bytes(parent, f"pictures/{name}.png", picture)
    return rows


def _picture(
    tracking: Tracking, trials: Sequence[Trial], runs: Mapping[str, str], amount: int, settings: Settings
) -> bytes | None:
    """Images in rows; image, truth and the map of each method in columns. None where no map was kept."""
    first, chosen = trials[0], _of_one_setting(trials)
    storage = Storage(settings)
    dataset = read_dataset(first.dataset, storage)
    names = (*first.old, first.new)
    rows: list[list[npt.NDArray[np.uint8]]] = []
    titles = ["image", "truth", *(trial.variant for trial in chosen)]
    for scene in dataset.scenes_of("val"):
        if len(rows) == amount or scene.mask is None:
            continue
        maps = [_map(tracking, runs[trial.trial_id], scene.name) for trial in chosen]
        if all(one is None for one in maps):
            continue
        with storage.raster_environment():
            image = _whole(storage.check_allowed(dataset.address(scene.image)))
            mask = _whole(storage.check_allowed(dataset.address(scene.mask)))
        rgb, truth = to_rgb(image), dataset.lookup(names)[mask[0]]
        unknown = np.full(truth.shape, IGNORE, np.uint8)
        rows.append([rgb, truth, *(unknown if one is None else one for one in maps)])
    return grid_picture(rows, dataset.select(names), titles=titles) if rows else None


def _of_one_setting(trials: Sequence[Trial]) -> list[Trial]:
    """One trial with maps per variant: the one with the most clicks, in the order of the table."""
    chosen: dict[str, Trial] = {}
    for trial in trials:
        known = chosen.get(trial.variant)
        if trial.pictures and (known is None or trial.annotations > known.annotations):
            chosen[trial.variant] = trial
    return list(chosen.values())


def _map(tracking: Tracking, run_id: str, image: str) -> npt.NDArray[np.uint8] | None:
    try:
        content = tracking.read_bytes(run_id, f"maps/{image}.png")
    except TrackingError:  # a trial that never came to this image
        return None
    return np.asarray(Image.open(io.BytesIO(content)), dtype=np.uint8)


def _whole(address: str) -> npt.NDArray[Any]:
    with open_raster(address) as raster:
        return raster.read(Window(0, 0, raster.height, raster.width)).values
