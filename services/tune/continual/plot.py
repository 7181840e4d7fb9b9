"""The plot beside a table of protocols: mean IoU after each task, or over a number that varies."""

from __future__ import annotations

import io
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from services.tune.trial import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from services.tune.continual.table import Row
    from services.tune.spec import Plot
    from services.tune.spread import Spread


def plot_rows(rows: Sequence[Row], plot: Plot | None) -> bytes:
    """Mean IoU of all classes so far in per cent, its deviation over seeds, as PNG; a panel a case.

    Args:
        rows: of the table.
        plot: what is on the axis; None: the tasks. Where a row has nothing on the axis, a method that learns
            at once above all, it is a horizontal line.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # more methods than the usual ten colours: strong ones first, then their light relatives
    palette = colormaps["tab20"](range(20))
    colours = [*palette[::2], *palette[1::2]]
    cases = list(dict.fromkeys(row.case for row in rows))
    columns = min(2, len(cases))
    panel_rows = -(-len(cases) // columns)
    figure = Figure(figsize=(5.6 * columns, 4.4 * panel_rows + 0.8), layout="constrained", dpi=110)
    lines: dict[str, Any] = {}
    for position, case in enumerate(cases):
        axes = figure.add_subplot(panel_rows, columns, position + 1)
        axes.set_prop_cycle(color=colours)
        mine = [row for row in rows if row.case == case]
        if plot is None:
            _over_tasks(axes, mine)
        else:
            _over_numbers(axes, mine, plot.x)
            if plot.log:
                axes.set_xscale("log")
        axes.set_ylabel("mean IoU of all classes so far, %")
        axes.set_title(case, fontsize=11)
        axes.grid(alpha=0.3)
        handles, labels = axes.get_legend_handles_labels()
        lines |= dict(zip(labels, handles, strict=True))
    # one for all panels, beside no line
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=3 * columns, fontsize=8)
    figure.suptitle("" if plot is None else plot.title)
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]  # matplotlib types this class only in part
    return buffer.getvalue()


def _over_tasks(axes: Axes, rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows):
        label = _label(row, "")
        if len(row.by_task) == 1 < len(row.groups):
            _level(axes, row, label)
        else:
            # methods that are equal after the first task would hide each other
            shift = 0.012 * (number - len(rows) / 2)
            _line(axes, [(task + shift, spread) for task, spread in enumerate(row.by_task)], label)
    axes.set_xticks(range(max(len(row.groups) for row in rows)))
    axes.set_xlabel("after task")


def _over_numbers(axes: Axes, rows: Sequence[Row], x: str) -> None:
    for label in dict.fromkeys(_label(row, x) for row in rows):
        mine = [row for row in rows if _label(row, x) == label]
        places = [(_x(row, x), row.mean) for row in mine]
        points = sorted(((place, mean) for place, mean in places if place is not None), key=itemgetter(0))
        if points:
            _line(axes, points, label)
        else:
            _level(axes, mine[0], label)
    axes.set_xlabel(x)


def _line(axes: Axes, points: Sequence[tuple[float, Spread]], label: str) -> None:
    axes.errorbar(
        [x for x, _ in points],
        [100 * spread.mean for _, spread in points],
        yerr=[100 * (spread.deviation or 0.0) for _, spread in points],
        marker="o",
        capsize=3,
        label=label,
    )


def _level(axes: Axes, row: Row, label: str) -> None:
    axes.axhline(100 * row.mean.mean, linestyle=":", color="#555555", label=label)


def _label(row: Row, x: str) -> str:
    """Of the line a row belongs to: its variant, and all that sets it apart besides the axis."""
    others = {path: value for path, value in row.values.items() if path.rpartition(".")[2] != x}
    return ", ".join(
        [row.variant, *(f"{path.rpartition('.')[2]} {short(value)}" for path, value in others.items())]
    )


def _x(row: Row, name: str) -> float | None:
    """The row's place on the axis; None where it has none."""
    return next((float(value) for path, value in row.values.items() if path.rpartition(".")[2] == name), None)
