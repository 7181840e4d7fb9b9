"""An update: a memory network, an image and a few clicks in, an updated network out."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from icss_core.errors import ClickError, InvalidParameterError
from icss_core.labels import BACKGROUND
from icss_core.networks.compatibility import check_image
from icss_core.networks.input_size import check_side
from icss_core.updating.image_stack import ClickedImage
from icss_core.updating.prepare import prepare
from icss_core.updating.report import report, report_elsewhere
from icss_core.updating.runtime import Runtime
from icss_core.updating.train import train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from icss_core.clicks.click_set import ClickSet
    from icss_core.continual.replay import Replay
    from icss_core.labels import ClassInfo, LabelSpace
    from icss_core.methods import Preset
    from icss_core.metrics.elsewhere import ElsewhereReport
    from icss_core.metrics.forgetting import ForgettingReport
    from icss_core.networks.segmenter import Segmenter
    from icss_core.raster.source import RasterSource
    from icss_core.training import IterationReport
    from icss_core.updating.image_stack import ImageStack


_HELD_OUT_LIMIT: Final = 0.6
"""Below it, with 3 to 100 clicks on 6 images of Dubai, maps had a mean IoU of 28 to 59 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """What an update leaves behind."""

    network: Segmenter
    """The updated network, float32, in eval mode, on the device it was trained on."""
    label_space: LabelSpace
    history: list[IterationReport]
    pseudo_labels: dict[str, int]
    """Pixels that the memory network labelled, by old class of interest; 0 where it was sure of none."""
    forgetting: ForgettingReport
    elsewhere: ElsewhereReport | None
    """The same on context images, and whether the update does harm there; None where there are none."""
    held_out: dict[str, float]
    """Of the clicks on each class, the fraction that a head fitted without them gets right: what to expect on
    ground like the clicked. Classes with a single click, and updates that fit no head, have none."""
    replay: Replay | None
    """What the new version should keep for the updates after it (`REPLAY_ARTEFACT`); None: nothing."""
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
    dtype: str | None = None,
    replay: Replay | None = None,
    seed: int = 0,
    runtime: Runtime | None = None,
) -> UpdateResult:
    """Teach a network new classes from clicks on one image: `update_from_images` with one.

    Args:
        memory: as there.
        label_space: as there.
        source: the image.
        clicks: on it; at least one of each new class.
        new_classes: as there.
        preset: as there.
        dtype: as there.
        replay: as there.
        seed: as there.
        runtime: as there.

    Raises:
        IcssError: as there.
    """
    images = [ClickedImage(source, clicks)]
    return update_from_images(
        memory,
        label_space,
        images,
        new_classes,
        preset,
        dtype=dtype,
        replay=replay,
        seed=seed,
        runtime=runtime,
    )


