"""Means over the images that a carry-over trial has scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.evaluation import CarriedScore


def means_of_scores(scores: Sequence[CarriedScore]) -> dict[str, float]:
    """Means over images of the IoU of each class, over the images that show it, and of the mean IoU.

    Over images that nobody clicked, as long as there is one.

    Returns:
        `iou/CLASS` for each class that an image shows, `mean_iou` and `seconds`.
    """
    unclicked = [one for one in scores if one.relation != "clicked"]
    means = iou_means(unclicked or scores)
    means["mean_iou"] = float(np.mean([one.score.mean or 0.0 for one in unclicked or scores]))
    means["seconds"] = scores[0].seconds
    return means


def iou_means(scores: Sequence[CarriedScore]) -> dict[str, float]:
    """`iou/CLASS`: mean over the images that show a class, for each class that one of them shows."""
    means: dict[str, float] = {}
    for name in dict.fromkeys(name for one in scores for name in one.score.iou):
        values = [value for one in scores if (value := one.score.iou.get(name)) is not None]
        if values:
            means[f"iou/{name}"] = float(np.mean(values))
    return means
