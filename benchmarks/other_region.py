"""Does an update carry over to another region and sensor? A network of Dubai, taught on drone images.

    python benchmarks/other_region.py --data ../shared/data/unclear-licence-oam-buildings \
        --memory out/memory --control out/control --out out/other-region

The memory network knows background and road of Dubai; buildings are clicked on drone images of one city, or
of three, and the network is scored on all. Roads of these images are in no truth, so what is scored is
building against everything else; of the old class stands how many of the pixels that the memory network calls
road are still road. The control network learnt buildings on Dubai, and never saw these cities.

One line per sets of clicked images, preset, seed and image in OUT/results.jsonl, resumed; the table in
OUT/table.md.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from dubai import CLASSES, read_whole
from rivals import lines

from icss_core.data.labelled_scene import LabelledScene
from icss_core.evaluation import TrueImage, map_image
from icss_core.evaluation.carry_over import update_from_truth
from icss_core.labels import IGNORE, LabelSpace
from icss_core.methods import get_preset
from icss_core.networks import Segmenter, load_model

ROAD, BUILDING = 1, 2
CLICKED = (("zanzibar_b",), ("nairobi_a",), ("kampala_a",), ("zanzibar_b", "nairobi_a", "kampala_a"))
"""Image names; what stands before the underscore is the city."""
SCORES = ("building", "rest", "road kept")
LARGE = "zanzibar_a_z21_large"


def images(data: Path) -> Iterator[TrueImage]:
    table = np.full(256, IGNORE, np.uint8)
    table[:2] = 0, BUILDING
    for path in sorted((data / "images").glob("*.tif")):
        if path.stem != LARGE:
            mask = read_whole(data / "masks" / path.name)
            yield TrueImage.of(path.stem, LabelledScene(image=read_whole(path), mask=mask, lookup=table))


def scored(network: Segmenter, image: TrueImage, road: np.ndarray) -> dict[str, float | None]:
    """IoU of building and of the rest; of the pixels in `road` the fraction that is road."""
    found, known = map_image(network, image.source), image.truth != IGNORE
    result: dict[str, float | None] = {}
    for name, ours, true in (
        ("building", found == BUILDING, image.truth == BUILDING),
        ("rest", found != BUILDING, image.truth != BUILDING),
    ):
        union = ((ours | true) & known).sum()
        result[name] = float((ours & true & known).sum() / union) if union else None
    result["road kept"] = float((found == ROAD)[road].mean()) if road.any() else None
    return result


def city_of(image: str) -> str:
    return image.split("_", maxsplit=1)[0]


def relation(image: str, clicked: tuple[str, ...]) -> str:
    if image in clicked:
        return "clicked"
    return "same city" if city_of(image) in map(city_of, clicked) else "other city"


def table(log: Path) -> str:
    found = list(lines(log))
    places = ("clicked", "same city", "other city")
    rows = ["| clicked images | network | " + " | ".join(places) + " |", "|---|---|" + "---|" * len(places)]
    for key in dict.fromkeys((len(one["clicked"]), one["what"]) for one in found):
        own = [one for one in found if (len(one["clicked"]), one["what"]) == key]
        cells = []
        for place in places:
            some = [one["score"] for one in own if one["relation"] == place]
            values = [[one[name] for one in some if one[name] is not None] for name in SCORES]
            cells.append(" / ".join(f"{100 * statistics.mean(own):.0f}" if own else "-" for own in values))
        rows.append(f"| {key[0]} | {key[1]} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--memory", type=Path, required=True, help="model folder {background, road}")
    parser.add_argument("--control", type=Path, required=True, help="{background, road, building}")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--presets", nargs="+", default=["icss", "icss-fast"])
    parser.add_argument("--clicks", type=int, default=100, help="of each of two classes, on each image")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    log: Path = arguments.out / "results.jsonl"
    done = {(tuple(one["clicked"]), one["what"], one["seed"]) for one in lines(log)}
    everything = list(images(arguments.data))
    memory, control = load_model(arguments.memory)[0], load_model(arguments.control)[0]
    road = {image.name: map_image(memory, image.source) == ROAD for image in everything}

    def note(network: Segmenter, clicked: tuple[str, ...], what: str, seed: int) -> None:
        found = [
            {
                "clicked": clicked,
                "what": what,
                "seed": seed,
                "image": image.name,
                "relation": relation(image.name, clicked),
                "score": scored(network, image, road[image.name]),
            }
            for image in everything
        ]
        with log.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(one) + "\n" for one in found)
        (arguments.out / "table.md").write_text(table(log), encoding="utf-8")
        print(f"{what}, clicked on {', '.join(clicked)}, seed {seed}", flush=True)

    for clicked in CLICKED:
        if (clicked, "control", 0) not in done:  # no seed changes it
            note(control, clicked, "control", 0)
    for seed in arguments.seeds:
        for clicked in CLICKED:
            for preset in arguments.presets:
                if (clicked, preset, seed) in done:
                    continue
                result = update_from_truth(
                    memory,
                    LabelSpace(classes=CLASSES[:2]),
                    [image for image in everything if image.name in clicked],
                    [],
                    [CLASSES[BUILDING]],
                    get_preset(preset),
                    annotations=arguments.clicks,
                    seed=seed,
                )
                note(result.network, clicked, preset, seed)
    print(table(log))


if __name__ == "__main__":
    main()
