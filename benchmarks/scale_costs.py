"""The scale model's costs: numbers that each say where they come from, and what they mean for a worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from scale_simulations import MapCosts, TrainingCosts

COSTS = Path(__file__).with_suffix(".yaml")
CROP, BATCH = 512, 8
"""Of a training on GPUs."""
PROCESSOR_CROP = 256
"""The same on processors; crops of a batch are as many."""
CHECKPOINT_SECONDS = 60.0
"""From one checkpoint to the next."""
KEPT_TO_MOVED_FORWARD, KEPT_TO_MOVED = 2.0, 6.0
"""Bytes between a GPU and its memory for each byte that
autograd keeps of a pass. Forward, each is written and read once; on the way back, it is read again for the
gradient of the weights, and gradients of its size are written, and read twice."""


class CostsError(ValueError):
    """A number is missing, or does not say where it comes from."""


@dataclass(frozen=True)
class Costs:
    """Numbers by name."""

    values: dict[str, float]
    sources: dict[str, str]

    def __getitem__(self, name: str) -> float:
        try:
            return self.values[name]
        except KeyError:
            raise CostsError(f"{name} is missing") from None

    def family(self, prefix: str) -> list[str]:
        """The names that come after a prefix, up to the next dot, in their order."""
        rests = [name.removeprefix(f"{prefix}.") for name in self.values if name.startswith(f"{prefix}.")]
        return list(dict.fromkeys(rest.partition(".")[0] for rest in rests))


def read_costs(path: Path) -> Costs:
    """Read a file of numbers.

    Raises:
        CostsError: an entry has no value or no source.
    """
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, entry in content.items():
        for part in ("value", "source"):
            if not isinstance(entry, dict) or part not in entry:
                raise CostsError(f"{name}: the {part} is missing in {path}")
    return Costs(
        {name: float(entry["value"]) for name, entry in content.items()},
        {name: str(entry["source"]) for name, entry in content.items()},
    )


@dataclass(frozen=True)
class GpuUse:
    """How well a GPU is used: parts of what its data sheet says."""

    operations: float
    bandwidth: float


def gpu_seconds(costs: Costs, gpu: str, network: str, use: GpuUse, *, learning: bool) -> float:
    """Of a pixel that goes through a network: its operations, or its bytes, whichever take longer."""
    operations = (3 if learning else 1) * costs[f"network.{network}.flop_per_pixel"]
    moved = KEPT_TO_MOVED if learning else KEPT_TO_MOVED_FORWARD
    size = moved * costs[f"network.{network}.kept_bytes_per_pixel"]
    return max(
        operations / (use.operations * costs[f"gpu.{gpu}.flops"]),
        size / (use.bandwidth * costs[f"gpu.{gpu}.bandwidth"]),
    )


def uses(costs: Costs) -> tuple[GpuUse, GpuUse]:
    """The two ends of the range."""
    low, high = (
        GpuUse(costs[f"gpu_use.operations.{end}"], costs[f"gpu_use.bandwidth.{end}"])
        for end in ("low", "high")
    )
    return low, high


def training_costs(
    costs: Costs, *, compute: float, crop: int, gpu: str | None, network: str, cold: bool
) -> TrainingCosts:
    """Of a training.

    Args:
        costs: numbers.
        compute: seconds of a batch.
        crop: side of a crop, pixels.
        gpu: which, or None for processors.
        network: which.
        cold: whether each crop is fetched from the store; else their bytes are near, and only decoded.
    """
    read_crop = costs["read.crop"] * (crop / PROCESSOR_CROP) ** 2 + (costs["store.latency"] if cold else 0)
    where = f"gpu.{gpu}" if gpu else "processor"
    return TrainingCosts(
        start=costs["start.training.1"],
        start_each=costs["start.training.2"] - costs["start.training.1"],
        compute=compute,
        compute_variation=costs["training.variation"],
        batch=BATCH,
        read=BATCH * read_crop,
        read_variation=0.3,
        batch_bytes=BATCH * crop**2 * costs["store.bytes_per_pixel"] if cold else 0,
        store_bandwidth=costs["store.bandwidth"],
        gradient_bytes=4 * costs[f"network.{network}.weights"],
        workers_per_node=int(costs[f"{where}.per_node"]),
        node_bandwidth=costs[f"{where}.node_bandwidth"],
        network_bandwidth=costs[f"{where}.network_bandwidth"],
        latency=costs["network_latency"],
        overlap=costs["training.overlap.gpu"] if gpu else costs["training.overlap.processor"],
        checkpoint=12 * costs[f"network.{network}.weights"] / costs["store.connection_bandwidth"],
        checkpoint_every=max(round(CHECKPOINT_SECONDS / compute), 1),
    )


def map_costs(costs: Costs, *, pixels_per_second: float) -> MapCosts:
    """Of a worker that maps so fast with the store beside it."""
    return MapCosts(
        start=costs["start.map.1"],
        start_each=costs["start.map.2"] - costs["start.map.1"],
        scene=costs["map.scene"],
        pixels_per_second=pixels_per_second,
        variation=costs["map.variation"],
        bytes_per_pixel=costs["store.bytes_per_pixel"],
        connection_bandwidth=costs["store.connection_bandwidth"],
        store_bandwidth=costs["store.bandwidth"],
    )


def map_pixels_per_second(costs: Costs, network: str, gpu: str | None, use: GpuUse | None) -> float:
    """Of an image, by one worker: the network beside reading, adding up and writing, whichever is slower.

    On processors both take turns on the same cores.
    """
    through = costs["map.network_pixels"]
    if gpu is None or use is None:
        cores = costs["processor.cores"]
        each = (
            through * costs[f"network.{network}.processor_seconds_per_pixel"]
            + costs["map.host_seconds_per_pixel"]
        )
        return cores / each
    network_rate = 1 / (through * gpu_seconds(costs, gpu, network, use, learning=False))
    host_rate = costs["map.host_cores"] / costs["map.host_seconds_per_pixel"]
    return min(network_rate, host_rate)
