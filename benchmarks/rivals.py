"""What else could be done with the same clicks? Our presets beside their rivals, on the clicked image.

    python benchmarks/rivals.py --data ../shared/data/dubai-mbrsc --memory out/memory --out out/rivals

Road is old and building new. On each image as many pixels of background, road and building are clicked, the
same for all methods, and the whole image is scored. Networks get road's clicks too. Rivals:

- forest on filters: 100 trees on Gaussian, gradient magnitude, Laplacian and structure tensor of each band at
  4 scales, as interactive pixel classification has it (ilastik: Berg et al., Nature Methods 2019);
- forest, logistic regression on features: of all levels of the memory network, resized to the image;
- fine-tuning: the classifier fitted, then the memory network trained on the clicks as ours is, with nothing
  that holds what it knew;
- clicks alone: the same without a memory network, from pretrained weights where the encoder's are packaged.

One line per image, method and number of clicks in OUT/results.jsonl, resumed; the table in OUT/table.md.
"""

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from dubai import CLASSES, rows_of, true_image
from scipy import ndimage
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from icss_core.clicks import ClickSet, simulate_clicks
from icss_core.evaluation import TrueImage, map_image, score_map
from icss_core.labels import LabelSpace
from icss_core.methods import get_preset
from icss_core.networks import Segmenter, load_model
from icss_core.networks.packaged_weights import ENCODER, PACKAGE
from icss_core.raster.windows import Window
from icss_core.updating import update

NAMES = [info.name for info in CLASSES]
SPACE = LabelSpace(classes=CLASSES[:2])
SCALES = (0.7, 1.6, 3.5, 8.0)
NOTHING_HELD = {
    "regularisers.distillation.weight": 0,
    "hypercolumn.iterations": 0,
    "pseudo_labels.kind": "none",
    "prevalence.iterations": 0,
}
# a decoder from random weights has no statistics to keep, and further to go
FROM_SCRATCH = {"optimisation.batch_norm": "train", "optimisation.lr": 1e-3, "optimisation.iterations": 300}


class Answer(NamedTuple):
    """A class map, and the seconds from clicks to what maps."""

    labels: np.ndarray
    seconds: float


Method = Callable[[Segmenter, TrueImage, ClickSet], Answer]


def by_update(preset: str, overrides: dict[str, object], *, untrained: bool = False) -> Method:
    def answer(memory: Segmenter, image: TrueImage, clicks: ClickSet) -> Answer:
        if untrained:
            torch.manual_seed(0)
            weights = PACKAGE if memory.architecture.encoder == ENCODER else None
            architecture = memory.architecture.model_copy(update={"encoder_weights": weights})
            memory = Segmenter(architecture, memory.normalisation)
        started = time.perf_counter()
        result = update(memory, SPACE, image.source, clicks, [CLASSES[2]], get_preset(preset, overrides))
        seconds = time.perf_counter() - started
        return Answer(map_image(result.network, image.source), seconds)

    return answer


def filters(pixels: np.ndarray) -> np.ndarray:
    """(60, H, W) of 3 bands."""
    found = []
    for band in pixels.astype(np.float32):
        for scale in SCALES:
            across, down = (ndimage.gaussian_filter(band, scale, order=order) for order in ((0, 1), (1, 0)))
            xx, xy, yy = (ndimage.gaussian_filter(one, scale) for one in (across**2, across * down, down**2))
            half, root = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
            found += [
                ndimage.gaussian_filter(band, scale),
                ndimage.gaussian_gradient_magnitude(band, scale),
                ndimage.gaussian_laplace(band, scale),
                half + root,
                half - root,
            ]
    return np.stack(found)


@torch.inference_mode()
def features(memory: Segmenter, pixels: np.ndarray) -> np.ndarray:
    """(D, H, W) of all levels of the network, and its logits."""
    height, width = pixels.shape[1:]
    padding = (0, -width % memory.input_size.multiple, 0, -height % memory.input_size.multiple)
    batch = functional.pad(torch.from_numpy(pixels)[None].float(), padding, mode="reflect")
    output = memory.eval()(batch, with_levels=True)
    maps = [output.logits, *output.columns]
    channels = sum(one.shape[1] for one in maps)
    found = np.empty((channels, height, width), np.float16)
    first = 0
    for one in maps:
        resized = functional.interpolate(
            one.float(), size=batch.shape[2:], mode="bilinear", align_corners=False
        )
        found[first : first + one.shape[1]] = resized[0, :, :height, :width].half().numpy()
        first += one.shape[1]
    return found


