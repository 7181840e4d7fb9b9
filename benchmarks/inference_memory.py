"""Peak resident memory of predicting a large raster, over that of the loaded model.

    python benchmarks/inference_memory.py [--size 8192] [--threads 2] [--tiling default] [--monai]

Linknet/resnet34, 8 classes, 3 bands uint8, from a GeoTIFF to a Cloud Optimised GeoTIFF: reading, the
network's own activations, blending and writing included. Every case runs in a process of its own; the
baseline is taken after the model is built and before anything is predicted. With --monai the same network in
MONAI's `sliding_window_inference`, from a file read whole to labels in memory (it wants some GiB).
Linux only.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from made_scene import write_made_scene

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=8192, help="side of the raster in pixels")
    parser.add_argument("--height", type=int, help="rows, if not the same as --size")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tiling", choices=["default", "paper"], default="default")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--confidence", action="store_true", help="write the confidence band too")
    parser.add_argument("--monai", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        measure(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        scene = str(Path(folder) / "scene.tif")
        height = options.height or options.size
        # in a process of its own, so that nothing of it stays in ours
        subprocess.run([sys.executable, __file__, "--worker", f"make:{scene}", *sys.argv[1:]], check=True)
        print(
            f"{platform.machine()}, {options.threads} threads, {height} x {options.size} x 3 uint8, 8 classes"
        )
        for case in ["ours", *(["monai"] if options.monai else [])]:
            subprocess.run(
                [sys.executable, __file__, "--worker", f"{case}:{scene}", *sys.argv[1:]], check=True
            )  # fmt: skip


def measure(options: argparse.Namespace) -> None:
    case, scene = options.worker.split(":", 1)
    if case == "make":
        write_made_scene(Path(scene), options.height or options.size, options.size)
        return
    import torch

    from icss_core.inference import DEFAULT_TILING, PAPER_TILING, predict_raster
    from icss_core.labels import ClassInfo, LabelSpace
    from icss_core.networks import Architecture, Segmenter, identity

    torch.set_num_threads(options.threads)
    network = Segmenter(Architecture(n_classes=8), identity(3))
    tiling = DEFAULT_TILING if options.tiling == "default" else PAPER_TILING
    if case == "monai":
        from monai.inferers import sliding_window_inference
    baseline = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start = time.perf_counter()
    if case == "ours":
        labels = LabelSpace(
            classes=tuple(ClassInfo(name=f"class {i}", colour=(i * 30, 0, 0)) for i in range(8))
        )
        predict_raster(
            network, scene, Path(scene).with_name("map.tif"), label_space=labels, tiling=tiling,
            precision=options.precision, confidence=options.confidence,
        )  # fmt: skip
    else:
        import rasterio

        network.eval()
        with rasterio.open(scene) as file, torch.inference_mode():
            pixels = torch.from_numpy(file.read())[None].float()
            logits = sliding_window_inference(
                pixels, (tiling.window, tiling.window), 2**19 // tiling.window**2,
                lambda windows: network(windows).logits, overlap=tiling.overlap / tiling.window,
                mode=tiling.blend,
            )  # fmt: skip
            logits.max(1).indices.to(torch.uint8)
    seconds = time.perf_counter() - start
    peak = resident("VmHWM")
    print(
        f"{case:6} {options.tiling} tiling: peak {(peak - baseline) / MIB:.0f} MiB over the loaded model "
        f"({baseline / MIB:.0f} MiB), {seconds:.1f} s"
    )


def resident(field: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (peak) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    main()
