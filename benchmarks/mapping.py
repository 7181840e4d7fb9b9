"""What it costs to spread the maps of many scenes over workers, against the network's forward passes alone.

    icss local -- python benchmarks/mapping.py [--scenes 40] [--size 1024] [--rounds 3]

Compared in each round, on the same scenes, each worker with one thread:

- forwards: the network over all windows of all scenes, which lie in memory; nothing is blended or written;
  by one process, and by two that share the scenes and start together: the limit of two workers here;
- job, 1 and 2 workers: `services.mapping`, store to store, from a worker's first task to the last map.
  What comes before, imports and loading the network, is paid once for any number of scenes, and told apart;
- Ray Data, 1 and 2 workers: the same `SceneMapper` by `map_batches` over a pool of actors, with its start.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import ray
import torch
from affine import Affine
from rich.console import Console
from rich.table import Table

from icss_core.inference import DEFAULT_TILING, prepare_for_inference
from icss_core.inference.prepare import logits_of
from icss_core.inference.sliding_window import windows_per_call
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks import Architecture, ModelCard, Normalisation, Segmenter, load_model, save_model
from services.mapping.job import run_maps
from services.mapping.planning import plan_scenes
from services.mapping.request import MapRequest
from services.mapping.scene_mapper import SceneMapper
from services.mapping.scenes import find_scenes
from services.registry import Registry
from services.settings import Settings, load_settings
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

MODEL = "mapping-benchmark"
BASE = "mapping-benchmark"


def write_scene(path: Path, size: int, seed: int) -> None:
    """A tiled GeoTIFF of smooth noise, which compresses about as imagery does."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (3, size // 16, size // 16)).repeat(16, 1).repeat(16, 2)
    pixels = (coarse + rng.integers(0, 40, coarse.shape)).astype(np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", height=size, width=size, count=3, dtype="uint8", crs="EPSG:32631",
        transform=Affine(0.5, 0, 450_000, 0, -0.5, 5_410_000), tiled=True, blockxsize=256, blockysize=256,
        compress="deflate",
    ) as file:  # fmt: skip
        file.write(pixels)


def read(path: Path) -> torch.Tensor:
    with rasterio.open(path) as file:
        return torch.from_numpy(file.read())


def register(settings: Settings, folder: Path, encoder: str) -> int:
    classes = tuple(ClassInfo(name=name, colour=(i, i, i)) for i, name in enumerate(("background", "a", "b")))
    architecture = Architecture(encoder=encoder, n_classes=3)
    normalisation = Normalisation(mean=(110.0,) * 3, std=(50.0,) * 3)
    card = ModelCard(
        architecture=architecture, normalisation=normalisation, label_space=LabelSpace(classes=classes),
        dtype="uint8", method="pretraining",
    )  # fmt: skip
    torch.manual_seed(0)
    save_model(folder, Segmenter(architecture, normalisation), card)
    run = Tracking(settings).create_run(PRETRAINING, name=MODEL, tags={})
    return Registry(settings).register(MODEL, folder, run_id=run)


def forwards(network: torch.nn.Module, scenes: list[torch.Tensor]) -> float:
    """Seconds for the windows of all scenes."""
    started = time.perf_counter()
    with torch.inference_mode():
        for scene in scenes:
            layout = DEFAULT_TILING.layout(*scene.shape[1:])
            size = windows_per_call(layout, torch.device("cpu"), network.dtype)
            windows = list(layout)
            for first in range(0, len(windows), size):
                group = windows[first : first + size]
                batch = torch.stack([scene[:, w.row : w.end_row, w.col : w.end_col] for w in group])
                logits_of(network(batch.to(memory_format=torch.channels_last)))
    return time.perf_counter() - started


def forwards_of_half(folder: str, half: int) -> float:
    """Seconds for every second scene, in a process of its own; what it needs is loaded before."""
    torch.set_num_threads(1)
    network = prepare_for_inference(load_model(Path(folder) / "model")[0])
    scenes = [read(path) for path in sorted(Path(folder).glob("*.tif"))[half::2]]
    forwards(network, scenes[:1])
    READY.wait()
    return forwards(network, scenes)


