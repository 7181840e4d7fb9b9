"""Mean feature of each class over a task's scenes: what SDR keeps of data that later tasks do not see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.compute.precision import Precision, resolve_precision
from icss_core.data.batch import collate
from icss_core.data.scene_windows import spread_windows
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.losses.prototypes import Prototypes, class_means, labelled_features, merge_prototypes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.networks.segmenter import Segmenter


@torch.inference_mode()
def class_prototypes(
    network: Segmenter,
    scenes: Sequence[LabelledScene],
    *,
    size: int,
    device: torch.device,
    known: Prototypes | None = None,
    precision: Precision = "auto",
    most: int = 2048,
) -> Prototypes:
    """Class means of a task's deepest features, by the labels that the task sees; the background has none.

    SDR (arXiv 2103.06342) averages over the whole training, while the network changes; here the trained
    network is asked once, so that the means are its own; in eval mode, so that a task whose batch norms train
    starts a little apart from them. Means from before are kept as they are, where these
    scenes show nothing of their class.

    Args:
        network: as trained; left in eval mode.
        scenes: of the task, labelled as it sees them.
        size: side of the windows, a multiple of the features' stride.
        device: where to compute.
        known: of the version before; (O, C) with O at most the network's classes.
        precision: in which type.
        most: windows looked at, spread evenly over the scenes.

    Returns:
        Means (N, C) and counts (N,), float32 on the CPU.
    """
    network.eval()
    dtype = resolve_precision(precision, device)
    means: Prototypes | None = None
    for scene, window in spread_windows(scenes, size=size, most=most):
        pixels, labels = scene.crop(window)
        batch = collate([pixels], [labels]).to(device)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            features = network.encode(batch.pixels)
        shown = torch.where(batch.labels == BACKGROUND, IGNORE, batch.labels)
        samples = labelled_features(features, shown, assignment="pooled")
        found = class_means(samples, n_classes=network.n_classes)
        means = found if means is None else merge_prototypes(means, found)
    assert means is not None  # noqa: S101 - a task without scenes is refused before
    found = Prototypes(means.means.float().cpu(), means.counts.float().cpu())
    if known is None:
        return found
    before = known.extended(network.n_classes)
    return Prototypes(
        torch.where(found.valid[:, None], found.means, before.means),
        torch.where(found.valid, found.counts, before.counts),
    )
