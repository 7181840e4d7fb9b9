"""One optimisation iteration of an update against a plain float32 PyTorch loop on the same network.

Both read their crops from the same GeoTIFF and log the loss of each iteration. The plain loop is what one
writes first: NCHW float32, `torch.optim.Adam`, crops read when they are needed, `loss.item()`.

    python benchmarks/update_iteration.py [--iterations 30] [--rounds 5]

Prints the median seconds of each, their ratio round by round, and the floor: forward and backward passes
alone at our precision.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import TextIO

import numpy as np
import rasterio
import torch
from torch.nn import functional

from icss_core.clicks import ClickSet
from icss_core.compute.precision import resolve_precision
from icss_core.methods import CropRule, TaskContext, build_objective, get_preset
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.raster.reader import open_raster
from icss_core.raster.tile_cache import CachedSource
from icss_core.raster.windows import Window
from icss_core.training import Fit, SegmentationLearner
from icss_core.updating.crops import CropBatches, CropSource, LabelledCrops
from icss_core.updating.tiles import working_area

SIZE, BATCH, SCENE = 256, 2, 2000


def write_scene(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, SCENE, SCENE), np.uint8)
    profile = {"driver": "GTiff", "height": SCENE, "width": SCENE, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        path,
        "w",
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="deflate",
        transform=rasterio.Affine(0.3, 0, 0, 0, -0.3, 0),
        **profile,
    ) as out:
        out.write(pixels)


def random_clicks() -> ClickSet:
    rng = np.random.default_rng(1)
    return ClickSet(rng.integers(0, SCENE, 900), rng.integers(0, SCENE, 900), rng.integers(0, 3, 900))


def network() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(Architecture(n_classes=3), identity(3))


class Plain:
    """The loop one writes first."""

    def __init__(self, path: Path, clicks: ClickSet, log: TextIO) -> None:
        self.dataset, self.clicks = rasterio.open(path), clicks
        self.network = network().eval()  # batch norm on running statistics, as both do
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=2e-5)
        self.rng = np.random.default_rng(0)
        self.log = log

    def run(self, iterations: int) -> list[float]:
        """Seconds of each iteration."""
        seconds = []
        for iteration in range(iterations):
            started = time.perf_counter()
            pixels, labels = [], []
            for _ in range(BATCH):
                row, col = (int(v) for v in self.rng.integers(0, SCENE - SIZE, 2))
                pixels.append(self.dataset.read(window=rasterio.windows.Window(col, row, SIZE, SIZE)))
                labels.append(self.clicks.label_map(Window(row, col, SIZE, SIZE)))
            images = torch.from_numpy(np.stack(pixels).astype(np.float32))
            targets = torch.from_numpy(np.stack(labels).astype(np.int64))
            loss = functional.cross_entropy(self.network(images).logits, targets, ignore_index=255)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.log.write(json.dumps({"iteration": iteration, "loss": loss.item()}) + "\n")
            seconds.append(time.perf_counter() - started)
        return seconds


class Ours:
    """The update's own loop, baseline method."""

    def __init__(self, path: Path, clicks: ClickSet, log: TextIO) -> None:
        source = CachedSource(open_raster(path))
        preset = get_preset("icss-paper/baseline", {"optimisation.iterations": 10**6})
        area = working_area(SCENE, SCENE, clicks)
        image = CropSource(source=source, area=area, labels=clicks)
        batches = CropBatches(image, [LabelledCrops(image, CropRule(size=SIZE, batch=BATCH), seed=0)])
        objective = build_objective(preset, TaskContext(n_classes=3, n_old=2))
        self.fit = Fit(SegmentationLearner(network(), objective, batches), preset.optimisation)
        self.log = log

    def run(self, iterations: int) -> list[float]:
        """Seconds of each iteration."""
        seconds = []

        def note(report) -> None:
            values = {"iteration": report.iteration, "loss": report.loss, **report.terms}
            self.log.write(json.dumps(values) + "\n")
            seconds.append(report.seconds)

        self.fit.run(until=self.fit.iteration + iterations, on_iteration=note)
        return seconds


class Floor:
    """Forward and backward passes at our precision and layout, nothing else."""

    def __init__(self) -> None:
        self.network = network().eval().to(memory_format=torch.channels_last)
        self.images = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
        self.dtype = resolve_precision("auto", torch.device("cpu"))

    def run(self, iterations: int) -> list[float]:
        """Seconds of each iteration."""
        seconds = []
        for _ in range(iterations):
            started = time.perf_counter()
            with torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype != torch.float32):
                logits = self.network(self.images).logits
            logits.square().mean().backward()
            self.network.zero_grad(set_to_none=True)
            seconds.append(time.perf_counter() - started)
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=20, help="per round and loop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    precision = str(resolve_precision("auto", torch.device("cpu"))).removeprefix("torch.")
    print(f"{platform.machine()}, {arguments.threads} threads, torch {torch.__version__}")
    print(f"Linknet/resnet34, batch {BATCH}, {SIZE} px, {SCENE} px scene; ours in {precision}")
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w", encoding="utf-8") as log:
        path = Path(folder) / "scene.tif"
        write_scene(path)
        clicks = random_clicks()
        loops = {"plain float32": Plain(path, clicks, log), "ours": Ours(path, clicks, log), "floor": Floor()}
        for loop in loops.values():
            loop.run(3)
        rounds = []
        for number in range(arguments.rounds):
            medians = {
                name: statistics.median(loop.run(arguments.iterations)) for name, loop in loops.items()
            }
            rounds.append(medians)
            print(
                f"round {number + 1}: "
                + ", ".join(f"{name} {value:.3f} s" for name, value in medians.items())
                + f"; ours / plain {medians['ours'] / medians['plain float32']:.2f}"
                + f", ours / floor {medians['ours'] / medians['floor']:.2f}"
            )
        ratios = sorted(r["ours"] / r["plain float32"] for r in rounds)
        print(f"ours / plain: median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
