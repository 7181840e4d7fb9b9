"""How the main job shows that it is alive: one line a stage, with a bar where there is something to count."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


class Stages:
    """Stages one after the other; `seconds` keeps how long each took."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[Stage]:
        """A stage of the job, measured and shown until it ends."""
        start = time.monotonic()
        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        with progress:
            yield Stage(progress, title)
        took = time.monotonic() - start
        self.seconds[name] = round(self.seconds.get(name, 0.0) + took, 1)
        self.console.print(f"[green]✓[/] {title} [dim]({took:.0f} s)[/]")


class Stage:
    """The line of a running stage."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=None, note="")
        self._told = ""

    def at(self, done: float, total: float | None, note: str = "") -> None:
        """Show how far the stage is; without a terminal a line is printed now and then instead of a bar."""
        self._progress.update(self._task, completed=done, total=total, note=note)
        if not self._progress.console.is_terminal and note and self._is_news(done, total, note):
            self._progress.console.print(f"  {note}", soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(f"  [dim]{text}[/]", soft_wrap=True)

    def _is_news(self, done: float, total: float | None, note: str) -> bool:
        """Whether a tenth of the way has passed since the last line."""
        mark = f"{int(10 * done / total)}" if total else note
        news, self._told = mark != self._told, mark
        return news
