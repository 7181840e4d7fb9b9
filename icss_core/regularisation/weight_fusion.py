"""The weights of a finished task averaged with those of the task before (EWF).

Distillation holds what a network says; fusing the two ends of a task holds the weights themselves (Xiao et
al., "Endpoints Weight Fusion for Class Incremental Semantic Segmentation", CVPR 2023).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from icss_core.networks.segmenter import Segmenter


def fusion_share(n_old: int, n_new: int) -> float:
    """Share of the newer weights: sqrt(n_new / (n_old + n_new)), as the published code counts.

    Args:
        n_old: classes of the tasks before, the background among them.
        n_new: classes of this task.
    """
    return math.sqrt(n_new / (n_old + n_new))


def fuse_weights(network: Segmenter, before: Segmenter, *, share: float) -> None:
    """Replace what both networks have by `share` of the newer and the rest of the older, in place.

    Weights, biases and the statistics of batch norms; of the classifiers the rows of the old classes. Rows of
    new classes stay as they were trained. As in the published code, the older background's bias is that from
    before it was shared with the new classes (MiB's head), which favours the background. One difference:
    there the rows of the old classes are not trained, here they are.

    Args:
        network: after a task.
        before: the network that it was extended from; not changed.
        share: of the newer, in [0, 1].
    """
    older = before.state_dict()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name in older and value.is_floating_point():
                # classes are the only thing that grows, and the first axis of what has them
                shared = value[: len(older[name])] if value.ndim else value
                shared.lerp_(older[name].to(shared), 1 - share)
