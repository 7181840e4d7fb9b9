"""Which floating-point type a device gets."""

import sys
from pathlib import Path

import pytest
import torch

from icss_core.compute.device import default_device
from icss_core.compute.precision import has_native_bfloat16, resolve_precision

CPU = torch.device("cpu")


def test_forced_precisions_are_what_they_say():
    assert resolve_precision("float32", CPU) == torch.float32
    assert resolve_precision("bfloat16", CPU) == torch.bfloat16


def test_auto_follows_the_processors_own_flags():
    expected = torch.bfloat16 if has_native_bfloat16(CPU) else torch.float32
    assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("auto", torch.device("meta")) == torch.float32


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's list of processor flags")
def test_native_bfloat16_is_what_the_kernel_says():
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = set(next(line for line in lines if line.startswith(("flags", "Features"))).split())
    assert has_native_bfloat16(CPU) == bool({"avx512_bf16", "amx_bf16", "amx_tile"} & flags)


def test_default_device_is_a_gpu_only_where_there_is_one():
    assert default_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
