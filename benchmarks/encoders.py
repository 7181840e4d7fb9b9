"""How long a network takes to predict a tile, by its encoder.

    python benchmarks/encoders.py [--decoder linknet] [--side 512] [--rounds 9] [--threads 2] [ENCODER ...]

Networks take turns, so that whatever else runs slows all of them; the fastest of each one's rounds counts.
"""

from __future__ import annotations

import argparse
import time

import torch

from icss_core.inference.prepare import prepare_for_inference
from icss_core.networks import Architecture, Normalisation, Segmenter

ENCODERS = ["resnet34", "tu-tf_efficientnet_lite0"]


def main() -> None:
    parser = argparse.ArgumentParser(description="seconds to predict a tile, by encoder")
    parser.add_argument("encoders", nargs="*", default=ENCODERS)
    parser.add_argument("--decoder", default="linknet")
    parser.add_argument("--side", type=int, default=512, help="of the tile, in pixels")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    normalisation = Normalisation(mean=(110,) * 3, std=(50,) * 3)
    tile = torch.randint(0, 256, (1, 3, options.side, options.side), dtype=torch.uint8)
    networks, sizes = {}, {}
    for encoder in options.encoders:
        architecture = Architecture(decoder=options.decoder, encoder=encoder, n_classes=6)
        network = Segmenter(architecture, normalisation)
        sizes[encoder] = sum(one.numel() for one in network.parameters())
        networks[encoder] = prepare_for_inference(network)
    seconds: dict[str, list[float]] = {encoder: [] for encoder in networks}
    with torch.inference_mode():
        for prepared in networks.values():
            prepared(tile)  # the first pass chooses kernels
        for _ in range(options.rounds):
            for encoder, prepared in networks.items():
                started = time.perf_counter()
                prepared(tile)
                seconds[encoder].append(time.perf_counter() - started)
    for encoder, prepared in networks.items():
        print(
            f"{options.decoder} with {encoder}: {min(seconds[encoder]):.3f} s for {options.side} x "
            f"{options.side} pixels ({prepared.dtype}, {options.threads} threads), "
            f"{sizes[encoder] / 1e6:.1f} million parameters"
        )


if __name__ == "__main__":
    main()
