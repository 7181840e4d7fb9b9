"""The plot beside a carry-over sweep's table: mean IoU where nobody clicked, over a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.tune.plot import draw_over_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.tune.carry_over.row import CarryOverRow
    from services.tune.spec import Plot


def plot_rows(rows: Sequence[CarryOverRow], plot: Plot | None) -> bytes | None:
    """Mean IoU in per cent over `plot.x`, as PNG; None where the file asks for no plot."""
    return None if plot is None else draw_over_number(rows, plot, ylabel="mean IoU on unclicked images, %")
