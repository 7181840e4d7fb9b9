"""Distillation from the memory network, whose background contains the new classes."""

from __future__ import annotations

import torch
from torch import Tensor

from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND


def unbiased_distillation(
    logits: Tensor, old_logits: Tensor, *, alpha: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    r"""Unbiased knowledge distillation of MiB: the new classes count as the memory network's background.

    .. math:: L = -\frac{1}{|I|\,O} \sum_i \sum_{c<O} q_{ic} \log \hat p_{ic}, \qquad
              \hat p_{i0} = p_{i0} + \sum_{c \ge O} p_{ic}

    q is the softmax of `alpha * old_logits`, p that of `logits` (Cermelli et al., "Modeling the Background
    for Incremental Learning in Semantic Segmentation", arXiv 2002.00718, Eqs. 7-9).

    Deviations: the sign, which Eq. 7 as printed lacks, and the division by the number of old classes O, which
    Eq. 7 lacks and the published code has; the published weight of 10 belongs to this form. Computed with
    log-sum-exp, so large logits do not overflow. Gradients never reach `old_logits`.

    Args:
        logits: (B, N, H, W) float of the updated network, old classes first.
        old_logits: (B, O, H, W) float of the memory network, 1 <= O <= N.
        alpha: factor on the old logits before the softmax, positive; above 1 the targets get harder.
        mask: (B, H, W) bool, True where a pixel counts; None: all of them. Values outside may be anything,
            NaN included.

    Returns:
        Scalar: the mean over the counted pixels; 0 with gradient 0 where there is none.

    Raises:
        InvalidParameterError: shapes do not fit, or alpha is not positive.
    """
    _validate_args(logits, old_logits, alpha, mask)
    if mask is None:
        return unbiased_distillation_map(logits, old_logits, alpha=alpha).mean()
    # masked before the logarithm: masking only its result would let a NaN through in the gradient
    kept, zero = mask[:, None], logits.new_zeros(())
    pixels = unbiased_distillation_map(
        torch.where(kept, logits, zero), torch.where(kept, old_logits, zero.to(old_logits)), alpha=alpha
    )
    return torch.where(mask, pixels, pixels.new_zeros(())).sum() / mask.sum().clamp(min=1)


def unbiased_distillation_map(logits: Tensor, old_logits: Tensor, *, alpha: float = 1.0) -> Tensor:
    """The summands of `unbiased_distillation`: (B, H, W), each already divided by O.

    With sum_c q_c = 1 the cross-entropy is lse(z) - q_0 lse(z_0, z_O..) - sum_{0<c<O} q_c z_c: three passes
    over the logits, none of them materialises log-probabilities.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    scores = logits.to(dtype)
    targets = torch.softmax(alpha * old_logits.detach().to(dtype), dim=1)
    n_old = targets.shape[1]
    moved = torch.cat([scores[:, BACKGROUND : BACKGROUND + 1], scores[:, n_old:]], dim=1)
    expected = (targets[:, 1:] * scores[:, 1:n_old]).sum(dim=1)
    expected = expected + targets[:, BACKGROUND] * torch.logsumexp(moved, dim=1)
    return (torch.logsumexp(scores, dim=1) - expected) / n_old


def plain_distillation(logits: Tensor, old_logits: Tensor, *, alpha: float = 1.0) -> Tensor:
    r"""Distillation of LwF: the old classes among themselves, as if the new ones did not exist.

    .. math:: L = -\frac{1}{|I|\,O} \sum_i \sum_{c<O} q_{ic} \log \tilde p_{ic}

    with p~ the softmax over the first O logits only and q that of `alpha * old_logits` (Li and Hoiem,
    "Learning without Forgetting", arXiv 1606.09282, as the published code of MiB has it: divided by O, so its
    weight of 100 belongs to this form).

    Args:
        logits: (B, N, H, W) float of the updated network, old classes first.
        old_logits: (B, O, H, W) float of the memory network, 1 <= O <= N; taken as constant.
        alpha: factor on the old logits before the softmax, positive.

    Returns:
        Scalar, not negative.

    Raises:
        InvalidParameterError: shapes do not fit, or alpha is not positive.
    """
    _validate_args(logits, old_logits, alpha, None)
    # without new classes the two distillations are one
    return unbiased_distillation_map(logits[:, : old_logits.shape[1]], old_logits, alpha=alpha).mean()


def check_old_logits(logits: Tensor, old_logits: Tensor) -> None:
    """Logits of both networks on the same pixels, the old classes first.

    Raises:
        InvalidParameterError: the shapes do not fit.
    """
    new, old = tuple(logits.shape), tuple(old_logits.shape)
    if len(new) != 4 or len(old) != 4 or new[0] != old[0] or new[2:] != old[2:] or not 1 <= old[1] <= new[1]:
        raise InvalidParameterError(
            f"logits must be (B, N, H, W) and old_logits (B, O, H, W) with 1 <= O <= N; got {new} and {old}"
        )


def _validate_args(logits: Tensor, old_logits: Tensor, alpha: float, mask: Tensor | None) -> None:
    check_old_logits(logits, old_logits)
    new = tuple(logits.shape)
    if not alpha > 0:
        raise InvalidParameterError(f"alpha must be positive, not {alpha}")
    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != (new[0], *new[2:])):
        raise InvalidParameterError(
            f"mask must be bool of shape {(new[0], *new[2:])}, not {mask.dtype} of {tuple(mask.shape)}"
        )
