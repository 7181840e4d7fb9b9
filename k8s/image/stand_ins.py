"""Replaces CUDA's libraries by stand-ins that do nothing: `python stand_ins.py SITE_PACKAGES`.

A program of the Dockerfile, for `VARIANT=cpu`. The torch on the package index is built for CUDA: its files
name libraries of CUDA, so the loader wants to see these before torch can be imported: 1.6 GB, although no
function in them is called where there is no GPU. A stand-in has the name, the version and each symbol that
torch's libraries ask for, and weighs some kilobytes.

CUDA's runtime is not replaced (0.7 MB): torch asks it how many GPUs there are, and it answers that there are
none. Whoever calls a stand-in all the same gets an error that says so: each function returns 1, which all of
these libraries document as a failure, and those that put a failure into words say that there is no CUDA here.

Needs `nm` (binutils) and a C compiler.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPLACED: Final = {
    "nvidia/cu13/lib/libcublas.so.13": "products of matrices",
    "nvidia/cu13/lib/libcublasLt.so.13": "products of matrices",
    "nvidia/cu13/lib/libcufft.so.12": "Fourier transforms",
    "nvidia/cu13/lib/libcusparse.so.12": "sparse matrices",
    "nvidia/cu13/lib/libnvrtc.so.13": "compiles kernels at run time",
    "nvidia/cudnn/lib/libcudnn.so.9": "convolutions; without what trim.py removes it ends the process",
    "nvidia/cusparselt/lib/libcusparseLt.so.0": "products of structured sparse matrices",
    "nvidia/nccl/lib/libnccl.so.2": "sums over GPUs; over CPUs it is Gloo, which is inside of torch",
    "nvidia/nvshmem/lib/libnvshmem_host.so.3": "memory that GPUs share",
}
"""Libraries below site-packages, by what they do on a GPU."""

CONSUMERS: Final = "torch/lib/*.so"
"""Who asks for their symbols."""

MESSAGE: Final = "this image is built for CPUs and has no CUDA"
_SAYS_WHY: Final = re.compile(r"(ErrorString|StatusString|LastError)$")
"""Functions that return a text."""
_DATA: Final = frozenset("BDR")
"""Kinds of symbols that are no functions, as `nm` names them."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """One thing that a library defines."""

    name: str
    version: str | None
    data_bytes: int | None
    """Size of a variable; None: it is a function."""


def defined(library: Path) -> dict[str, Symbol]:
    """The symbols that a library offers, by name."""
    symbols = {}
    for line in _nm(library, "--defined-only", "--print-size"):
        fields = line.split()
        name, _, version = fields[-1].partition("@")
        data = int(fields[1], 16) if fields[-2] in _DATA and len(fields) == 4 else None
        symbols[name] = Symbol(name, version.lstrip("@") or None, data)
    return symbols


def wanted(library: Path) -> set[str]:
    """Names of the symbols that a library expects others to offer."""
    return {line.split()[-1].partition("@")[0] for line in _nm(library, "--undefined-only")}


def source(symbols: list[Symbol]) -> str:
    """A stand-in in C."""
    lines = []
    for symbol in symbols:
        if symbol.data_bytes is not None:
            lines.append(f"char {symbol.name}[{symbol.data_bytes}];")
        elif _SAYS_WHY.search(symbol.name):
            lines.append(f'const char *{symbol.name}(void) {{ return "{MESSAGE}"; }}')
        else:
            lines.append(f"long {symbol.name}(void) {{ return 1; }}")
    return "\n".join(lines) + "\n"


def versions(symbols: list[Symbol]) -> str:
    """The linker's map of versions: empty where the library's symbols have none."""
    names = defaultdict(list)
    for symbol in symbols:
        if symbol.version is not None:
            names[symbol.version].append(symbol.name)
    return "".join(f"{version} {{ global: {'; '.join(group)}; }};\n" for version, group in names.items())


def replace(library: Path, asked_for: set[str]) -> int:
    """Put a stand-in in a library's place; returns how many symbols it has.

    Raises:
        ValueError: nobody asks for a symbol of it, so it need not be there at all.
    """
    symbols = [symbol for name, symbol in sorted(defined(library).items()) if name in asked_for]
    if not symbols:
        raise ValueError(f"no library asks for anything in {library}: remove it instead (trim.py)")
    with tempfile.TemporaryDirectory() as folder:
        code, version_map = Path(folder, "stand_in.c"), Path(folder, "versions")
        code.write_text(source(symbols), encoding="utf-8")
        version_map.write_text(versions(symbols), encoding="utf-8")
        options = ["-shared", "-fPIC", "-nostdlib", "-w", "-O1", "-s", f"-Wl,-soname,{library.name}"]
        if version_map.stat().st_size:
            options.append(f"-Wl,--version-script,{version_map}")
        library.unlink()
        subprocess.run(["gcc", *options, "-o", str(library), str(code)], check=True)
    return len(symbols)


def main() -> None:
    """Replace all of them, and say what that gave."""
    site_packages = Path(sys.argv[1])
    asked_for = {name for library in site_packages.glob(CONSUMERS) for name in wanted(library)}
    for path, task in REPLACED.items():
        library = site_packages / path
        before = library.stat().st_size
        count = replace(library, asked_for)
        freed = (before - library.stat().st_size) / 2**20
        print(f"{freed:8.1f} MiB  {path} ({task}): {count} symbols of a stand-in")


def _nm(library: Path, *options: str) -> list[str]:
    done = subprocess.run(
        ["nm", "--dynamic", *options, str(library)], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


if __name__ == "__main__":
    main()
