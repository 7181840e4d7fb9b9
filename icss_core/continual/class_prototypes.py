"""Mean feature of each class over a task's scenes; SDR and STAR keep them, as later tasks lack the scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.compute.precision import Precision, resolve_precision
from icss_core.data.batch import collate
from icss_core.data.scene_windows import spread_windows
from icss_core.labels import BACKGROUND, IGNORE
from icss_core.losses.prototypes import Prototypes, class_means, labelled_features, merge_prototypes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.networks.segmenter import Segmenter


def _deepest(network: Segmenter, pixels: Tensor) -> Tensor:
    return network.encode(pixels)


@torch.inference_mode()
def class_prototypes(
    network: Segmenter,
    scenes: Sequence[LabelledScene],
    *,
    size: int,
    device: torch.device,
    previous: Prototypes | None = None,
    precision: Precision = "auto",
    max_windows: int = 2048,
    features: Callable[[Segmenter, Tensor], Tensor] = _deepest,
) -> Prototypes:
    """Mean feature of each labelled class; none for the background.

    Deviation from SDR (arXiv 2103.06342): SDR averages features during the whole training, while the network
    changes. Here the trained network sees the scenes once more, so that all means belong to its final
    weights. It does so in eval mode: if batch norms use batch statistics in the next task, its first features
    differ slightly from these means. A class that no window read shows keeps its previous mean, which is of
    the network before.

    Args:
        network: the trained network; left in eval mode.
        scenes: scenes of the task, with the labels that the task sees.
        size: side of the windows in pixels, a multiple of the features' stride.
        device: where to compute.
        previous: prototypes that the memory network's version keeps, (O, C), O at most the number of classes;
            None: there are none.
        precision: number type of the computation.
        max_windows: largest number of windows to read, spread evenly over the scenes.
        features: (B, C, h, w) of the network and pixels; by default the deepest.

    Returns:
        Means (N, C) and counts (N,), float32 on the CPU.
    """
    network.eval()
    dtype = resolve_precision(precision, device)
    means: Prototypes | None = None
    for scene, window in spread_windows(scenes, size=size, limit=max_windows):
        pixels, labels = scene.crop(window)
        batch = collate([pixels], [labels]).to(device)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            found = features(network, batch.pixels)
        shown = torch.where(batch.labels == BACKGROUND, IGNORE, batch.labels)
        samples = labelled_features(found, shown, assignment="pooled")
        of_window = class_means(samples, n_classes=network.n_classes)
        means = of_window if means is None else merge_prototypes(means, of_window)
    assert means is not None  # noqa: S101 - a task without scenes is refused before
    current = Prototypes(means.means.float().cpu(), means.counts.float().cpu())
    if previous is None:
        return current
    before = previous.extended(network.n_classes)
    return Prototypes(
        torch.where(current.valid[:, None], current.means, before.means),
        torch.where(current.valid, current.counts, before.counts),
    )
