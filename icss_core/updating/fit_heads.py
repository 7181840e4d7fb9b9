"""What of an extended network is fitted to the labelled pixels before anything is trained: its heads."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

from icss_core.updating.head_fit import fit_classifier
from icss_core.updating.hypercolumn_fit import fit_hypercolumn
from icss_core.updating.labelled_rows import labelled_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from icss_core.clicks.click_set import ClickSet
    from icss_core.continual.replay import Replay
    from icss_core.losses import Prototypes
    from icss_core.methods import Preset
    from icss_core.networks.segmenter import Segmenter
    from icss_core.updating.tile_runner import TileRunner
    from icss_core.updating.tiles import WorkingArea


class FittedHeads(NamedTuple):
    """A network whose heads know the new classes, and what was seen on the way."""

    network: Segmenter
    prototypes: Prototypes | None
    """Mean of the memory network's deepest features of each old class; None where they were not asked for."""
    held_out: Mapping[int, float]
    """By label, the fraction of the clicks that the hypercolumn head gets right without having learnt from
    them; empty where it was not fitted."""
    replay: Replay | None
    """What a version with these features should keep; None: nothing."""


def fit_heads(
    runner: TileRunner,
    network: Segmenter,
    area: WorkingArea,
    labels: ClickSet,
    preset: Preset,
    *,
    n_old: int,
    columns_of: ClickSet | None,
    with_prototypes: bool,
    replay: Replay | None,
    seed: int,
) -> FittedHeads:
    """Fit the hypercolumn head, or else the classifier, as the preset says.

    Args:
        runner: of the image.
        network: with the new classes, and the memory network's encoder and decoder; its classifier is fitted
            in place.
        area: tiles of the image.
        labels: clicks and pseudo-labels.
        preset: numbers of the fits.
        n_old: number of classes of the memory network.
        columns_of: the clicks alone, where the hypercolumn head is fitted; None: it is not.
        with_prototypes: whether prototypes are wanted.
        replay: what the memory network's version keeps of its classes; None: nothing.
        seed: of the hypercolumn head's fit.

    Raises:
        CancelledError: the runner was stopped.
    """
    fits_classifier = preset.head_fit.iterations > 0 and columns_of is None
    if columns_of is None and not fits_classifier and not with_prototypes:
        return FittedHeads(network, None, {}, None)
    rows = labelled_rows(
        runner,
        network,
        area,
        labels,
        with_classifier=fits_classifier,
        with_prototypes=with_prototypes,
        columns_of=columns_of,
    )
    if rows.prototypes is not None:
        # the memory network has no prototype of a class it does not know
        rows.prototypes.counts[n_old:] = 0
    if rows.classifier is not None:
        fit_classifier(
            network.classifier,
            rows.classifier,
            iterations=preset.head_fit.iterations,
            l2_to_start=preset.head_fit.l2_to_start,
        )
    if rows.columns is None:
        return FittedHeads(network, rows.prototypes, {}, None)
    older = _extended_replay(preset, replay, network.n_classes - n_old)
    # only now: the new units change no logits, and would be computed for every pixel
    network = network.with_hypercolumn(preset.hypercolumn.units)
    before = copy.deepcopy(network.hypercolumn)
    fitted = fit_hypercolumn(
        network,
        rows.columns,
        preset.hypercolumn,
        replay=_examples(preset, older, rows.columns.classes),
        precision=runner.precision,
        seed=seed,
    )
    kept = rows.columns.clicks(network.classifier.get_parameter("bias"))
    if older is not None:
        kept = older.joined(kept, seed=seed)
    return FittedHeads(
        network,
        rows.prototypes,
        rows.columns.accuracy_on_clicks(fitted.held_out),
        kept.corrected(before, network.hypercolumn),
    )


def _extended_replay(preset: Preset, replay: Replay | None, n_new: int) -> Replay | None:
    """What the memory network's version keeps, for the extended network.

    Its logits of new classes are known only where these start as the background.
    """
    return replay.extended(n_new) if replay is not None and preset.head_init == "background" else None


def _examples(preset: Preset, replay: Replay | None, shown: Tensor) -> Replay | None:
    """The kept samples that the hypercolumn head learns from too, where labels show some classes."""
    chosen = preset.hypercolumn.replay
    if replay is None or chosen == "none":
        return None
    if chosen == "all":
        return replay
    return replay.of(set(replay.classes.tolist()) - set(shown.tolist()))