def forwards_of_two(folder: Path) -> float:
    """Seconds of the slower of two processes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        2, mp_context=context, initializer=share, initargs=(context.Barrier(2),)
    ) as processes:
        return max(processes.map(forwards_of_half, [str(folder)] * 2, (0, 1)))


def share(ready: Barrier) -> None:
    """What both processes wait at."""
    global READY  # noqa: PLW0603 - a barrier cannot be sent with a task
    READY = ready


def job(settings: Settings, request: MapRequest) -> tuple[float, float]:
    """Seconds of work, and of the whole job."""
    started = time.perf_counter()
    result = run_maps(request, settings)
    assert not result.failures
    return result.seconds, time.perf_counter() - started


class Mapping:
    """An actor of Ray Data's pool."""

    def __init__(self, request: str) -> None:
        settings = load_settings()
        torch.set_num_threads(1)
        self._mapper = SceneMapper(
            MapRequest.model_validate_json(request), Registry(settings), Storage(settings)
        )

    def __call__(self, batch: dict[str, list[object]]) -> dict[str, list[str]]:
        """Map the scenes of a batch."""
        return {"name": [self._mapper.map_scene(plan).name for plan in batch["item"]]}


def ray_data(settings: Settings, request: MapRequest) -> float:
    """Seconds of the same by Ray Data, its start included."""
    import ray.data

    storage, registry = Storage(settings), Registry(settings)
    started = time.perf_counter()
    planned = plan_scenes(find_scenes(request, storage), request, registry, storage)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_items(planned.to_do).map_batches(
        Mapping, fn_constructor_args=(request.model_dump_json(),), batch_size=1, concurrency=request.workers,
        num_cpus=1, batch_format="numpy",
    )  # fmt: skip
    assert rows.count() == len(planned.to_do)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--without-ray-data", action="store_true")
    options = parser.parse_args()
    settings = load_settings()
    torch.set_num_threads(1)
    storage, base = Storage(settings), f"{settings.data_prefix}/{BASE}/{time.time_ns()}"
    ray.init(log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        version = register(settings, folder / "model", options.encoder)
        scenes = []
        for number in range(options.scenes):
            path = folder / f"{number}.tif"
            write_scene(path, options.size, number)
            storage.upload(path, f"{base}/in/{number:03d}.tif")
            scenes.append(read(path))
        network = prepare_for_inference(load_model(folder / "model")[0])
        found: dict[str, list[float]] = {}

        def note(what: str, seconds: float) -> None:
            found.setdefault(what, []).append(seconds)

        def asked(out: str, workers: int) -> MapRequest:
            return MapRequest(
                model=MODEL, version=version, images=(f"{base}/in/",), out=f"{base}/{out}", workers=workers
            )

        for number in range(options.rounds):
            note("forwards alone", forwards(network, scenes))
            note("forwards alone, 2 processes", forwards_of_two(folder))
            for workers in (1, 2):
                working, whole = job(settings, asked(f"job-{workers}-{number}", workers))
                note(f"job, {workers} workers", working)
                note(f"job, {workers} workers, with its start", whole)
                if not options.without_ray_data:
                    seconds = ray_data(settings, asked(f"data-{workers}-{number}", workers))
                    note(f"Ray Data, {workers} workers, with its start", seconds)
    table = Table(title=f"{options.scenes} scenes of {options.size} x {options.size}, {options.encoder}")
    for column in ("what", "s, median", "s, each round", "of forwards", "of forwards of as many"):
        table.add_column(column)
    floors = [statistics.median(found[f"forwards alone{more}"]) for more in ("", ", 2 processes")]
    for what, seconds in found.items():
        median = statistics.median(seconds)
        table.add_row(
            what,
            f"{median:.1f}",
            " ".join(f"{one:.1f}" for one in seconds),
            f"{median / floors[0]:.2f}",
            f"{median / floors[', 2 ' in what]:.2f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
