"""How good is an update on real images? Dubai validation images, road old, building new, some seeds.

    python benchmarks/dubai.py --data ../shared/data/dubai-mbrsc --out out/dubai [--preset icss]

Pretrains a memory network {background, road} and a control network {background, road, building} on the
training images with the same recipe, then for each validation image and seed simulates clicks, updates a
copy of the memory network, and scores the whole image. Everything is written as it comes and resumed: models
under OUT/memory and OUT/control, one line per image, preset and seed in OUT/results.jsonl, and the table in
OUT/table.md. Scenes whose split.csv notes noisy masks are left out of training.
"""

import argparse
import csv
import json
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from icss_core.data.labelled_scene import LabelledScene
from icss_core.data.random_crops import RandomCrops
from icss_core.evaluation import ImageScore, TrueImage, map_image, run_session, score_map
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.methods import get_preset
from icss_core.networks import (
    Architecture,
    ModelCard,
    Segmenter,
    estimate_normalisation,
    load_model,
    save_model,
)
from icss_core.raster.reader import open_raster
from icss_core.raster.source import ArraySource
from icss_core.raster.windows import Window
from icss_core.training import (
    Fit,
    IterationReport,
    Optimisation,
    SegmentationLearner,
    cross_entropy_objective,
)

LAND, BUILDING, ROAD = 0, 1, 2
CLASSES = (
    ClassInfo(name="background", colour=(160, 160, 160)),
    ClassInfo(name="road", colour=(110, 193, 228)),
    ClassInfo(name="building", colour=(60, 16, 152)),
)


def lookup(*, building: int) -> np.ndarray:
    """Table from the set's ids to {background, road, building or background}."""
    table = np.full(256, 255, np.uint8)
    table[:5] = 0
    table[ROAD], table[BUILDING] = 1, building
    return table


def read_whole(path: Path) -> ArraySource:
    with open_raster(path) as raster:
        pixels = raster.read(Window(0, 0, raster.height, raster.width))
    return ArraySource(pixels.values, pixels.valid)


