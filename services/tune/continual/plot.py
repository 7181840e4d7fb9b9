"""The plot beside a continual sweep's table: mean IoU after each task, or over a number that varies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.tune.plot import draw_level, draw_line, draw_over_number, draw_panels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from services.tune.continual.table import ContinualRow
    from services.tune.spec import Plot

_YLABEL: Final = "mean IoU of all classes so far, %"


def plot_rows(rows: Sequence[ContinualRow], plot: Plot | None) -> bytes:
    """Mean IoU of all classes so far in per cent, as PNG; over the tasks if the file asks for no axis."""
    if plot is None:
        return draw_panels(rows, _draw_over_tasks, ylabel=_YLABEL)
    return draw_over_number(rows, plot, ylabel=_YLABEL)


def _draw_over_tasks(axes: Axes, rows: Sequence[ContinualRow]) -> None:
    """A method that learns all classes at once has no tasks on the axis, and is a horizontal line."""
    for number, row in enumerate(rows):
        label = row.label("")
        if len(row.by_task) == 1 < len(row.groups):
            draw_level(axes, row, label)
        else:
            # methods that share the first task would hide each other there
            shift = 0.012 * (number - len(rows) / 2)
            draw_line(axes, [(task + shift, spread) for task, spread in enumerate(row.by_task)], label)
    axes.set_xticks(range(max(len(row.groups) for row in rows)))
    axes.set_xlabel("after task")
