"""Scores on the validation scenes, whose windows are divided among the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import distributed

from icss_core.compute.precision import resolve_precision
from icss_core.data.batch import collate
from icss_core.data.scene_windows import spread_windows
from icss_core.metrics import confusion_matrix, iou_per_class

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from icss_core.compute.precision import Precision
    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.networks.segmenter import Segmenter


class Validation:
    """The same windows at each call, so that the scores of a training can be compared.

    Args:
        scenes: validation scenes; may be empty, there are no scores then.
        size: side length of the windows, in pixels.
        limit: how many windows are used at most, spread evenly.
        batch: windows in a forward pass.
        rank, world: which part of the windows is this worker's.
        precision: of the forward passes, as in training.
    """

    def __init__(
        self,
        scenes: Sequence[LabelledScene],
        *,
        size: int,
        limit: int,
        batch: int,
        rank: int,
        world: int,
        precision: Precision,
    ) -> None:
        windows = spread_windows(scenes, size=size, limit=limit)
        self._world = world
        self._mine = windows[rank::world]
        self._batch = batch
        self._precision = precision
        self.windows = len(windows)
        """Windows of all workers together."""

    @torch.inference_mode()
    def iou(self, network: Segmenter, *, device: torch.device) -> NDArray[np.float64]:
        """IoU per class (N,), pooled over all windows of all workers; NaN where a class does not occur.

        A collective operation: every worker calls it at the same iteration. Leaves the network in eval mode.
        """
        n_classes = network.n_classes
        total = np.zeros((n_classes, n_classes), np.int64)
        network.eval()
        dtype = resolve_precision(self._precision, device)
        for start in range(0, len(self._mine), self._batch):
            crops = [scene.crop(window) for scene, window in self._mine[start : start + self._batch]]
            batch = collate([pixels for pixels, _ in crops], [labels for _, labels in crops]).to(device)
            with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                logits = network(batch.pixels).logits
            total += confusion_matrix(logits.argmax(1), batch.labels, n_classes=n_classes)
        shared = torch.from_numpy(total).to(device)
        if self._world > 1:
            distributed.all_reduce(shared)
        return iou_per_class(shared.cpu().numpy())
