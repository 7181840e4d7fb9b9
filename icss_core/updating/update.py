"""One step: a memory network, an image and a few clicks in, an updated network out."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from icss_core.compute.device import default_device
from icss_core.errors import BandMismatchError, ClickError, InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.methods import TaskContext, build_objective, needs_of
from icss_core.raster.tile_cache import CachedSource
from icss_core.training import Fit, IterationReport
from icss_core.training.online_memory import OnlineMemory
from icss_core.updating.comparison import compare_on_tiles
from icss_core.updating.crops import CropSource, LabelledCrops, SweepCrops, sweep_windows
from icss_core.updating.head_fit import fit_classifier
from icss_core.updating.memory import labelled_rows, remember
from icss_core.updating.memory_features import MemoryFeatures
from icss_core.updating.mosaic import Mosaic
from icss_core.updating.prevalence import adapt_to_prevalence
from icss_core.updating.progress import UpdateClock
from icss_core.updating.tiles import working_area

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from icss_core.clicks.click_set import ClickSet
    from icss_core.data.batch import Batch
    from icss_core.labels import ClassInfo, LabelSpace
    from icss_core.methods import Preset
    from icss_core.metrics.forgetting import ForgettingReport
    from icss_core.networks.segmenter import Segmenter
    from icss_core.raster.source import RasterSource
    from icss_core.updating.progress import Progress
    from icss_core.updating.tiles import WorkingArea


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """What a step leaves behind."""

    network: Segmenter
    """The updated network, float32, in eval mode, on the device it was trained on."""
    label_space: LabelSpace
    history: list[IterationReport]
    pseudo_labels: dict[str, int]
    """Pixels that the memory network labelled, by old class of interest; 0 where it was sure of none."""
    forgetting: ForgettingReport
    warnings: list[str]
    """Plain sentences for the annotator; empty when nothing looks wrong."""
    seconds: float


def update(
    memory: Segmenter,
    label_space: LabelSpace,
    source: RasterSource,
    clicks: ClickSet,
    new_classes: Sequence[ClassInfo],
    preset: Preset,
    *,
    seed: int = 0,
    device: torch.device | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_step: Callable[[IterationReport], None] | None = None,
    on_round: Callable[[int, Segmenter], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> UpdateResult:
    """Teach a network new classes from clicks on one image.

    The memory network is not changed. The same arguments and seed give the same network on the same machine.

    Args:
        memory: the network to extend.
        label_space: its classes.
        source: the image; any size, only its working area is read.
        clicks: pixels of the image, labels of the *extended* label space; at least one of each new class.
        new_classes: what is to be added, in the order of their labels.
        preset: method and numbers.
        seed: of everything random.
        device: where to compute; None: a GPU if there is one.
        on_progress: told about every tile and iteration.
        on_step: told about every iteration of the training.
        on_round: shown the network, in eval mode, after each of the preset's learning steps but the
            last, counted from 1. Looking costs what the caller does; an update by itself predicts nothing on
            the way.
        should_stop: asked between tiles and iterations.

    Raises:
        ClassExistsError: a new class is in the label space already.
        ClickError: no click at all, or none of a new class, or a click off the raster.
        BandMismatchError: the image has other bands than the network.
        InvalidParameterError: the label space is not the network's, or a label is outside the extended one.
        TrainingDivergedError: the loss became infinite or undefined.
        CancelledError: `should_stop` said so.
    """
    started = time.perf_counter()
    extended = label_space.extend(*new_classes)
    _validate_args(memory, label_space, extended, source, clicks)
    device = device or default_device()
    memory = memory.to(device)
    needs = needs_of(preset)
    precision = preset.optimisation.precision
    cached = CachedSource(source)
    area = working_area(source.height, source.width, clicks, limit=preset.tiles, seed=seed)
    windows = len(sweep_windows(source.height, source.width, area, preset.crops))
    clock = UpdateClock(on_progress, area, preset.iterations_on(windows))

    known = remember(
        memory,
        cached,
        area,
        clicks,
        preset.pseudo_labels,
        keep_logits="memory_logits" in needs,
        device=device,
        precision=precision,
        seed=seed,
        progress=clock.tiles("memory"),
        should_stop=should_stop,
    )
    labels = known.pseudo_labels.merged(clicks)

    generator = torch.Generator().manual_seed(seed)
    network = memory.extend(len(new_classes), init=preset.head_init, generator=generator)
    prototypes = None
    if preset.head_fit.iterations or "prototypes" in needs:
        clock.tell("head", 0, 1)
        rows, prototypes = labelled_rows(
            memory,
            cached,
            area,
            labels,
            len(extended),
            device=device,
            precision=precision,
            should_stop=should_stop,
        )
        # the memory network has no prototype of a class it does not know
        prototypes.counts[len(label_space) :] = 0
        if preset.head_fit.iterations:
            fit_classifier(
                network.classifier, rows, iterations=preset.head_fit.iterations, pull=preset.head_fit.pull
            )
        clock.tell("head", 1, 1)

    iterations, rounds = clock.iterations, preset.rounds
    context = TaskContext(
        n_classes=len(extended),
        n_old=len(label_space),
        seed=seed,
        iterations=max(iterations, 1),
        rounds=rounds,
        prototypes=prototypes,
        memory_features=MemoryFeatures(memory, device=device, precision=precision),
        memory_output=OnlineMemory(memory, device=device, precision=precision, with_levels=True),
    )
    optimisation = preset.optimisation.model_copy(update={"iterations": iterations})
    fit = Fit(network, build_objective(preset, context), optimisation, device=device)
    image = CropSource(
        source=cached,
        area=area,
        labels=labels,
        memory_logits=Mosaic(area, known.logits, fill=math.nan) if known.logits else None,
        memory_labels=Mosaic(area, [torch.from_numpy(one) for one in known.labels], fill=IGNORE)
        if "memory_labels" in needs
        else None,
        possible=_possible(labels, len(extended)) if "possible" in needs else None,
    )
    sampler = LabelledCrops if preset.crops.kind == "labelled" else SweepCrops
    batches: Callable[[int], Batch] = sampler(image, preset.crops, seed=seed)
    history: list[IterationReport] = []

    def note(report: IterationReport) -> None:
        history.append(report)
        clock.tell("training", report.step, report.steps, report)
        if on_step is not None:
            on_step(report)

    if on_round is not None:
        for number in range(1, rounds):
            # nobody reads the image in the background while it is looked at: a raster is read by one thread
            until = number * iterations // rounds
            fit.run(batches, until=until, on_step=note, should_stop=should_stop)
            on_round(number, network.eval())
            fit.train_mode()
    fit.run(batches, on_step=note, should_stop=should_stop)
    network.eval()
    if preset.prevalence.iterations:
        adapt_to_prevalence(
            network,
            cached,
            area,
            clicks,
            preset.prevalence,
            n_old=len(label_space),
            # balanced votes weigh the classes alike; a plain mean weighs them by their labels
            trained={} if preset.cross_entropy.kind == "balanced" else clicks.counts(),
            device=device,
            precision=precision,
            should_stop=should_stop,
        )

    forgetting = compare_on_tiles(
        network,
        cached,
        area,
        clicks,
        known.labels,
        label_space=extended,
        n_old=len(label_space),
        device=device,
        precision=precision,
        progress=clock.tiles("report"),
        should_stop=should_stop,
    )
    pseudo = known.pseudo_labels.counts()
    return UpdateResult(
        network=network,
        label_space=extended,
        history=history,
        pseudo_labels={
            name: pseudo.get(label, 0) for label, name in enumerate(label_space.names) if label != BACKGROUND
        },
        forgetting=forgetting,
        warnings=_warnings(preset, forgetting.warnings, area, clicks),
        seconds=time.perf_counter() - started,
    )


def _possible(labels: ClickSet, n_classes: int) -> Tensor:
    """(N,) bool: the background, and every class that somebody or the memory network saw in the image."""
    possible = torch.zeros(n_classes, dtype=torch.bool)
    possible[[BACKGROUND, *labels.counts()]] = True
    return possible


def _warnings(preset: Preset, forgetting: Sequence[str], area: WorkingArea, clicks: ClickSet) -> list[str]:
    warnings = [*([preset.warning] if preset.warning else []), *forgetting]
    missed = int((area.holding(clicks.rows, clicks.cols) < 0).sum())
    if missed:
        warnings.append(
            f"{missed} of {len(clicks)} clicks lie outside the working area of {len(area.tiles)} tiles and "
            "were not used; click more closely together, or update in two steps"
        )
    return warnings


def _validate_args(
    memory: Segmenter,
    label_space: LabelSpace,
    extended: LabelSpace,
    source: RasterSource,
    clicks: ClickSet,
) -> None:
    if memory.n_classes != len(label_space):
        raise InvalidParameterError(
            f"the network has {memory.n_classes} classes, its label space {list(label_space.names)}"
        )
    if len(extended) == len(label_space):
        raise InvalidParameterError("an update needs at least one new class")
    if source.bands != memory.architecture.in_channels:
        raise BandMismatchError(
            f"the image has {source.bands} bands, the network was trained on "
            f"{memory.architecture.in_channels}"
        )
    if len(clicks) == 0:
        raise ClickError("no click at all: an update needs at least one click of the new class")
    off = (clicks.rows >= source.height) | (clicks.cols >= source.width)
    if off.any():
        first = int(np.argmax(off))
        raise ClickError(
            f"click {first} at row {clicks.rows[first]}, column {clicks.cols[first]} is off the raster of "
            f"{source.height} x {source.width} pixels"
        )
    counts = clicks.counts()
    if max(counts) >= len(extended):
        raise InvalidParameterError(f"label {max(counts)} is outside the label space {list(extended.names)}")
    for label in range(len(label_space), len(extended)):
        if label not in counts:
            raise ClickError(f"no click of the new class {extended.names[label]!r}")
