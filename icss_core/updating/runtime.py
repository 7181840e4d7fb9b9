"""How an update is run: where it computes, whom it tells, when it stops; what it learns stays the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from icss_core.networks.segmenter import Segmenter
    from icss_core.training import IterationReport
    from icss_core.updating.progress import UpdateProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Options of `update` that leave its numbers as they are."""

    device: torch.device | None = None
    """Where to compute; None: a GPU if there is one."""
    on_progress: Callable[[UpdateProgress], None] | None = None
    """Told about every tile and iteration."""
    on_iteration: Callable[[IterationReport], None] | None = None
    """Told about every iteration of the training."""
    on_round: Callable[[int, Segmenter], None] | None = None
    """Shown the network, in eval mode, after each of the preset's rounds but the last, counted from 1.
    Looking costs what the caller does; an update by itself predicts nothing on the way."""
    should_stop: Callable[[], bool] | None = None
    """Asked between tiles and iterations."""
