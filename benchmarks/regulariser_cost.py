"""What each regulariser adds to an update, as a multiple of the plain one, over whole sessions.

    python benchmarks/regulariser_cost.py [--iterations 300]

The setting of the paper: Linknet/resnet34, batch 2, windows of 256 px, half overlapping, on 2000 x 2000 px,
900 labels of 3 classes, 300 iterations. All sessions run interleaved, ten iterations at a time, so that a
machine that slows down slows all of them. Printed per method: mean seconds of an iteration, its ratio to the
baseline's over the whole session and, as median and range, over the rounds.
"""

import argparse
import platform
import statistics
import tempfile
from pathlib import Path

import torch
from update_iteration import BATCH, SCENE, SIZE, network, random_clicks, write_scene

from icss_core.labels import IGNORE
from icss_core.losses import Prototypes
from icss_core.methods import (
    ClickTask,
    Preset,
    TaskContext,
    build_objective,
    get_preset,
    needs_of,
    provide_from_clicks,
)
from icss_core.raster.reader import open_raster
from icss_core.raster.tile_cache import CachedSource
from icss_core.training import Fit, IterationReport, SegmentationLearner
from icss_core.training.online_memory import OnlineMemory
from icss_core.updating.crops import CropBatches, CropSource, SweepCrops
from icss_core.updating.memory import view_of_memory
from icss_core.updating.memory_features import MemoryFeatures
from icss_core.updating.mosaic import Mosaic
from icss_core.updating.tile_runner import TileRunner
from icss_core.updating.tiles import working_area

CPU = torch.device("cpu")
ROUND = 10
PRESETS = {
    "baseline": ("icss-paper/baseline", {}),
    "podnet": ("icss-paper/podnet", {}),
    "podnet, no crop twice": ("icss-paper/podnet", {"crops.flips": True, "crops.overlap": 0.9}),
    "festa": ("icss-paper/festa", {}),
    "sdr, every label": ("icss-paper/sdr", {"regularisers.sdr.assignment": "bilinear"}),
    "sdr, every label, pooled": ("icss-paper/sdr", {}),
    "disca": ("icss-paper/disca", {}),
    "distillation": ("icss-paper/baseline", {"regularisers.distillation": {}}),
}


class Session:
    """The training of one update."""

    def __init__(self, preset: Preset, image: CropSource) -> None:
        memory = network()
        prototypes = Prototypes(torch.rand(3, 512), torch.tensor([1.0, 1.0, 0.0]))
        task = ClickTask(
            memory_output=OnlineMemory(memory, device=CPU, precision="auto"),
            memory_features=MemoryFeatures(memory, device=CPU, precision="auto"),
            prototypes=prototypes,
        )
        context = TaskContext(
            n_classes=3,
            n_old=2,
            provided=provide_from_clicks(needs_of(preset), task),
        )
        batches = CropBatches(image, [SweepCrops(image, preset.crops, seed=0)])
        learner = SegmentationLearner(network(), build_objective(preset, context), batches)
        self.fit = Fit(learner, preset.optimisation)
        self.seconds: list[float] = []

    def run(self, iterations: int) -> None:
        """Go on for some iterations."""

        def note(report: IterationReport) -> None:
            self.seconds.append(report.seconds)

        self.fit.run(until=self.fit.iteration + iterations, on_iteration=note)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=300, help="of each session")
    parser.add_argument("--only", nargs="*", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{platform.machine()}, {arguments.threads} threads, torch {torch.__version__}")
    print(f"batch {BATCH}, {SIZE} px, {SCENE} px scene, {arguments.iterations} iterations a session")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        write_scene(path)
        clicks = random_clicks()
        source = CachedSource(open_raster(path))
        area = working_area(SCENE, SCENE, clicks)
        preset = get_preset("icss-paper/baseline")
        view = view_of_memory(
            TileRunner(source=source, device=CPU),
            network(),
            area,
            clicks,
            preset.pseudo_labels,
            keep_logits=True,
            seed=0,
            progress=lambda *_: None,
        )
        logits = [tile[:2] for tile in view.logits]
        labels = [torch.from_numpy(tile % 2) for tile in view.labels]  # half road, half background
        image = CropSource(
            source=source,
            area=area,
            labels=clicks,
            maps={
                "memory_logits": Mosaic(area, logits, fill=float("nan")),
                "memory_labels": Mosaic(area, labels, fill=IGNORE),
            },
        )
        sessions = {}
        for name in dict.fromkeys(["baseline", *arguments.only]):
            base, overrides = PRESETS[name]
            length = {"optimisation.iterations": arguments.iterations + 3, "sweeps": None}
            sessions[name] = Session(get_preset(base, overrides | length), image)
        for session in sessions.values():
            session.run(3)
            session.seconds.clear()
        for done in range(0, arguments.iterations, ROUND):
            for session in sessions.values():
                session.run(ROUND)
            print(f"{done + ROUND} of {arguments.iterations}", end="\r", flush=True)
    plain = sessions["baseline"].seconds
    print("| method | s per iteration | x baseline, session | median of rounds | range |")
    print("|---|---|---|---|---|")
    for name, session in sessions.items():
        rounds = [
            statistics.mean(session.seconds[i : i + ROUND]) / statistics.mean(plain[i : i + ROUND])
            for i in range(0, len(plain), ROUND)
        ]
        total = sum(session.seconds) / sum(plain)
        low, middle, high = min(rounds), statistics.median(rounds), max(rounds)
        print(
            f"| {name} | {statistics.mean(session.seconds):.3f} | {total:.2f} | {middle:.2f} "
            f"| {low:.2f} to {high:.2f} |"
        )


if __name__ == "__main__":
    main()
