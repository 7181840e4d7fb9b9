"""Does our default tiling give the class map of the paper's? Dubai validation images, a trained network.

    python benchmarks/tiling_agreement.py --data ../shared/data/dubai-mbrsc --model out/dubai/control

The model is the control network that `benchmarks/dubai.py` leaves behind. Prints mean IoU against the
truth for the paper's tiling, ours, and ours in float32, and the share of equal labels.
"""

import argparse
from pathlib import Path

import numpy as np
from dubai import CLASSES, rows_of, true_image

from icss_core.evaluation import score_map
from icss_core.inference.sinks import ArraySink
from icss_core.inference.sliding_window import predict
from icss_core.inference.tiling import DEFAULT_TILING, PAPER_TILING
from icss_core.networks import load_model

VARIANTS = ((PAPER_TILING, "auto"), (DEFAULT_TILING, "auto"), (DEFAULT_TILING, "float32"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    arguments = parser.parse_args()
    network, _ = load_model(arguments.model)
    names, results = [info.name for info in CLASSES], []
    for row in rows_of(arguments.data, "val"):
        image = true_image(arguments.data, row["name"])
        source, maps = image.source, []
        for tiling, precision in VARIANTS:
            sink = ArraySink(source.height, source.width)
            predict(network, source, sink, n_classes=3, tiling=tiling, precision=precision)
            maps.append(sink.labels)
        paper, ours, exact = maps
        scores = [100 * score_map(labels, image.truth, names).mean for labels in maps]
        results.append([*scores, 100 * (paper == ours).mean(), 100 * (ours == exact).mean()])
        print(row["name"], np.round(results[-1], 2).tolist(), flush=True)
    columns = ("paper", "ours", "ours float32", "equal labels paper/ours", "equal labels ours/float32")
    print(dict(zip(columns, np.mean(results, axis=0).round(2).tolist(), strict=True)))


if __name__ == "__main__":
    main()