def update_from_images(
    memory: Segmenter,
    label_space: LabelSpace,
    images: Sequence[ClickedImage],
    new_classes: Sequence[ClassInfo],
    preset: Preset,
    *,
    dtype: str | None = None,
    replay: Replay | None = None,
    seed: int = 0,
    runtime: Runtime | None = None,
) -> UpdateResult:
    """Teach a network new classes from clicks on images.

    The memory network is not changed. The same arguments and seed give the same network on the same machine.

    Args:
        memory: the network to extend.
        label_space: its classes.
        images: of any size, only the working area is read, whose tiles all images share; pixels of each, with
            labels of the *extended* label space; at least one click of each new class on one of them.
        new_classes: what is to be added, in the order of their labels.
        preset: method and numbers.
        dtype: data type of the images the network was trained on (`ModelCard.dtype`); None: any is taken.
        replay: what the memory network's version keeps of its classes; None: nothing.
        seed: of everything random.
        runtime: where to compute, whom to tell, when to stop.

    Raises:
        ClassExistsError: a new class is in the label space already.
        ClickError: no click at all, or none of a new class, or a click off its image.
        BandMismatchError, DtypeMismatchError: the network was trained on other bands, or another data type.
        FillValueError: pixels have a value that marks missing data, which the source does not say.
        InvalidParameterError: the label space is not the network's, a label is outside the extended one, or
            the network takes no crops of this size.
        TooManyClassesError: more classes than there may be.
        TrainingDivergedError: the loss became infinite or undefined.
        CancelledError: `runtime.should_stop` said so.
    """
    started = time.perf_counter()
    runtime = runtime or Runtime()
    extended = label_space.extend(*new_classes)
    _validate_args(memory, label_space, extended, images)
    check_side(memory.input_size, preset.crops.size, name="crops.size", network=memory.architecture)
    for image in images:
        check_image(image.source, bands=memory.architecture.in_channels, dtype=dtype, name=image.name)
    prepared = prepare(
        memory, label_space, extended, images, preset, replay=replay, seed=seed, runtime=runtime
    )
    history = train(prepared, preset, runtime)
    forgetting = report(prepared)
    elsewhere = report_elsewhere(prepared, forgetting)
    pseudo = prepared.memory_view.pseudo_labels.counts()
    return UpdateResult(
        network=prepared.network,
        label_space=extended,
        history=history,
        pseudo_labels={
            name: pseudo.get(label, 0) for label, name in enumerate(label_space.names) if label != BACKGROUND
        },
        forgetting=forgetting,
        elsewhere=elsewhere,
        held_out={
            extended.names[label]: value
            for label, value in prepared.held_out.items()
            if not math.isnan(value)
        },
        replay=prepared.replay,
        warnings=_warnings(
            preset,
            [
                *_held_out_warnings(prepared.held_out, extended, len(label_space)),
                *forgetting.warnings,
                *([] if elsewhere is None else elsewhere.warnings),
            ],
            prepared.images,
        ),
        seconds=time.perf_counter() - started,
    )


def _held_out_warnings(held_out: Mapping[int, float], label_space: LabelSpace, n_old: int) -> list[str]:
    """Of the background and the new classes: which of them has too few clicks to be told."""
    judged = {label: value for label, value in held_out.items() if label == BACKGROUND or label >= n_old}
    return [
        f"a single click on {label_space.names[label]!r} cannot tell how well it is learnt: click more of it"
        if math.isnan(value)
        else f"too few clicks on {label_space.names[label]!r}, or not on all that it looks like: of those "
        f"that were held out, {value:.0%} are told right"
        for label, value in judged.items()
        if not value >= _HELD_OUT_LIMIT
    ]


def _warnings(preset: Preset, reported: Sequence[str], images: ImageStack) -> list[str]:
    area, clicks = images.area, images.clicks
    warnings = [*([preset.warning] if preset.warning else []), *reported]
    missed = int((area.holding(clicks.rows, clicks.cols) < 0).sum())
    if missed:
        warnings.append(
            f"{missed} of {len(clicks)} clicks lie outside the working area of {len(area.tiles)} tiles and "
            "were not used; click more closely together, or update twice"
        )
    return warnings


def _validate_args(
    memory: Segmenter,
    label_space: LabelSpace,
    extended: LabelSpace,
    images: Sequence[ClickedImage],
) -> None:
    if memory.n_classes != len(label_space):
        raise InvalidParameterError(
            f"the network has {memory.n_classes} classes, its label space {list(label_space.names)}"
        )
    if len(extended) == len(label_space):
        raise InvalidParameterError("an update needs at least one new class")
    counts = Counter[int]()
    for image in images:
        _check_on_image(image)
        counts.update(image.clicks.counts())
    if not counts:
        raise ClickError("no click at all: an update needs at least one click of the new class")
    if max(counts) >= len(extended):
        raise InvalidParameterError(f"label {max(counts)} is outside the label space {list(extended.names)}")
    for label in range(len(label_space), len(extended)):
        if label not in counts:
            raise ClickError(f"no click of the new class {extended.names[label]!r}")


def _check_on_image(image: ClickedImage) -> None:
    clicks, source = image.clicks, image.source
    off = (clicks.rows >= source.height) | (clicks.cols >= source.width)
    if off.any():
        first = int(np.argmax(off))
        raise ClickError(
            f"click {first} at row {clicks.rows[first]}, column {clicks.cols[first]} is off the raster of "
            f"{source.height} x {source.width} pixels ({image.name})"
        )
