"""Losses without labelled pixels: from the classes that an image shows, and from maps of objectness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from torch import Tensor

_SMALLEST = 1e-7
"""Probabilities are held this far from 0 and 1."""


def image_level_loss(logits: Tensor, present: Tensor) -> Tensor:
    r"""A class that is present should be confident at some pixel, an absent class at none.

    .. math:: L = -\frac{1}{|P|} \sum_{c \in P} \log \max_i p_{ic}
              - \frac{1}{|A|} \sum_{c \in A} \log (1 - \max_i p_{ic})

    with p the softmax of the logits, P the classes present and A those absent (Bearman et al., "What's the
    Point", arXiv 1506.02106, Eq. 2). A sum over no class is 0.

    Args:
        logits: (B, N, H, W) float.
        present: (B, N) bool, classes that the crop shows; the background too, where it is one of them.

    Returns:
        Scalar, not negative: the mean over the batch.

    Raises:
        InvalidParameterError: shapes or dtypes do not fit.
    """
    expected = tuple(logits.shape[:2])
    if logits.ndim != 4 or tuple(present.shape) != expected or present.dtype != torch.bool:
        raise InvalidParameterError(
            f"logits must be (B, N, H, W) and present bool of (B, N); got {tuple(logits.shape)} and "
            f"{present.dtype} of {tuple(present.shape)}"
        )
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    highest = scores.softmax(dim=1).amax(dim=(2, 3)).clamp(_SMALLEST, 1 - _SMALLEST)
    zero = torch.zeros_like(highest)
    here = torch.where(present, -highest.log(), zero).sum(dim=1) / present.sum(dim=1).clamp(min=1)
    absent = ~present
    away = torch.where(absent, -(1 - highest).log(), zero).sum(dim=1) / absent.sum(dim=1).clamp(min=1)
    return (here + away).mean()


def objectness_loss(logits: Tensor, objectness: Tensor, *, valid: Tensor | None = None) -> Tensor:
    r"""The probability of all classes but the background should equal the objectness.

    .. math:: L = -\frac{1}{|I|} \sum_i o_i \log (1 - p_{i0}) + (1 - o_i) \log p_{i0}

    (Bearman et al., Eq. 4, with the background as the only class that is no object).

    Args:
        logits: (B, N, H, W) float.
        objectness: (B, H, W) float in [0, 1], probability that a pixel belongs to an object.
        valid: (B, H, W) bool, True where the objectness is known; other values are not read. None:
            everywhere.

    Returns:
        Scalar, not negative: the mean over the valid pixels, 0 if there is none.

    Raises:
        InvalidParameterError: shapes do not fit, or a probability is outside [0, 1].
    """
    if logits.ndim != 4 or objectness.shape != (logits.shape[0], *logits.shape[2:]):
        raise InvalidParameterError(
            f"logits must be (B, N, H, W) and objectness (B, H, W); got {tuple(logits.shape)} and "
            f"{tuple(objectness.shape)}"
        )
    if valid is None:
        valid = torch.ones_like(objectness, dtype=torch.bool)
    if valid.shape != objectness.shape or valid.dtype != torch.bool:
        raise InvalidParameterError(
            f"valid must be bool of {tuple(objectness.shape)}, not {valid.dtype} of {tuple(valid.shape)}"
        )
    objectness = objectness.masked_fill(~valid, 0)
    low, high = torch.aminmax(objectness)
    if not (float(low) >= 0 and float(high) <= 1):  # so that NaN is none either
        raise InvalidParameterError(f"objectness is a probability; found {float(low):g} to {float(high):g}")
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    everything = torch.logsumexp(scores, dim=1)
    background = everything - scores[:, 0]
    objects = everything - torch.logsumexp(scores[:, 1:], dim=1)
    probability = objectness.to(scores)
    each = probability * objects + (1 - probability) * background
    return each.masked_fill(~valid, 0).sum() / valid.sum().clamp(min=1)
