"""Processor seconds of what the scale model is made of, one thread each, whatever else the machine does.

    python benchmarks/processor_costs.py [--encoder resnet34] [--rounds 3]

Counted is the time that the processor gives to this process, its threads for reading ahead included, and the
least of the rounds counts. Measured are: an iteration of a training (crops of 256 pixels, without reading),
making a crop out of a tiled, compressed GeoTIFF that is not in any cache, a window of the network's
prediction, and what mapping an image costs besides the network: reading, adding windows up, choosing
classes, and writing a COG.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import torch

from icss_core.compute.precision import resolve_precision
from icss_core.inference import predict_raster, prepare_for_inference
from icss_core.inference.tiling import DEFAULT_TILING
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks import Architecture, Normalisation, Segmenter
from icss_core.raster.reader import open_raster
from icss_core.raster.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE, CROP, BATCH, CLASSES = 2048, 256, 8, 6


def processor_seconds(work: Callable[[], object], rounds: int) -> float:
    """Least processor time of so many rounds, after one that does not count."""
    work()
    found = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def network(encoder: str) -> Segmenter:
    architecture = Architecture(encoder=encoder, n_classes=CLASSES)
    return Segmenter(architecture, Normalisation(mean=(110,) * 3, std=(50,) * 3))


def iteration(encoder: str) -> Callable[[], object]:
    """Forward, backward and Adam, at the precision of this processor."""
    learning = network(encoder).train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(learning.parameters())
    images = torch.randint(0, 256, (BATCH, 3, CROP, CROP), dtype=torch.uint8)
    labels = torch.zeros(BATCH, CROP, CROP, dtype=torch.long)
    dtype = resolve_precision("auto", torch.device("cpu"))

    def work() -> None:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            logits = learning(images).logits
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimiser.step()
        optimiser.zero_grad()

    return work


def write_scene(path: Path) -> None:
    """Neighbouring pixels alike, as in images, so that compression has something to do."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 230, (3, SIDE // 16, SIDE // 16)).repeat(16, 1).repeat(16, 2)
    pixels = (coarse + rng.integers(0, 20, (3, SIDE, SIDE))).astype(np.uint8)
    form = {
        "driver": "GTiff",
        "height": SIDE,
        "width": SIDE,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32640",
    }
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 2}
    place = {"transform": rasterio.Affine(0.5, 0, 0, 0, -0.5, 0)}
    with rasterio.open(path, "w", **form, **tiles, **place) as out:
        out.write(pixels)


def crops(path: Path) -> Callable[[], object]:
    """A crop in each of sixteen places, so that every block is decoded once."""

    def work() -> None:
        with open_raster(path) as raster:
            for row in range(128, SIDE, 512):
                for col in range(128, SIDE, 512):
                    raster.read(Window(row, col, CROP, CROP))

    return work


def mapped(path: Path, predictor: torch.nn.Module) -> Callable[[], object]:
    label_space = LabelSpace(
        classes=tuple(
            ClassInfo(name="background" if not index else f"class {index}", colour=(index, index, index))
            for index in range(CLASSES)
        )
    )
    return lambda: predict_raster(predictor, path, path.with_suffix(".map.tif"), label_space=label_space)


def window(predictor: torch.nn.Module) -> Callable[[], object]:
    side = DEFAULT_TILING.window
    tile = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)

    def work() -> None:
        with torch.inference_mode():
            predictor(tile)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"iteration of {BATCH} crops of {CROP} x {CROP} pixels, {options.encoder}: "
          f"{processor_seconds(iteration(options.encoder), options.rounds):.3f} s")  # fmt: skip
    large, small = (prepare_for_inference(network(one)) for one in (options.encoder, "tu-test_resnet"))
    side = DEFAULT_TILING.window
    print(f"window of {side} x {side} pixels, {options.encoder}: "
          f"{processor_seconds(window(large), options.rounds):.3f} s")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        write_scene(path)
        print(f"scene of {SIDE} x {SIDE} pixels: {path.stat().st_size / SIDE**2:.2f} bytes a pixel")
        print(f"crop: {1000 * processor_seconds(crops(path), options.rounds) / 16:.1f} ms")
        whole = processor_seconds(mapped(path, small), options.rounds)
        layout = DEFAULT_TILING.layout(SIDE, SIDE)
        windows = len(layout.rows) * len(layout.cols)
        alone = processor_seconds(window(small), options.rounds) * windows
        print(f"mapping besides the network: {1e9 * (whole - alone) / SIDE**2:.0f} ns a pixel "
              f"({whole:.2f} s, of which a tiny network {alone:.2f} s)")  # fmt: skip
        through = DEFAULT_TILING.network_pixels(20_000, 20_000) / 20_000**2
        print(f"pixels through the network for one of an image: {through:.2f}")


if __name__ == "__main__":
    main()
