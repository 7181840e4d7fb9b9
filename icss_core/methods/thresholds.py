"""PLOP's thresholds: how uncertain the memory network usually is about each class in the task's images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.compute.precision import Precision, resolve_precision
from icss_core.data.batch import collate
from icss_core.data.scene_windows import spread_windows
from icss_core.losses import EntropyMedians

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.networks.segmenter import Segmenter


@torch.inference_mode()
def entropy_thresholds(
    memory: Segmenter,
    scenes: Sequence[LabelledScene],
    *,
    n_classes: int,
    size: int,
    device: torch.device,
    precision: Precision = "auto",
    max_windows: int = 2048,
) -> Tensor:
    """Median entropy by class over the background pixels of the scenes, never below PLOP's lower limit.

    Args:
        memory: the network before the task; left in eval mode.
        scenes: scenes of the task, with the labels that the task sees.
        n_classes: N, classes after the task.
        size: side of the windows, in pixels.
        device: where to compute.
        precision: in which type.
        max_windows: largest number of windows to read, spread evenly over the scenes.

    Returns:
        (O,) float64 on the CPU; the same on every worker, since all look at the same windows.
    """
    medians = EntropyMedians(memory.n_classes, n_classes)
    memory.eval()
    dtype = resolve_precision(precision, device)
    for scene, window in spread_windows(scenes, size=size, limit=max_windows):
        pixels, labels = scene.crop(window)
        batch = collate([pixels], [labels]).to(device)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            logits = memory(batch.pixels).logits
        medians.update(batch.labels, logits)
    return medians.thresholds()
