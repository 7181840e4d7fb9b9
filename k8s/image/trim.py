"""Removes from the image what nothing in it uses: `python trim.py SITE_PACKAGES cpu|cuda`.

A program of the Dockerfile. Each entry says why it may go, and must match something: an entry that no longer
does is an error, so that the list stays true when packages change. That what is left works is checked by
`make image-test`.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VARIANTS: Final = ("cpu", "cuda")
MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Removal:
    """Files and folders below site-packages, by pattern, in some variants of the image."""

    pattern: str
    reason: str
    variants: tuple[str, ...] = VARIANTS


_TESTED: Final = "tests of the package itself; the package does not import them"
_HEADERS: Final = "C++ headers, for a compiler, and the image has none"
_STATIC: Final = "for a linker, and the image has none"

REMOVALS: Final = (
    *(
        Removal(f"{package}/**/tests", _TESTED)
        for package in (
            *("geopandas", "matplotlib", "networkx", "numpy", "pandas", "pyarrow", "pyogrio", "scipy"),
            *("shapely", "sympy"),
        )
    ),
    Removal("pyarrow/include", _HEADERS),
    Removal("torch/include", _HEADERS),
    Removal("nvidia/*/include", _HEADERS),
    Removal("nvidia/**/*.a", _STATIC),
    Removal("numpy/**/*.a", _STATIC),
    Removal("triton/**/*.a", _STATIC, ("cuda",)),
    Removal(
        "torch/bin/protoc*", "compiler of protocol buffers; torch runs torch_shm_manager alone from there"
    ),
    Removal("torch/share", "CMake's description of torch"),
    Removal("ray/rllib", "reinforcement learning; needs packages that the lock does not have"),
    Removal("ray/jars", "Java workers; the image has no Java"),
    Removal("ray/dashboard/client/build/static/js/*.map", "for a debugger of the dashboard's JavaScript"),
    Removal(
        "nvidia/nvshmem/lib/libnvshmem_device*.bc",
        "code for kernels of one's own that call NVSHMEM; nobody here writes any",
    ),
    Removal(
        "torch/lib/libtorch_cuda_linalg.so",
        "opened at the first decomposition of a matrix on a GPU; needs cuSOLVER",
        ("cpu",),
    ),
    Removal("nvidia/cudnn/lib/libcudnn_*", "opened by libcudnn.so.9 at its first use on a GPU", ("cpu",)),
    Removal("nvidia/cu13/lib/libnvrtc-builtins*", "opened by libnvrtc.so.13 when it compiles", ("cpu",)),
    Removal(
        "nvidia/cu13/lib/libnvperf*", "opened by libcupti.so.13 when a GPU's counters are read", ("cpu",)
    ),
    Removal("nvidia/cu13/lib/libcufftw*", "FFTW's functions by cuFFT; nothing links it", ("cpu",)),
    Removal("nvidia/cu13/lib/libnvblas*", "BLAS's functions by cuBLAS; nothing links it", ("cpu",)),
    Removal(
        "nvidia/nvshmem/lib/nvshmem_transport_*", "opened by NVSHMEM between machines with GPUs", ("cpu",)
    ),
)


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links count nothing."""
    files = (path, *path.rglob("*")) if path.is_dir() else (path,)
    return sum(one.lstat().st_size for one in files if one.is_file() and not one.is_symlink())


def remove(site_packages: Path, removal: Removal) -> int:
    """Remove what a pattern matches; returns its bytes.

    Raises:
        ValueError: it matches nothing.
    """
    paths = sorted(site_packages.glob(removal.pattern))
    if not paths:
        raise ValueError(f"{removal.pattern} matches nothing in {site_packages}: take it off the list")
    freed = 0
    for path in paths:
        if not path.exists() and not path.is_symlink():
            continue  # inside of a folder that went with another match
        freed += size(path)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return freed


def main() -> None:
    """Remove all that may go from one variant, and say how much each entry gave."""
    site_packages, variant = Path(sys.argv[1]), sys.argv[2]
    if variant not in VARIANTS:
        raise SystemExit(f"VARIANT is {variant!r}; it can be {' or '.join(VARIANTS)}")
    total = 0
    for removal in REMOVALS:
        if variant in removal.variants:
            freed = remove(site_packages, removal)
            total += freed
            print(f"{freed / MIB:8.1f} MiB  {removal.pattern}: {removal.reason}")
    print(f"{total / MIB:8.1f} MiB  in all")


if __name__ == "__main__":
    main()
