"""What an update did to the classes, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from icss_core.metrics.elsewhere import ElsewhereReport
    from icss_core.metrics.forgetting import ForgettingReport


def forgetting_table(report: ForgettingReport) -> Table:
    """One row a class, on the images that were clicked."""
    table = Table(
        title="what the update changed on this image (no ground truth needed)", title_justify="left"
    )
    for column in ("class", "kept", "went to the new class", "gained, of the image", "clicks right"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, scores in report.classes.items():
        table.add_row(
            Text(f"{name} (new)" if scores.new else name),
            _percent(scores.agreement),
            _percent(scores.taken_by_new),
            _percent(scores.gained_share_of_image),
            _percent(scores.clicked_accuracy),
        )
    return table


def elsewhere_table(report: ElsewhereReport) -> Table:
    """One row an image that nobody clicked, the worst first."""
    table = Table(title="on images that nobody clicked (no ground truth needed)", title_justify="left")
    for column in ("image", "old classes kept", "new class covers", "verdict"):
        table.add_column(column, justify="left" if column in {"image", "verdict"} else "right")
    for image in report.images:
        table.add_row(
            Text(image.name),
            _percent(image.forgetting.agreement_of_interest),
            _percent(image.new_share),
            Text("; ".join(image.harm) or "sound"),
        )
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
