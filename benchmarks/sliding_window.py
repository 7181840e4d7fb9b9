"""Sliding-window prediction against the network's forward passes alone, and against MONAI.

    python benchmarks/sliding_window.py [--size 2048] [--rounds 5] [--threads 2] [--precision auto]

In every round, one after the other on the same prepared network (Linknet/resnet34, 8 classes, 3 bands):

    forward     the network's passes over the windows of the paper's tiling (256, 50 %), on pixels in memory,
                with the batches that prediction uses; nothing else
    ours        from a GeoTIFF to a Cloud Optimised GeoTIFF at the paper's tiling, writing included
    default     the same at our default tiling
    MONAI       `sliding_window_inference` at the paper's tiling, from an array in memory to labels in memory

Prints the median seconds of each and the median over rounds of the ratios. The weights are random: time does
not depend on them.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import rasterio
import torch
from made_scene import write_made_scene

from icss_core.inference import (
    DEFAULT_TILING,
    PAPER_TILING,
    PreparedNetwork,
    Tiling,
    predict_raster,
    prepare_for_inference,
)
from icss_core.inference.prepare import logits_of
from icss_core.inference.sliding_window import windows_per_call
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks import Architecture, Segmenter, identity

CLASSES = 8
LABELS = LabelSpace(
    classes=tuple(ClassInfo(name=f"class {i}", colour=(i * 30, 0, 0)) for i in range(CLASSES))
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="side of the raster in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    torch.manual_seed(0)
    network = Segmenter(Architecture(n_classes=CLASSES), identity(3)).to(device)
    prepared = prepare_for_inference(network, options.precision)
    processor = torch.cuda.get_device_name() if device.type == "cuda" else cpu_name()
    print(
        f"{processor}, {options.threads} threads, torch {torch.__version__}, {prepared.dtype}, "
        f"{options.size} x {options.size} x 3 uint8, {CLASSES} classes"
    )
    with tempfile.TemporaryDirectory() as folder:
        scene, out = Path(folder) / "scene.tif", Path(folder) / "map.tif"
        write_made_scene(scene, options.size, options.size)
        with rasterio.open(scene) as file:
            whole = torch.from_numpy(file.read())[None]

        def ours(tiling: Tiling) -> None:
            predict_raster(prepared, scene, out, label_space=LABELS, tiling=tiling)

        cases: dict[str, Callable[[], None]] = {
            "forward": forward_passes(prepared, options.size, device),
            "ours": lambda: ours(PAPER_TILING),
            "default": lambda: ours(DEFAULT_TILING),
        }
        rival = monai(prepared, whole, device)
        if rival is not None:
            cases["MONAI"] = rival
        report(cases, options.rounds)


def forward_passes(prepared: PreparedNetwork, size: int, device: torch.device) -> Callable[[], None]:
    """The calls of the paper's tiling on one batch that stays in memory."""
    layout = PAPER_TILING.layout(size, size)
    batch = windows_per_call(layout, device, prepared.dtype)
    pixels = torch.randint(0, 256, (batch, 3, 256, 256), dtype=torch.uint8)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    calls = -(-len(layout) // batch)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(calls):
                logits_of(prepared(pixels.to(device)))
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def monai(prepared: PreparedNetwork, whole: torch.Tensor, device: torch.device) -> Callable[[], None] | None:
    """MONAI with the same network and batch, from memory to memory; None where it is not installed."""
    try:
        from monai.inferers import sliding_window_inference
    except ImportError:
        print("MONAI is not installed: left out")
        return None
    batch = windows_per_call(PAPER_TILING.layout(*whole.shape[2:]), device, prepared.dtype)

    def run() -> None:
        with torch.inference_mode():
            logits = sliding_window_inference(
                whole.float(), (256, 256), batch, lambda windows: logits_of(prepared(windows)), overlap=0.5,
                mode="constant", sw_device=device, device=torch.device("cpu"),
            )  # fmt: skip
            logits.max(1).indices.to(torch.uint8)

    return run


def report(cases: dict[str, Callable[[], None]], rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):  # the first is not counted
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    for name, values in seconds.items():
        print(
            f"{name:9} {statistics.median(values):7.2f} s  (best {min(values):.2f}, worst {max(values):.2f})"
        )
    for above, below in (("ours", "forward"), ("MONAI", "forward"), ("default", "ours"), ("ours", "MONAI")):
        if above in seconds and below in seconds:
            ratios = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
            print(
                f"{above} / {below}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            )


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
