"""The plot beside an interactive sweep's table: mean IoU over a number (ICSS, Figure 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.tune.plot import draw_over_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.tune.interactive.table import InteractiveRow
    from services.tune.spec import Plot


def plot_rows(rows: Sequence[InteractiveRow], plot: Plot | None) -> bytes | None:
    """Mean IoU in per cent over `plot.x`, as PNG; None where the file asks for no plot."""
    return None if plot is None else draw_over_number(rows, plot, ylabel="mean IoU, image-wise, %")
