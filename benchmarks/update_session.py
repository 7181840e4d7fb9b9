"""How long an annotator waits: one whole update of a 2000 x 2000 image by the default preset, stage by stage.

    python benchmarks/update_session.py [--preset icss] [--encoder resnet34] [--clicks 300]

The image is a GeoTIFF of a made-up town, the network a Linknet with random weights: the time does not
depend on what a network knows. Reading, the memory network's pass, the heads' fit, all iterations and the
forgetting report are in it; a service adds the transfer of the image and the registration of the result.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch

from icss_core.clicks import simulate_clicks
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.methods import get_preset
from icss_core.networks import Architecture, Normalisation, Segmenter
from icss_core.raster.reader import open_raster
from icss_core.updating import Runtime, UpdateProgress, update
from services.ingest.town import make_town


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="icss")
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--clicks", type=int, default=300, help="of each of two classes")
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    scene = make_town(seed=0, height=arguments.size, width=arguments.size)
    truth = np.where(scene.mask > 2, 0, scene.mask).astype(np.uint8)
    clicks = simulate_clicks(truth, classes=[0, 2], per_class=arguments.clicks, seed=0)
    statistics = Normalisation(mean=(110.0,) * 3, std=(50.0,) * 3)
    memory = Segmenter(Architecture(encoder=arguments.encoder, n_classes=2), statistics)
    colours = ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="road", colour=(90, 90, 90))
    new = ClassInfo(name="building", colour=(200, 0, 0))
    stages: dict[str, float] = {}
    last = time.perf_counter()

    def note(progress: UpdateProgress) -> None:
        nonlocal last
        now = time.perf_counter()
        stages[progress.stage] = stages.get(progress.stage, 0.0) + now - last
        last = now

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "town.tif"
        profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "tiled": True, "compress": "deflate"}
        with rasterio.open(
            path, "w", height=arguments.size, width=arguments.size, transform=scene.transform, **profile
        ) as out:
            out.write(scene.pixels)
        last = started = time.perf_counter()
        with open_raster(path) as source:
            preset = get_preset(arguments.preset)
            update(
                memory,
                LabelSpace(classes=colours),
                source,
                clicks,
                [new],
                preset,
                runtime=Runtime(on_progress=note),
            )
        total = time.perf_counter() - started
    print(f"{platform.machine()}, {arguments.threads} threads, torch {torch.__version__}")
    print(f"{arguments.preset}, {arguments.size} x {arguments.size} px, {len(clicks)} clicks: {total:.1f} s")
    print(", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stages.items()))


if __name__ == "__main__":
    main()
