"""The preparation of an update: run the memory network on the image, and set up the network to train."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from icss_core.compute.device import default_device
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.methods import ClickTask, TaskContext, build_objective, needs_of, provide_from_clicks
from icss_core.methods.memory_needs import MEMORY_LABELS, MEMORY_LOGITS, PROTOTYPES
from icss_core.networks.checked_source import checked_for
from icss_core.raster.tile_cache import CachedSource, TileCache
from icss_core.training.online_memory import OnlineMemory
from icss_core.updating.context_crops import ContextCrops
from icss_core.updating.crops import CropBatches, CropSource, LabelledCrops, SweepCrops
from icss_core.updating.fit_heads import fit_heads
from icss_core.updating.image_stack import ImageStack
from icss_core.updating.kept_columns import KeptColumns
from icss_core.updating.memory import view_of_memory
from icss_core.updating.memory_features import MemoryFeatures
from icss_core.updating.mosaic import Mosaic
from icss_core.updating.progress import UpdateClock
from icss_core.updating.tile_runner import TileRunner

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from torch import Tensor

    from icss_core.clicks.click_set import ClickSet
    from icss_core.compute.precision import Precision
    from icss_core.continual.replay import Replay
    from icss_core.labels import LabelSpace
    from icss_core.losses import Prototypes
    from icss_core.methods import Need, Preset
    from icss_core.networks.segmenter import Segmenter
    from icss_core.training import Objective, Optimisation
    from icss_core.updating.crops import Crops
    from icss_core.updating.image_stack import ClickedImage
    from icss_core.updating.memory import MemoryView
    from icss_core.updating.runtime import Runtime
    from icss_core.updating.tiles import WorkingArea


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedUpdate:
    """Everything that the training and the report of an update need."""

    network: Segmenter
    """The network to train: a copy of the memory network with the new classes, its head fitted if the preset
    asks for it."""
    objective: Objective
    batches: CropBatches
    optimisation: Optimisation
    """The preset's, with the iterations that there are: 0 where the fitted heads are all."""
    label_space: LabelSpace
    """Old and new classes."""
    n_old: int
    images: ImageStack
    memory_view: MemoryView
    """Output of the memory network on the working area."""
    held_out: Mapping[int, float]
    """By label, the fraction of the clicks that the hypercolumn head gets right without having learnt from
    them; empty where it was not fitted."""
    runner: TileRunner
    """Of the images; keeps the tiles' columns where they are the trained network's too."""
    replay: Replay | None
    """For the version that is made; None where its features are not those of the memory network."""
    clock: UpdateClock


