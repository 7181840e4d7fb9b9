"""Memory that a GPU needs to train a network, by encoder, crop and batch; and what a pixel costs.

    python benchmarks/network_memory.py [--crops 256 512] [--batches 8 16 32] [--classes 6] [--csv memory.csv]

Nothing here runs on a GPU. Counted, on the CPU: weights; operations of a forward pass; and the bytes that
autograd keeps of one, as it asks for them (`saved_tensors_hooks`), each storage once, without weights. They
are counted for two and for four crops: what grows is a crop's, the rest (weights cast to bfloat16) the
network's. The tensors are PyTorch's fake ones, which have shapes and no contents: a pass takes a second and
no memory, and a test compares it with a real one.

A training then takes

    16 bytes a weight (float32: itself, its gradient, two moments of Adam), and what is kept of the network
    + what is kept of all crops
    + the largest of it twice, for the gradients that live at the same time on the way back
    + a tenth, for what the allocator cannot use, and --context GiB for CUDA, cuDNN and its workspaces.

The last line is an assumption: it differs between GPUs and versions. --check compares the formula, without
CUDA's part, with the memory of real iterations in float32 on a processor. bfloat16 is counted under the CPU's
autocast, whose list of operations differs a little from CUDA's.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from icss_core.networks import Architecture, Normalisation, Segmenter

NETWORKS = (
    ("linknet", "resnet34"),
    ("linknet", "tu-tf_efficientnet_lite0"),
    ("linknet", "resnet50"),
    ("deeplabv3", "resnet101"),
)
"""Decoder and encoder."""
MIB, GIB = 2**20, 2**30
BYTES_PER_WEIGHT = 16
UNUSABLE = 0.1
CHECKED = 256
"""Side of the crops that are compared with real ones."""


@dataclass(frozen=True)
class Counted:
    """What a network keeps of its crops, and what it computes."""

    network: str
    crop: int
    dtype: str
    weights: int
    kept_per_crop: float
    """Bytes."""
    kept_once: float
    """Bytes, whatever the number of crops."""
    largest_per_crop: float
    """Bytes of the largest tensor."""
    flop_per_pixel: float
    """Of a forward pass; a product and a sum are two."""

    def training_bytes(self, batch: int, *, context: float) -> float:
        """Of a training with Adam; see the module's text."""
        tensors = BYTES_PER_WEIGHT * self.weights + self.kept_once
        tensors += batch * (self.kept_per_crop + 2 * self.largest_per_crop)
        return tensors * (1 + UNUSABLE) + context * GIB


def kept(network: nn.Module, crops: int, crop: int, dtype: torch.dtype) -> tuple[list[int], int]:
    """Bytes of each storage that autograd keeps of a forward pass, and the operations of the pass."""
    images = torch.zeros(crops, 3, crop, crop, dtype=torch.uint8)
    labels = torch.zeros(crops, crop, crop, dtype=torch.long)
    own = {one.untyped_storage()._cdata for one in (*network.parameters(), *network.buffers())}  # noqa: SLF001
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:  # noqa: SLF001 - which storage it is; fake ones have no address
            storages[storage._cdata] = storage  # noqa: SLF001
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            logits = network(images).logits
        nn.functional.cross_entropy(logits.float(), labels)
    sizes = [storage.nbytes() for storage in storages.values()]
    storages.clear()  # the hooks refer to it, and its contents to the hooks
    return sizes, counter.get_total_flops()


def build(decoder: str, encoder: str, classes: int) -> Segmenter:
    architecture = Architecture(decoder=decoder, encoder=encoder, n_classes=classes)
    return Segmenter(architecture, Normalisation(mean=(110,) * 3, std=(50,) * 3)).train()


def count(decoder: str, encoder: str, crop: int, dtype: torch.dtype, classes: int) -> Counted:
    """Run two forward passes without contents, and count."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = build(decoder, encoder, classes)
        two, operations = kept(network, 2, crop, dtype)
        four, _ = kept(network, 4, crop, dtype)
    per_crop = (sum(four) - sum(two)) / 2
    return Counted(
        network=f"{decoder}, {encoder}",
        crop=crop,
        dtype=str(dtype).removeprefix("torch."),
        weights=sum(one.numel() for one in network.parameters()),
        kept_per_crop=per_crop,
        kept_once=sum(two) - 2 * per_crop,
        largest_per_crop=max(four) / 4,
        flop_per_pixel=operations / (2 * crop * crop),
    )


def real_bytes(encoder: str, batch: int, classes: int) -> int:
    """What this process has taken at most, over what it had before, for two iterations in float32 here.

    Linux only; to be asked of a process that has done nothing else.
    """
    torch.set_num_threads(1)
    nn.Conv2d(3, 8, 3)(torch.zeros(1, 3, 32, 32)).sum().backward()  # libraries are loaded when first used
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    network = build("linknet", encoder, classes)
    optimiser = torch.optim.Adam(network.parameters())
    images = torch.randint(0, 256, (batch, 3, CHECKED, CHECKED), dtype=torch.uint8)
    labels = torch.zeros(batch, CHECKED, CHECKED, dtype=torch.long)
    for _ in range(2):
        nn.functional.cross_entropy(network(images).logits, labels).backward()
        optimiser.step()
        optimiser.zero_grad()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def check(classes: int) -> None:
    """Compare with real iterations in processes of their own, which need up to 2.5 GB."""
    for encoder, batch in (("resnet34", 8), ("resnet34", 16), ("tu-tf_efficientnet_lite0", 8)):
        command = [sys.executable, __file__, "--real", encoder, str(batch), "--classes", str(classes)]
        real = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        counted = count("linknet", encoder, CHECKED, torch.float32, classes)
        said = counted.training_bytes(batch, context=0)
        print(
            f"{encoder}, {batch} crops of {CHECKED} pixels, float32: {said / MIB:.0f} MiB by the formula, "
            f"{real / MIB:.0f} MiB measured: {said / real - 1:+.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--context", type=float, default=1.0, help="GiB of CUDA, cuDNN and workspaces")
    parser.add_argument("--csv", type=Path, help="where the counts go")
    parser.add_argument(
        "--check", action="store_true", help="compare two of them with what a processor takes"
    )
    parser.add_argument("--real", nargs=2, metavar=("ENCODER", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.real:
        print(real_bytes(options.real[0], int(options.real[1]), options.classes))
        return
    if options.check:
        check(options.classes)
        return
    counted = [
        count(decoder, encoder, crop, dtype, options.classes)
        for decoder, encoder in NETWORKS
        for crop in options.crops
        for dtype in (torch.float32, torch.bfloat16)
    ]
    table = Table(title="GiB of GPU memory to train (modelled, from counts on the CPU)")
    for name in ("network", "million weights", "GFLOP a megapixel", "crop", "dtype", "MiB kept of a crop"):
        table.add_column(name)
    for batch in options.batches:
        table.add_column(f"batch {batch}", justify="right")
    for one in counted:
        table.add_row(
            one.network,
            f"{one.weights / 1e6:.1f}",
            f"{one.flop_per_pixel / 1e3:.0f}",
            str(one.crop),
            one.dtype,
            f"{one.kept_per_crop / MIB:.0f}",
            *(f"{one.training_bytes(batch, context=options.context) / GIB:.1f}" for batch in options.batches),
        )
    Console(width=130).print(table)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(asdict(counted[0])))
            writer.writeheader()
            writer.writerows(asdict(one) for one in counted)


if __name__ == "__main__":
    main()
