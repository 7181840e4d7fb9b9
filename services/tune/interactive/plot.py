"""The plot beside a sweep's table: mean IoU over a number, one line a method (ICSS, Figure 3)."""

from __future__ import annotations

import io
from operator import itemgetter
from typing import TYPE_CHECKING

from services.tune.trial import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.tune.interactive.table import Row
    from services.tune.spec import Plot


def plot_rows(rows: Sequence[Row], plot: Plot) -> bytes:
    """Mean IoU in per cent over `plot.x`, with the deviation over seeds, as PNG; a panel for each pair.

    The control network is a dotted line, the memory network a dashed one. A row without the number on the
    axis is a horizontal line too.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pairs = list(dict.fromkeys(row.pair for row in rows))
    figure = Figure(figsize=(5.6 * len(pairs), 4.4), layout="constrained", dpi=110)
    for position, pair in enumerate(pairs):
        axes = figure.add_subplot(1, len(pairs), position + 1)
        mine = [row for row in rows if row.pair == pair]
        for label in dict.fromkeys(_label(row, plot.x) for row in mine):
            found = [row for row in mine if _label(row, plot.x) == label]
            points = [(x, row.mean) for row in found if (x := _x(row, plot.x)) is not None]
            points.sort(key=itemgetter(0))
            if not points:
                style = {"control": ":", "memory": "--"}.get(found[0].what, "-.")
                axes.axhline(100 * found[0].mean.mean, linestyle=style, color="#555555", label=label)
                continue
            axes.errorbar(
                [x for x, _ in points],
                [100 * spread.mean for _, spread in points],
                yerr=[100 * (spread.deviation or 0.0) for _, spread in points],
                marker="o",
                capsize=3,
                label=label,
            )
        if plot.log:
            axes.set_xscale("log")
        axes.set_xlabel(plot.x)
        axes.set_ylabel("mean IoU, image-wise, %")
        axes.set_title(pair, fontsize=11)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.suptitle(plot.title)
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]  # matplotlib types this class only in part
    return buffer.getvalue()


def _label(row: Row, x: str) -> str:
    """Of the line a row belongs to: its variant, and all that sets it apart besides the axis."""
    others = {path: value for path, value in row.values.items() if path.rpartition(".")[2] != x}
    parts = [row.variant, *(f"{path.rpartition('.')[2]} {short(value)}" for path, value in others.items())]
    if x != "annotations" and row.what == "session":
        parts.append(f"{row.annotations} clicks")
    return ", ".join(parts)


def _x(row: Row, name: str) -> float | None:
    """The row's place on the axis; None where it has none."""
    if row.what != "session":
        return None
    if name == "annotations":
        return float(row.annotations)
    return next((float(value) for path, value in row.values.items() if path.rpartition(".")[2] == name), None)
