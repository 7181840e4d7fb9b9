"""What an update says of itself, beside the network: what it did to the old classes, and what to mistrust."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict

from icss_core.labels import BACKGROUND
from icss_core.metrics.elsewhere import ElsewhereReport
from icss_core.metrics.forgetting import ForgettingReport
from icss_core.updating.report import report, report_elsewhere

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from icss_core.labels import LabelSpace
    from icss_core.methods import Preset
    from icss_core.updating.image_stack import ImageStack
    from icss_core.updating.prepare import PreparedUpdate

_HELD_OUT_LIMIT: Final = 0.6
"""Below it, with 3 to 100 clicks on 6 images of Dubai, maps had a mean IoU of 28 to 59 %."""


class UpdateFindings(BaseModel):
    """Plain values, which can be kept as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pseudo_labels: dict[str, int]
    """Pixels that the memory network labelled, by old class of interest; 0 where it was sure of none."""
    forgetting: ForgettingReport
    elsewhere: ElsewhereReport | None
    """The same on context images, and whether the update does harm there; None where there are none."""
    held_out: dict[str, float]
    """Of the clicks on each class, the fraction that a head fitted without them gets right: what to expect on
    ground like the clicked. Classes with a single click, and updates that fit no head, have none."""
    warnings: list[str]
    """Plain sentences for the annotator; empty when nothing looks wrong."""


def findings_of(update: PreparedUpdate, preset: Preset) -> UpdateFindings:
    """Look at what was trained, on all images.

    Args:
        update: whose network is trained.
        preset: by which it was.

    Raises:
        CancelledError: the update was stopped.
    """
    forgetting = report(update)
    elsewhere = report_elsewhere(update, forgetting)
    names = update.label_space.names
    pseudo = update.memory_view.pseudo_labels.counts()
    return UpdateFindings(
        pseudo_labels={
            name: pseudo.get(label, 0)
            for label, name in enumerate(names[: update.n_old])
            if label != BACKGROUND
        },
        forgetting=forgetting,
        elsewhere=elsewhere,
        held_out={names[label]: value for label, value in update.held_out.items() if not math.isnan(value)},
        warnings=[
            *([preset.warning] if preset.warning else []),
            *_held_out_warnings(update.held_out, update.label_space, update.n_old),
            *forgetting.warnings,
            *([] if elsewhere is None else elsewhere.warnings),
            *_outside_warnings(update.images),
        ],
    )


def _held_out_warnings(held_out: Mapping[int, float], label_space: LabelSpace, n_old: int) -> list[str]:
    """Of the background and the new classes: which of them has too few clicks to be told."""
    judged = {label: value for label, value in held_out.items() if label == BACKGROUND or label >= n_old}
    return [
        f"a single click on {label_space.names[label]!r} cannot tell how well it is learnt: click more of it"
        if math.isnan(value)
        else f"too few clicks on {label_space.names[label]!r}, or not on all that it looks like: of those "
        f"that were held out, {value:.0%} are told right"
        for label, value in judged.items()
        if not value >= _HELD_OUT_LIMIT
    ]


def _outside_warnings(images: ImageStack) -> Sequence[str]:
    area, clicks = images.area, images.clicks
    missed = int((area.holding(clicks.rows, clicks.cols) < 0).sum())
    if not missed:
        return ()
    said = f"{missed} of {len(clicks)} clicks lie outside the working area of {len(area.tiles)} tiles"
    return (f"{said} and were not used; click more closely together, or update twice",)
