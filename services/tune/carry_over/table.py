"""The table of a carry-over sweep: what holds on clicked images, and what elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.tune.spread import Spread, percent
from services.tune.table import Column, TableLayout, mean_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.tune.carry_over.row import CarryOverRow, Warned, Worst


def _columns(rows: Sequence[CarryOverRow]) -> list[Column[CarryOverRow]]:
    classes = dict.fromkeys(name for row in rows for name in row.iou)
    columns: list[Column[CarryOverRow]] = [
        Column("clicked", lambda row: row.clicked_images or "-"),
        Column("context", lambda row: row.context_images if row.what == "update" else "-"),
        Column("clicks", lambda row: row.annotations or "-"),
        Column("mean, clicked", lambda row: percent(row.clicked_mean)),
        Column("new, clicked", lambda row: percent(row.clicked_new)),
        *map(_iou_column, classes),
        Column("new, same district", lambda row: percent(row.new_in_district)),
        Column("new, elsewhere", lambda row: percent(row.new_elsewhere)),
        Column("of control", lambda row: "-" if row.of_control is None else f"{row.of_control:.0%}"),
        Column("old classes", lambda row: _change(row.old_change)),
        Column("worst image", lambda row: _worst(row.worst)),
        Column(
            "worse than memory", lambda row: "-" if row.worse is None else f"{row.worse} of {row.unclicked}"
        ),
        Column("warned of", lambda row: _warned(row.warned)),
        Column("seeds", lambda row: row.seeds),
        Column("s", lambda row: f"{row.seconds:.0f}" if row.seconds else "-"),
    ]
    return columns


def _iou_column(name: str) -> Column[CarryOverRow]:
    return Column(f"{name}, unclicked", lambda row: percent(row.iou.get(name)))


def _change(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{'+' if spread.mean > 0 else ''}{spread.percent()}"


def _worst(worst: Worst | None) -> str:
    return "-" if worst is None else f"{100 * worst.change:+.1f} ({worst.image})"


def _warned(warned: Warned | None) -> str:
    if warned is None:
        return "-"
    return f"{warned.worse_named} of {warned.worse} worse, {warned.sound_named} of {warned.sound} others"


def _csv_columns(_: Sequence[CarryOverRow]) -> list[Column[CarryOverRow]]:
    return [
        Column("what", lambda row: row.what),
        Column("clicked_images", lambda row: row.clicked_images),
        Column("context_images", lambda row: row.context_images),
        Column("annotations", lambda row: row.annotations),
        Column("clicked_mean", lambda row: mean_of(row.clicked_mean)),
        Column("clicked_new", lambda row: mean_of(row.clicked_new)),
        Column("clicked_change", lambda row: mean_of(row.clicked_change)),
        Column("new_in_district", lambda row: mean_of(row.new_in_district)),
        Column("new_elsewhere", lambda row: mean_of(row.new_elsewhere)),
        Column("old_change", lambda row: mean_of(row.old_change)),
        Column("old_change_apart", lambda row: mean_of(row.old_change_apart)),
        Column("worst_change", lambda row: None if row.worst is None else row.worst.change),
        Column("worst_image", lambda row: None if row.worst is None else row.worst.image),
        Column("worse", lambda row: row.worse),
        Column("unclicked", lambda row: row.unclicked),
        Column("worse_in_context", lambda row: None if row.warned is None else row.warned.worse),
        Column("worse_named", lambda row: None if row.warned is None else row.warned.worse_named),
        Column("sound_in_context", lambda row: None if row.warned is None else row.warned.sound),
        Column("sound_named", lambda row: None if row.warned is None else row.warned.sound_named),
        Column("of_control", lambda row: row.of_control),
        Column("seconds", lambda row: row.seconds),
    ]


CARRY_OVER_TABLE: Final = TableLayout(
    columns=_columns,
    csv_columns=_csv_columns,
    note=(
        "IoU in per cent, image-wise; ± is the standard deviation over seeds, which choose other images to "
        "click on, other clicks and another training. Old classes: the mean of their IoU, background "
        "included, on unclicked images, less the memory network's on the same images; worst image: the same "
        "of one image, the lowest of all seeds. Worse than memory: unclicked images whose mean over all "
        "classes is below the memory network's. Warned of: context images, worse and others, that the "
        "update's own report says are harmed."
    ),
)