def by_classifier(make: Callable[[], ClassifierMixin], *, on_filters: bool) -> Method:
    def answer(memory: Segmenter, image: TrueImage, clicks: ClickSet) -> Answer:
        started = time.perf_counter()
        pixels = image.source.read(Window(0, 0, image.source.height, image.source.width)).values
        columns = filters(pixels) if on_filters else features(memory, pixels)
        classifier = make()
        classifier.fit(columns[:, clicks.rows, clicks.cols].T.astype(np.float32), clicks.labels)
        seconds = time.perf_counter() - started
        flat = columns.reshape(len(columns), -1)
        parts = np.array_split(np.arange(flat.shape[1]), 16)
        labels = np.concatenate([classifier.predict(flat[:, part].T.astype(np.float32)) for part in parts])
        return Answer(labels.reshape(columns.shape[1:]).astype(np.uint8), seconds)

    return answer


def forest() -> ClassifierMixin:
    return RandomForestClassifier(100, class_weight="balanced", random_state=0)


def logistic() -> ClassifierMixin:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500, class_weight="balanced"))


METHODS: dict[str, Method] = {
    "icss": by_update("icss", {}),
    "icss-fast": by_update("icss-fast", {}),
    "classifier alone": by_update("icss", {"hypercolumn.iterations": 0, "optimisation.iterations": 200}),
    "forest on filters": by_classifier(forest, on_filters=True),
    "forest on features": by_classifier(forest, on_filters=False),
    "logistic regression on features": by_classifier(logistic, on_filters=False),
    "fine-tuning": by_update("icss", NOTHING_HELD),
    "clicks alone": by_update("icss", {**NOTHING_HELD, **FROM_SCRATCH}, untrained=True),
}


def lines(path: Path) -> Iterator[dict]:
    if path.exists():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def table(log: Path) -> str:
    found = list(lines(log))
    counts = sorted({one["clicks"] for one in found})
    rows = [
        f"| {' | '.join(['method', *(f'{count} clicks' for count in counts), 'seconds'])} |",
        f"|{'---|' * (len(counts) + 2)}",
    ]
    for method in dict.fromkeys(one["method"] for one in found):
        own = [one for one in found if one["method"] == method]
        cells = []
        for count in counts:
            some = [one for one in own if one["clicks"] == count]
            per_class = [
                statistics.mean(one["iou"][name] * 100 for one in some if one["iou"][name] is not None)
                for name in NAMES
                if some
            ]
            means = [one["mean"] * 100 for one in some]
            cells.append(
                f"**{statistics.mean(means):.1f}** ({' / '.join(f'{one:.0f}' for one in per_class)})"
                if some
                else ""
            )
        seconds = statistics.median(one["seconds"] for one in own)
        rows.append(f"| {' | '.join([method, *cells, f'{seconds:.1f}'])} |")
    return "\n".join(rows) + "\n"


def chosen_images(arguments: argparse.Namespace) -> Iterator[TrueImage]:
    """The first images of a district that show enough of the new class."""
    for district in arguments.districts:
        number = 0
        rows = [row for split in ("train", "val") for row in rows_of(arguments.data, split)]
        for row in sorted(rows, key=lambda one: one["name"]):
            if not re.match(district, row["name"]) or "noisy" in row["note"]:
                continue
            image = true_image(arguments.data, row["name"])
            if min(np.bincount(image.truth[image.truth < 3], minlength=3)) >= max(arguments.clicks):
                yield image
                number += 1
            if number == arguments.images:
                break


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--memory", type=Path, required=True, help="model folder {background, road}")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--districts", nargs="+", default=["t7_", "t8_"], help="that the network never saw")
    parser.add_argument("--images", type=int, default=3, help="of each district")
    parser.add_argument("--clicks", type=int, nargs="+", default=[3, 10, 30, 100, 300])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    log: Path = arguments.out / "results.jsonl"
    done = {(one["image"], one["method"], one["clicks"]) for one in lines(log)}
    for image in chosen_images(arguments):
        for clicks, method in ((c, m) for c in arguments.clicks for m in arguments.methods):
            if (image.name, method, clicks) in done:
                continue
            given = simulate_clicks(image.truth, classes=[0, 1, 2], per_class=clicks, seed=0)
            answer = METHODS[method](load_model(arguments.memory)[0], image, given)
            score = score_map(answer.labels, image.truth, NAMES)
            line = {
                "image": image.name,
                "method": method,
                "clicks": clicks,
                "iou": dict(score.iou),
                "mean": score.mean,
                "seconds": answer.seconds,
            }
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{image.name} {method} {clicks}: {score.mean:.3f} in {answer.seconds:.1f} s", flush=True)
            (arguments.out / "table.md").write_text(table(log), encoding="utf-8")
    print(table(log))


if __name__ == "__main__":
    main()
