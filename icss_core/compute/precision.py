"""Which floating-point type the heavy arithmetic uses."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
"""auto: bfloat16 where the processor multiplies it natively, float32 elsewhere."""


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype a device computes in.

    bfloat16 can be forced anywhere; on a processor without native support it is correct and slow.
    """
    if precision == "float32":
        return torch.float32
    if precision == "bfloat16" or has_native_bfloat16(device):
        return torch.bfloat16
    return torch.float32


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16 products (AVX512-BF16, AMX, Ampere and later)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # oneDNN is asked first: it is what runs the convolutions
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and bool(  # noqa: SLF001
            torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
        )
    return False