def prepare(
    memory: Segmenter,
    label_space: LabelSpace,
    extended: LabelSpace,
    images: Sequence[ClickedImage],
    preset: Preset,
    *,
    replay: Replay | None,
    seed: int,
    runtime: Runtime,
    rank: int = 0,
    world: int = 1,
) -> PreparedUpdate:
    """Run the memory network on the working area, and set up the training of a copy with the new classes.

    Args:
        memory: this argument, and all that are not here, are those of `update_from_images`, checked by
            `check_update`, as are the errors.
        label_space: as there.
        extended: the label space with the new classes.
        images: as there.
        preset: as there.
        replay: as there.
        seed: as there.
        runtime: as there.
        rank: number of this process, of those that train together. All prepare the same; each has its own
            batches, which are every `world`-th of one process's.
        world: how many there are. A preset that counts in sweeps is through with one so many times faster.
    """
    device = runtime.device or default_device()
    memory = memory.to(device)
    needs = needs_of(preset)
    precision = preset.optimisation.precision
    cache = TileCache()
    cached = [
        replace(one, source=CachedSource(checked_for(memory, one.source), cache=cache)) for one in images
    ]
    stack = ImageStack(
        cached,
        limit=preset.tiles,
        context_limit=preset.context.tiles,
        seed=seed,
        taken=memory.input_size,
    )
    area = stack.area
    iterations = preset.iterations_on(stack.count_sweep_windows(preset.crops), workers=world)
    clock = UpdateClock(runtime.on_progress, stack.everywhere, iterations)
    # a click outside the working area is not seen
    clicks = stack.clicks.select(area.holding(stack.clicks.rows, stack.clicks.cols) >= 0)
    clicked = clicks.counts().keys()
    fits_units = _fits_units(preset, clicked)
    runner = TileRunner(
        source=stack,
        device=device,
        precision=precision,
        should_stop=runtime.should_stop,
        kept=KeptColumns() if fits_units else None,
    )
    memory_view = view_of_memory(
        runner,
        memory,
        stack.everywhere,
        clicks,
        preset.pseudo_labels,
        labelled_tiles=len(area.tiles),
        keep_logits=MEMORY_LOGITS in needs,
        seed=seed,
        progress=clock.tiles("memory"),
    )
    labels = memory_view.pseudo_labels.merged(stack.clicks)
    generator = torch.Generator().manual_seed(seed)
    network = memory.extend(len(extended) - len(label_space), init=preset.head_init, generator=generator)
    if only_fits(preset, clicked):
        clock.iterations = 0
    clock.tell("head", 0, 1)
    heads = fit_heads(
        runner,
        network,
        area,
        labels,
        preset,
        n_old=len(label_space),
        columns_of=clicks if fits_units else None,
        with_prototypes=PROTOTYPES in needs,
        replay=replay,
        seed=seed,
    )
    clock.tell("head", 1, 1)
    network = heads.network
    context = TaskContext(
        n_classes=len(extended),
        n_old=len(label_space),
        seed=seed,
        iterations=max(clock.iterations, 1),
        rounds=preset.rounds,
        provided=provide_from_clicks(needs, _click_task(memory, heads.prototypes, device, precision)),
    )
    crop_source = CropSource(
        source=stack,
        area=area,
        labels=labels,
        maps=_maps(needs, memory_view, stack.everywhere),
        facts=_facts(needs, labels, len(extended)),
    )
    return PreparedUpdate(
        network=network,
        objective=build_objective(preset, context),
        batches=CropBatches(crop_source, _crops(preset, crop_source, stack, seed), rank=rank, world=world),
        optimisation=preset.optimisation.model_copy(update={"iterations": clock.iterations}),
        label_space=extended,
        n_old=len(label_space),
        images=stack,
        memory_view=memory_view,
        held_out=heads.held_out,
        runner=replace(runner, kept=None) if clock.iterations else runner,
        # after a training its features are others
        replay=None if clock.iterations else heads.replay,
        clock=clock,
    )


def only_fits(preset: Preset, clicked: Collection[int]) -> bool:
    """Whether an update is the fit of its heads and no training: the same on each of several workers.

    Args:
        preset: of the update.
        clicked: classes with clicks.
    """
    return _fits_units(preset, clicked) and not preset.hypercolumn.fine_tune


def _fits_units(preset: Preset, clicked: Collection[int]) -> bool:
    """Without clicks on it the background keeps no place against the new classes."""
    return preset.hypercolumn.iterations > 0 and BACKGROUND in clicked


def _crops(preset: Preset, crop_source: CropSource, images: ImageStack, seed: int) -> list[Crops]:
    """Crops of the images with clicks, and of the context images if there are any."""
    clicked: Crops = (
        LabelledCrops(crop_source, preset.crops, seed=seed)
        if preset.crops.kind == "labelled"
        else SweepCrops(crop_source, preset.crops, seed=seed, windows=images.sweep_windows(preset.crops))
    )
    areas = [area for _, area in images.context if area.tiles]
    if not areas:
        return [clicked]
    return [clicked, ContextCrops(areas, preset.crops, number=preset.context.batch, seed=seed)]


def _click_task(
    memory: Segmenter, prototypes: Prototypes | None, device: torch.device, precision: Precision
) -> ClickTask:
    return ClickTask(
        memory_output=OnlineMemory(memory, device=device, precision=precision, with_levels=True),
        memory_features=MemoryFeatures(memory, device=device, precision=precision),
        prototypes=prototypes,
    )


def _maps(needs: frozenset[Need[Any]], memory_view: MemoryView, area: WorkingArea) -> dict[str, Mosaic]:
    """Outputs of the memory network that the needs ask for, by name; crops are cut from them."""
    maps = {}
    if MEMORY_LOGITS in needs:
        maps[MEMORY_LOGITS.name] = Mosaic(area, memory_view.logits, fill=math.nan)
    if MEMORY_LABELS in needs:
        labels = [torch.from_numpy(one) for one in memory_view.labels]
        maps[MEMORY_LABELS.name] = Mosaic(area, labels, fill=IGNORE)
    return maps


def _facts(needs: frozenset[Need[Any]], labels: ClickSet, n_classes: int) -> dict[str, Tensor]:
    """For needs of image labels: (N,) bool, the background and the classes of clicks and pseudo-labels."""
    possible = torch.zeros(n_classes, dtype=torch.bool)
    possible[[BACKGROUND, *labels.counts()]] = True
    return {need.name: possible for need in needs if need.image_labels}