def rows_of(data: Path, split: str) -> list[dict[str, str]]:
    with (data / "split.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def pretrained(kind: str, arguments: argparse.Namespace) -> Segmenter:
    """The memory or the control network: loaded, or trained from where an interrupted run stopped."""
    folder: Path = arguments.out / kind
    if (folder / "model.json").exists():
        return load_model(folder)[0]
    n_classes = 2 if kind == "memory" else 3
    table = lookup(building=0 if kind == "memory" else 2)
    scenes = [
        LabelledScene(
            image=read_whole(arguments.data / "images" / f"{row['name']}.jpg"),
            mask=read_whole(arguments.data / "masks" / f"{row['name']}.png"),
            lookup=table,
        )
        for row in rows_of(arguments.data, "train")
        if "noisy" not in row["note"]
    ]
    normalisation = estimate_normalisation([scene.image for scene in scenes], windows_per_source=8)
    torch.manual_seed(0)
    network = Segmenter(Architecture(encoder=arguments.encoder, n_classes=n_classes), normalisation)
    plan = Optimisation(lr=1e-3, schedule="cosine", warmup=50, iterations=arguments.iterations)
    crops = RandomCrops(scenes, size=256, batch=8, seed=1)
    fit = Fit(SegmentationLearner(network, cross_entropy_objective, crops), plan)
    checkpoint = folder.with_suffix(".checkpoint")
    if checkpoint.exists():
        fit.load_state_dict(torch.load(checkpoint, weights_only=True))
    losses: list[float] = []

    def note(report: IterationReport) -> None:
        losses.append(report.loss)
        if report.iteration % 100 == 0:
            done = f"{report.iteration}/{report.iterations}"
            print(f"{kind} {done} loss {np.mean(losses[-100:]):.3f}", flush=True)
            torch.save(fit.state_dict(), checkpoint)

    fit.run(on_iteration=note)
    card = ModelCard(
        architecture=network.architecture,
        normalisation=normalisation,
        label_space=LabelSpace(classes=CLASSES[:n_classes]),
        method="pretraining",
        parameters=plan.model_dump(),
    )
    save_model(folder, network, card)
    checkpoint.unlink(missing_ok=True)
    return network.eval()


def true_image(data: Path, name: str) -> TrueImage:
    """A validation image with its truth in {background, road, building}."""
    scene = LabelledScene(
        image=read_whole(data / "images" / f"{name}.jpg"),
        mask=read_whole(data / "masks" / f"{name}.png"),
        lookup=lookup(building=2),
    )
    return TrueImage.of(name, scene)


def flat(score: ImageScore) -> dict[str, float | None]:
    """IoU per class and their mean, beside each other."""
    return {**score.iou, "mean": score.mean}


def measure(arguments: argparse.Namespace) -> None:
    memory, control = pretrained("memory", arguments), pretrained("control", arguments)
    space = LabelSpace(classes=CLASSES[:2])
    log: Path = arguments.out / "results.jsonl"
    done = {(r["image"], r["what"], r["seed"]) for r in lines(log)}
    preset = get_preset(arguments.preset, json.loads(arguments.overrides))
    label = arguments.label or arguments.preset
    for row in rows_of(arguments.data, "val")[: arguments.images]:
        name = row["name"]
        wanted = [(name, "memory", 0), (name, "control", 0)]
        wanted += [(name, label, seed) for seed in range(arguments.seeds)]
        if done.issuperset(wanted):
            continue
        true = true_image(arguments.data, name)
        names = [info.name for info in CLASSES]
        for image, what, seed in wanted:
            if (image, what, seed) in done:
                continue
            started, more = time.perf_counter(), {}
            if what in {"memory", "control"}:
                network = memory if what == "memory" else control
                score = score_map(map_image(network, true.source), true.truth, names)
            else:
                found, _ = run_session(
                    memory, space, true, [CLASSES[2]], preset, annotations=arguments.clicks, seed=seed
                )
                more = {"seconds_update": found.seconds, "warnings": found.warnings}
                score = found.last
            seconds = round(time.perf_counter() - started, 1)
            line = {
                "image": image,
                "what": what,
                "seed": seed,
                **flat(score),
                "seconds": seconds,
                **more,
            }
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    table = tabulate(list(lines(log)))
    (arguments.out / "table.md").write_text(table, encoding="utf-8")
    print(table)


def lines(log: Path) -> Iterable[dict]:
    if log.exists():
        yield from (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())


def tabulate(results: list[dict]) -> str:
    """Image-wise means in points of IoU, plus minus the deviation over seeds, and the targets per method."""
    out = ["| network | background | road | building | mean | images below memory | of control |"]
    out.append("|---|---|---|---|---|---|---|")
    floor = {r["image"]: r["mean"] for r in results if r["what"] == "memory"}
    images = {r["image"] for r in results}
    ceiling = statistics.mean([r["mean"] for r in results if r["what"] == "control"] or [float("nan")])
    for what in dict.fromkeys(r["what"] for r in results):
        mine = [r for r in results if r["what"] == what and r["image"] in images]
        by_seed: dict[int, list[dict]] = {}
        for result in mine:
            by_seed.setdefault(result["seed"], []).append(result)
        cells = []
        for key in ("background", "road", "building", "mean"):
            means = [
                100 * statistics.mean(r[key] for r in group if r[key] is not None)
                for group in by_seed.values()
            ]
            spread = f" ± {statistics.stdev(means):.1f}" if len(means) > 1 else ""
            cells.append(f"{statistics.mean(means):.1f}{spread}")
        below = sum(r["mean"] < floor[r["image"]] for r in mine)
        share = statistics.mean(r["mean"] for r in mine) / ceiling
        out.append(f"| {what} | {' | '.join(cells)} | {below} of {len(mine)} | {share:.0%} |")
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with images/, masks/ and split.csv")
    parser.add_argument("--out", type=Path, default=Path("out/dubai"))
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--iterations", type=int, default=1200, help="of each pretraining, batch 8, 256 px")
    parser.add_argument("--preset", default="icss")
    parser.add_argument("--overrides", default="{}", help="JSON, as in the HTTP API")
    parser.add_argument("--label", help="name of the row; default: the preset's")
    parser.add_argument("--clicks", type=int, default=300, help="per class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=None, help="only the first so many")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    measure(arguments)


if __name__ == "__main__":
    main()
