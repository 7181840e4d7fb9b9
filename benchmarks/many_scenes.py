"""Memory and start-up of a training on very many small scenes, against few.

    python benchmarks/many_scenes.py [--scenes 200 20000] [--iterations 50] [--cache 64]

Scenes of 256 x 256 pixels with masks, one pair of files under many names, read as a training's worker reads
them: dataset.yaml is parsed, scenes and the windows of a validation are chosen, batches of 16 crops of 64
pixels are made. Each number of scenes runs in a process of its own; memory is what is resident over the
loaded libraries. --no-sizes leaves height and width out of dataset.yaml. Linux only.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 2**20
SIDE, BATCH, CROP, WINDOWS = 256, 16, 64, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenes", type=int, nargs="+", default=[200, 20_000])
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--cache", type=int, default=64, help="MiB of decoded pixels kept")
    parser.add_argument("--no-sizes", action="store_true")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        measure(options)
        return
    for number in options.scenes:
        with tempfile.TemporaryDirectory() as folder:
            made = time.perf_counter()
            write_scenes(Path(folder), number, sizes=not options.no_sizes)
            print(f"{number} scenes, made in {time.perf_counter() - made:.0f} s", flush=True)
            same = [
                f"--iterations={options.iterations}",
                f"--cache={options.cache}",
                f"--scenes={number}",
            ]
            subprocess.run([sys.executable, __file__, "--folder", folder, *same], check=True)


def write_scenes(folder: Path, number: int, *, sizes: bool) -> None:
    """One image and one mask under many names, and their dataset.yaml; every tenth scene validates."""
    import numpy as np
    import rasterio

    from icss_core.dataset import Dataset, Scene
    from icss_core.labels import ClassInfo, LabelSpace

    rng = np.random.default_rng(0)
    place = {"crs": "EPSG:3857", "transform": rasterio.Affine(1, 0, 10, 0, -1, 20)}
    for kind, bands, highest in (("image", 3, 256), ("mask", 1, 2)):
        form = {"driver": "GTiff", "compress": "deflate", "count": bands, "dtype": "uint8"}
        path = folder / f"{kind}.tif"
        with rasterio.open(path, "w", height=SIDE, width=SIDE, **form, **place) as target:
            target.write(rng.integers(0, highest, (bands, SIDE, SIDE)).astype(np.uint8))
    known = {"height": SIDE, "width": SIDE} if sizes else {}
    scenes = []
    for index in range(number):
        addresses = {kind: f"{kind}-{index}.tif" for kind in ("image", "mask")}
        for kind, address in addresses.items():
            os.link(folder / f"{kind}.tif", folder / address)
        split = "val" if index % 10 == 0 else "train"
        scenes.append(Scene(name=f"s{index}", split=split, labels=("a",), **addresses, **known))
    classes = (ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="a", colour=(1, 1, 1)))
    dataset = Dataset(name="many", classes=LabelSpace(classes=classes), scenes=tuple(scenes))
    (folder / "dataset.yaml").write_text(dataset.to_yaml())


class AnyFile:
    """Stands for the object store: files on this machine may be read."""

    def check_allowed(self, address: str) -> str:
        """The address itself."""
        return address


def measure(options: argparse.Namespace) -> None:
    from icss_core.data.random_crops import RandomCrops
    from icss_core.data.scene_windows import spread_windows
    from icss_core.dataset import Dataset
    from icss_core.raster.raster_pool import RasterPool
    from services.data.scenes import open_scenes

    baseline, clock = resident(), time.perf_counter()

    def tell(what: str) -> None:
        nonlocal clock
        seconds, clock = time.perf_counter() - clock, time.perf_counter()
        print(f"  {what:<24}{seconds:7.2f} s {(resident() - baseline) / MIB:7.0f} MiB", flush=True)

    text = (Path(options.folder) / "dataset.yaml").read_text()
    dataset = Dataset.from_yaml(text, base=options.folder)
    tell("dataset.yaml")
    with RasterPool(max_bytes=options.cache * MIB) as pool:
        asked = {"classes": ("a",), "storage": AnyFile(), "pool": pool}
        train, val = (open_scenes(dataset, split, **asked) for split in ("train", "val"))
        crops = RandomCrops(train, size=CROP, batch=BATCH)
        windows = spread_windows(val, size=CROP, limit=WINDOWS)
        tell("scenes and windows")
        crops(0)
        tell("first batch")
        for iteration in range(1, options.iterations):
            crops(iteration)
        tell(f"{options.iterations - 1} batches")
        for scene, window in windows:
            scene.crop(window)
        tell(f"{len(windows)} windows")
        print(
            f"  opened {pool.openings} files, {pool.open_files} open, "
            f"{pool.cached_bytes / MIB:.0f} MiB of pixels kept"
        )


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
