"""The plot of a sweep: a panel for each case, a line for each method."""

from __future__ import annotations

import io
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from services.tune.spec import Plot
    from services.tune.spread import Spread
    from services.tune.table import AnyRow, Row


def draw_over_number(rows: Sequence[Row], plot: Plot, *, ylabel: str) -> bytes:
    """A line for each method: the means of its rows over the number on the axis; as PNG.

    Args:
        rows: of the table. A row without that number is a horizontal line.
        plot: what is on the axis.
        ylabel: what the means are.
    """

    def draw(axes: Axes, rows_of_case: Sequence[Row]) -> None:
        for label in dict.fromkeys(row.label(plot.x) for row in rows_of_case):
            line = [row for row in rows_of_case if row.label(plot.x) == label]
            points = [(x, row.mean) for row in line if (x := row.position(plot.x)) is not None]
            if points:
                draw_line(axes, sorted(points, key=itemgetter(0)), label)
            else:
                draw_level(axes, line[0], label)
        if plot.log:
            axes.set_xscale("log")
        axes.set_xlabel(plot.x)

    return draw_panels(rows, draw, ylabel=ylabel, title=plot.title)


def draw_panels(
    rows: Sequence[AnyRow],
    draw: Callable[[Axes, Sequence[AnyRow]], None],
    *,
    ylabel: str,
    title: str = "",
) -> bytes:
    """A panel for each case with one legend below them all, as PNG.

    Args:
        rows: of the table, at least one.
        draw: draws the rows of a case.
        ylabel: of each panel.
        title: of the whole.
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
        draw(axes, [row for row in rows if row.case == case])
        axes.set_ylabel(ylabel)
        axes.set_title(case, fontsize=11)
        axes.grid(alpha=0.3)
        handles, labels = axes.get_legend_handles_labels()
        lines |= dict(zip(labels, handles, strict=True))
    # one legend for all panels, below them: it hides no line
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=3 * columns, fontsize=8)
    figure.suptitle(title)
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]  # matplotlib types this class only in part
    return buffer.getvalue()


def draw_line(axes: Axes, points: Sequence[tuple[float, Spread]], label: str) -> None:
    """Means in per cent, with their deviation over seeds."""
    axes.errorbar(
        [x for x, _ in points],
        [100 * spread.mean for _, spread in points],
        yerr=[100 * (spread.deviation or 0.0) for _, spread in points],
        marker="o",
        capsize=3,
        label=label,
    )


def draw_level(axes: Axes, row: Row, label: str) -> None:
    """A horizontal line, for a row without a place on the axis."""
    axes.axhline(100 * row.mean.mean, linestyle=row.line_style, color="#555555", label=label)
