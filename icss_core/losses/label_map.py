"""Checks of label maps and the reduction of loss maps, common to all losses on labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from icss_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["all", "labelled"]
"""all: the mean over every pixel of the batch, those without label counting as zero (MiB and its rivals as
published); labelled: the mean over the pixels that have one (ICSS)."""


def mean_over_pixels(losses: Tensor, labelled: Tensor, over: Reduction) -> Tensor:
    """Mean of a map (B, H, W) that is 0 where `labelled` (B, H, W) bool is not; 0 where nothing is."""
    if over == "all":
        return losses.mean()
    return losses.sum() / labelled.sum().clamp(min=1)


def check_shapes(logits: Tensor, labels: Tensor) -> None:
    """Logits (B, N, H, W) with labels (B, H, W) int64.

    Raises:
        InvalidParameterError: they are not.
    """
    if logits.ndim != 4 or labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise InvalidParameterError(
            "logits must be (B, N, H, W) and labels (B, H, W); "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if labels.dtype != torch.int64:
        raise InvalidParameterError(f"labels must be int64, not {labels.dtype}")


def check_range(labels: Tensor, n_classes: int, ignore: int) -> None:
    """Every label, those of pixels without one left out by the caller, is a class.

    Raises:
        InvalidParameterError: one is not.
    """
    if not labels.numel():
        return
    low, high = torch.aminmax(labels)
    if int(low) < 0 or int(high) >= n_classes:
        raise InvalidParameterError(
            f"labels must be in [0, {n_classes}) or {ignore}; found {int(low)} to {int(high)}"
        )
