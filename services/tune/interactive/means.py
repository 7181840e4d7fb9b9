"""Means over the images that a trial has finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from icss_core.evaluation import SessionScores


def means_of(results: Sequence[SessionScores]) -> dict[str, float]:
    """Means over images: of the IoU of each class, over the images that show it, and of the mean IoU.

    Returns:
        `iou/CLASS` for each class that an image shows, `mean_iou` and `seconds`; `best_mean_iou` if the
        networks were scored during their sessions too.
    """
    means: dict[str, float] = {}
    for name in results[0].last.iou:
        values = [score for one in results if (score := one.last.iou[name]) is not None]
        if values:
            means[f"iou/{name}"] = float(np.mean(values))
    means["mean_iou"] = float(np.mean([one.last.mean or 0.0 for one in results]))
    best = [one.best_of_last_half.mean or 0.0 for one in results if one.best_of_last_half is not None]
    if best:
        means["best_mean_iou"] = float(np.mean(best))
    means["seconds"] = float(np.mean([one.seconds for one in results]))
    return means


def by_index(means: Mapping[str, float], classes: Sequence[str]) -> dict[str, float]:
    """The same means under `iou/INDEX` instead of `iou/CLASS`: MLflow does not take every class name."""
    index = {f"iou/{name}": f"iou/{position}" for position, name in enumerate(classes)}
    return {index.get(key, key): value for key, value in means.items()}
