"""An update: a memory network, an image and a few clicks in, an updated network out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icss_core.updating.check_update import check_update
from icss_core.updating.findings import findings_of
from icss_core.updating.image_stack import ClickedImage
from icss_core.updating.prepare import prepare
from icss_core.updating.runtime import Runtime
from icss_core.updating.train import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.clicks.click_set import ClickSet
    from icss_core.continual.replay import Replay
    from icss_core.labels import ClassInfo, LabelSpace
    from icss_core.methods import Preset
    from icss_core.metrics.elsewhere import ElsewhereReport
    from icss_core.metrics.forgetting import ForgettingReport
    from icss_core.networks.segmenter import Segmenter
    from icss_core.raster.source import RasterSource
    from icss_core.training import IterationReport
    from icss_core.updating.findings import UpdateFindings


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """What an update leaves behind."""

    network: Segmenter
    """The updated network, float32, in eval mode, on the device it was trained on."""
    label_space: LabelSpace
    history: list[IterationReport]
    findings: UpdateFindings
    """What it did to the old classes, and what to mistrust."""
    replay: Replay | None
    """What the new version should keep for the updates after it (`REPLAY_ARTEFACT`); None: nothing."""
    seconds: float

    @property
    def forgetting(self) -> ForgettingReport:
        """See `UpdateFindings`."""
        return self.findings.forgetting

    @property
    def elsewhere(self) -> ElsewhereReport | None:
        """See `UpdateFindings`."""
        return self.findings.elsewhere

    @property
    def warnings(self) -> list[str]:
        """See `UpdateFindings`."""
        return self.findings.warnings


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
    check_update(
        memory.architecture, label_space, extended, images, preset, taken=memory.input_size, dtype=dtype
    )
    prepared = prepare(
        memory, label_space, extended, images, preset, replay=replay, seed=seed, runtime=runtime
    )
    history = train(prepared, preset, runtime)
    return UpdateResult(
        network=prepared.network,
        label_space=extended,
        history=history,
        findings=findings_of(prepared, preset),
        replay=prepared.replay,
        seconds=time.perf_counter() - started,
    )
