"""What more workers come to, and how many annotators a service is enough for: a model, and a check of it.

    python benchmarks/scale_model.py [--out scale/] [--measure]

Discrete-event simulations (scale_simulations.py) of a data-parallel training and of a map of a region with 1
to 64 workers, and of updates by 1 to 1,000 annotators, fed with the costs in scale_costs.yaml. Each cost
says whether it was measured, counted, taken from a data sheet or assumed. Where a GPU is named nothing was
measured: two numbers are the two ends of how well it may be used. --out writes the tables as CSV, and a
plot. --measure runs one and two workers of Ray on this machine, two minutes if it is idle, and prints the
error of what the model says of them.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from scale_costs import (
    BATCH,
    COSTS,
    CROP,
    PROCESSOR_CROP,
    Costs,
    GpuUse,
    gpu_seconds,
    map_costs,
    map_pixels_per_second,
    read_costs,
    training_costs,
    uses,
)
from scale_simulations import Waits, annotators, annotators_per_service, map_scenes, train, varied

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = (1, 2, 4, 8, 16, 32, 64)
ANNOTATORS = (1, 3, 10, 30, 100, 300, 1000)
PATIENCE = (60, 300, 900)
"""Seconds that somebody may wait."""
ITERATIONS = 150
AREA_KM2, METRES = 100_000, 0.5
PIXELS_PER_KM2 = (1000 / METRES) ** 2


@dataclass
class Report:
    """A table, to be shown and written down."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row."""
        self.rows.append([str(cell) for cell in cells])

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table(title=self.title)
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def write(self, folder: Path) -> None:
        """Write it down as CSV."""
        with (folder / f"{self.name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows(self.rows)


Series = dict[str, list[tuple[float, float]]]
"""For the plot: by legend, x and y."""


def number(value: float) -> str:
    """Two digits that count, or whole numbers."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def between(low: float, high: float) -> str:
    """A range, as one number where both look alike."""
    return number(low) if number(low) == number(high) else f"{number(low)} to {number(high)}"


def percent(low: float, high: float) -> str:
    """Of parts."""
    return f"{100 * low:.0f} %" if round(100 * low) == round(100 * high) else f"{100 * low:.0f} to {high:.0%}"


def trainings(costs: Costs) -> tuple[Report, Series]:
    """Crops a second of trainings of a Linknet with resnet34."""
    name = "resnet34"
    low, high = uses(costs)

    def on_gpu(gpu: str, use: GpuUse, *, cold: bool):
        compute = BATCH * CROP**2 * gpu_seconds(costs, gpu, name, use, learning=True)
        return training_costs(costs, compute=compute, crop=CROP, gpu=gpu, network=name, cold=cold)

    seconds = BATCH * costs[f"network.{name}.processor_seconds_per_crop"] / costs["processor.cores"]
    alone = training_costs(costs, compute=seconds, crop=PROCESSOR_CROP, gpu=None, network=name, cold=False)
    kinds = {
        f"nodes of 2 cores, crops of {PROCESSOR_CROP}": [alone],
        f"L4, crops of {CROP}, files near": [on_gpu("L4", use, cold=False) for use in (low, high)],
        "L4, every crop from the store": [on_gpu("L4", use, cold=True) for use in (low, high)],
        f"A100, crops of {CROP}, files near": [on_gpu("A100", use, cold=False) for use in (low, high)],
    }
    report = Report(
        "training", "Training, crops a second (part of the time in which a worker waits)", ["workers", *kinds]
    )
    series: Series = {}
    for workers in WORKERS:
        cells = []
        for kind, ends in kinds.items():
            done = [train(one, workers, ITERATIONS) for one in ends]
            rates = [one.samples_per_second for one in done]
            idle = [one.idle_share for one in done]
            cells.append(f"{between(min(rates), max(rates))} ({percent(min(idle), max(idle))})")
            one_worker = train(ends[-1], 1, ITERATIONS).samples_per_second
            series.setdefault(kind, []).append((workers, rates[-1] / one_worker / workers))
        report.add(workers, *cells)
    return report, series


def maps(costs: Costs) -> tuple[Report, Series]:
    """Square kilometres an hour."""
    low, high = uses(costs)
    kinds = {
        "nodes of 2 cores, resnet34": [map_pixels_per_second(costs, "resnet34", None, None)],
        "nodes of 2 cores, lite0": [map_pixels_per_second(costs, "lite0", None, None)],
        "L4, resnet34": [map_pixels_per_second(costs, "resnet34", "L4", use) for use in (low, high)],
        "A100, resnet34": [map_pixels_per_second(costs, "resnet34", "A100", use) for use in (low, high)],
    }
    side = costs["map.scene_side"]
    scenes = round(AREA_KM2 * PIXELS_PER_KM2 / side**2)
    title = f"Maps at {METRES} m, km² an hour, {scenes:,} scenes of {side:,.0f} x {side:,.0f} pixels"
    report = Report("maps", title, ["workers", *kinds])
    series: Series = {}
    for workers in WORKERS:
        cells = []
        for kind, rates in kinds.items():
            ends = [map_costs(costs, pixels_per_second=rate) for rate in rates]
            hours = [map_scenes(one, workers, [side**2] * scenes) / 3600 for one in ends]
            cells.append(between(AREA_KM2 / max(hours), AREA_KM2 / min(hours)))
            series.setdefault(kind, []).append((workers, AREA_KM2 / min(hours)))
        report.add(workers, *cells)
    return report, series


def a_day(costs: Costs) -> Report:
    """What it takes to map an area within a day."""
    cores = costs["map.host_cores"]
    report = Report(
        "day",
        f"{AREA_KM2:,} km² at {METRES} m within a day",
        [
            "network and worker",
            "network alone, Mpixel/s",
            "cores that feed it",
            f"with {cores:.0f} cores, Mpixel/s",
            "workers for a day",
            "hours of them together",
        ],
    )
    pixels = AREA_KM2 * PIXELS_PER_KM2
    overhead = costs["map.scene"] * pixels / costs["map.scene_side"] ** 2
    for network in ("resnet34", "lite0"):
        for gpu in (None, *costs.family("gpu")):
            ends = uses(costs) if gpu else (None,)
            rates = [map_pixels_per_second(costs, network, gpu, use) for use in ends]
            hours = [(pixels / rate + overhead) / 3600 for rate in rates]
            workers = [math.ceil(hour / 24) for hour in hours]
            alone = [
                1 / (costs["map.network_pixels"] * gpu_seconds(costs, gpu, network, use, learning=False))
                for use in ends
                if gpu and use
            ]
            feeding = [rate * costs["map.host_seconds_per_pixel"] for rate in alone]
            where = gpu or f"a node of {costs['processor.cores']:.0f} cores"
            report.add(
                f"{network}, {where}",
                between(min(alone) / 1e6, max(alone) / 1e6) if alone else "",
                between(min(feeding), max(feeding)) if alone else "",
                between(min(rates) / 1e6, max(rates) / 1e6),
                between(min(workers), max(workers)),
                between(min(hours), max(hours)),
            )
    return report


UPDATES = {
    "icss, 2 cores": "icss",
    "icss-fast, 2 cores": "icss-fast",
    "icss, a GPU (assumed)": "icss-gpu",
}


def waits_of(costs: Costs, kind: str) -> Callable[[int], Waits]:
    """How so many annotators of one service wait."""
    mean = costs[f"update.{kind}.seconds"] + costs["update.service_seconds"]

    def waits(people: int) -> Waits:
        return annotators(
            people,
            think=lambda rng: rng.expovariate(1 / costs["update.think_seconds"]),
            service=lambda rng: varied(rng, mean, costs["update.variation"]),
            hours=max(40.0, 5 * people * mean / 3600),
            limit=int(costs["update.waiting_limit"]),
        )

    return waits


def updates(costs: Costs) -> tuple[list[Report], Series]:
    """How long updates wait, and how many annotators a service is enough for."""
    waiting = Report(
        "waits",
        "One service: waiting for the turn, mean / 95 of 100 (refused at first)",
        ["annotators", *UPDATES],
    )
    series: Series = {}
    for people in ANNOTATORS:
        cells = []
        for kind, name in UPDATES.items():
            found = waits_of(costs, name)(people)
            cells.append(f"{duration(found.mean)} / {duration(found.most)} ({found.refused:.0%})")
            series.setdefault(kind, []).append((people, max(found.most, 1.0)))
        waiting.add(people, *cells)
    services = Report(
        "services",
        "Annotators of one service, and services for 1,000, where 95 of 100 updates wait no longer than",
        ["seconds", *UPDATES],
    )
    for patience in PATIENCE:
        most = [annotators_per_service(patience, waits_of(costs, name)) for name in UPDATES.values()]
        services.add(patience, *(f"{one}; {-(-1000 // one)}" for one in most))
    return [waiting, services], series


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def plot(path: Path, training: Series, mapping: Series, waiting: Series) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(17, 5))
    for axis, series, title, across, up in (
        (axes[0], training, "Training: throughput, of that of as many alone", "workers", "part"),
        (axes[1], mapping, f"Maps at {METRES} m", "workers", "km² an hour"),
        (axes[2], waiting, "Updates: 95 of 100 wait no longer", "annotators", "seconds"),
    ):
        for label, points in series.items():
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
        axis.set_title(title)
        axis.set_xlabel(across)
        axis.set_ylabel(up)
        axis.set_xscale("log", base=2 if across == "workers" else 10)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        if series is not training:
            axis.set_yscale("log")
        axis.legend(fontsize=7)
        axis.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def check(costs: Costs, console: Console) -> Report:
    """Measure, and compare."""
    from scale_measure import measure

    console.print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    starts = {
        f"{kind} {workers}": costs[f"start.{kind}.{workers}"]
        for kind in ("training", "map")
        for workers in (1, 2)
    }
    points, measured = measure(starts)
    report = Report("check", "The model and this machine", ["", "predicted", "measured", "unit", "error"])
    for point in points:
        report.add(
            point.what, number(point.predicted), number(point.measured), point.unit, f"{point.error:+.0%}"
        )
    for name, value in measured.items():
        console.print(f"measured on the way: {name}: {value:.3g}")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--costs", type=Path, default=COSTS, help="a file like scale_costs.yaml")
    parser.add_argument("--out", type=Path, help="folder for CSV files and a plot")
    parser.add_argument("--measure", action="store_true", help="run one and two workers here, and compare")
    options = parser.parse_args()
    costs, console = read_costs(options.costs), Console(width=150)
    training, throughput = trainings(costs)
    mapping, area = maps(costs)
    waiting, waits = updates(costs)
    reports = [training, mapping, a_day(costs), *waiting]
    for report in reports:
        report.show(console)
    if options.measure:
        reports.append(check(costs, console))
        reports[-1].show(console)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for report in reports:
            report.write(options.out)
        plot(options.out / "scale.png", throughput, area, waits)


if __name__ == "__main__":
    main()
