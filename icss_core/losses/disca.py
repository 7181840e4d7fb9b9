"""DISCA: the memory network's hard labels of the old classes of interest, on every pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.labels import BACKGROUND, IGNORE
from icss_core.losses.cross_entropy import partial_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


def memory_label_cross_entropy(
    logits: Tensor, memory_labels: Tensor, *, background: int = BACKGROUND, ignore: int = IGNORE
) -> Tensor:
    """Cross-entropy with the memory network's class map, where that map shows a class of interest.

    Mean over those pixels, as ICSS (Lenczner et al.) uses DISCA (Lenczner et al., "DISCA", 2021). The
    published code divides the value by the number of the round, the paper does not; callers that want it
    divide themselves. The original DISCA averages over all pixels, background included.

    Args:
        logits: (B, N, H, W) float of the updated network.
        memory_labels: (B, H, W) int64, the memory network's classes, `ignore` where there is no data.
        background: label that is left out, because what the memory network maps as background may be the new
            class.
        ignore: value of pixels without a memory label.

    Returns:
        Scalar, not negative; 0 with gradient 0 where no pixel shows a class of interest.

    Raises:
        InvalidParameterError: shapes, dtypes or labels do not fit.
    """
    targets = memory_labels.masked_fill(memory_labels == background, ignore)
    return partial_cross_entropy(logits, targets, ignore=ignore)
