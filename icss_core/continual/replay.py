"""Hypercolumns that a model version keeps of its classes, so that later updates still have examples of them.

An update sees the classes that its image shows; the others may be forgotten. As long as the encoder and the
decoder stay as they are, the features of labelled pixels stay valid, so a version keeps some of each class:
about 0.3 MB a class, and no picture can be made of them. STAR (Chen et al., "Saving 100x Storage: Prototype
Replay for Reconstructing Training Sample Distribution in Class-Incremental Semantic Segmentation", NeurIPS
2023) keeps a mean and a variance of each class instead;
samples keep what a mean loses, and need no model of their distribution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from icss_core.compute.precision import Precision, resolve_precision
from icss_core.data.batch import collate
from icss_core.data.scene_windows import spread_windows
from icss_core.errors import ModelFormatError
from icss_core.labels import IGNORE
from icss_core.losses import labelled_features
from icss_core.networks.model_folder import load_artefact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.networks.hypercolumn import HypercolumnHead
    from icss_core.networks.segmenter import Segmenter

REPLAY_ARTEFACT: Final = "examples"
"""Name under which a model version keeps them; under `replay` older versions keep some without logits."""
PER_CLASS: Final = 400
"""Most samples of one class."""
_PER_WINDOW: Final = 16
"""Most samples of one class from one window: neighbours say nearly the same."""


class Replay(NamedTuple):
    """Labelled hypercolumns of a network."""

    columns: Tensor
    """(n, D) float16 on the CPU, in the order of `SegmenterOutput.columns`."""
    logits: Tensor
    """(n, N) float16, the network's at these pixels, less the biases of its classifier. Nearly: those of a
    hypercolumn head are of single columns, which the head sees averaged."""
    classes: Tensor
    """(n,) int64, indices of the network's label space."""
    known: Tensor
    """(n,) int64, how many classes there were when the sample was labelled: its background may be any class
    that came later."""

    def to_artefact(self) -> Mapping[str, Tensor]:
        """Tensors by name, as a version keeps them."""
        return self._asdict()

    @classmethod
    def of_version(cls, folder: Path | str, network: Segmenter) -> Replay | None:
        """What a version keeps; None where it keeps nothing.

        Args:
            folder: of the version.
            network: the version's.

        Raises:
            ModelFormatError: the file is missing or damaged, or its columns are not the network's.
        """
        tensors = load_artefact(folder, REPLAY_ARTEFACT)
        if tensors is None:
            return None
        shapes = {
            "columns": (sum(network.column_channels),),
            "logits": (network.n_classes,),
            "classes": (),
            "known": (),
        }
        found = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        if found != shapes:
            raise ModelFormatError(f"{folder}: examples of {found}, not of {shapes}")
        return cls(**tensors)

    def of(self, labels: Iterable[int]) -> Replay:
        """The samples of some classes."""
        chosen = torch.isin(self.classes, torch.tensor(sorted(labels), dtype=torch.int64))
        return Replay(*(one[chosen] for one in self))

    def none(self) -> Replay:
        """No samples, as wide as these."""
        return Replay(*(one[:0] for one in self))

    def joined(self, other: Replay, *, seed: int = 0) -> Replay:
        """Both together, at most `PER_CLASS` of each class, those of `other` first."""
        both = Replay(*(torch.cat(pair) for pair in zip(other, self, strict=True)))
        generator = torch.Generator().manual_seed(seed)
        kept = []
        for label in torch.bincount(both.classes).nonzero().flatten().tolist():
            newer = (other.classes == label).nonzero().flatten()
            older = (self.classes == label).nonzero().flatten() + len(other.classes)
            newer, older = (one[torch.randperm(len(one), generator=generator)] for one in (newer, older))
            # half of each at most where both are many: what is new may not push out what is old
            share = max(PER_CLASS // 2, PER_CLASS - len(older))
            newer = newer[:share]
            kept.append(torch.cat([newer, older[: PER_CLASS - len(newer)]]))
        chosen = torch.cat(kept)
        return Replay(*(one[chosen] for one in both))

    def extended(self, n_new: int) -> Replay:
        """The same for the network with new classes, which start as the background (`background_init`)."""
        logits = torch.cat([self.logits, self.logits[:, :1].expand(-1, n_new)], dim=1)
        return self._replace(logits=logits)

    def corrected(self, before: HypercolumnHead | None, after: HypercolumnHead | None) -> Replay:
        """The same for the network whose hypercolumn head has changed."""
        logits = self.logits.float()
        columns = self.columns.float()
        with torch.no_grad():
            for sign, head in ((-1, before), (1, after)):
                if head is not None:
                    device = head.bias.device
                    logits += sign * head.of_columns(columns.to(device)).to(logits)
        return self._replace(logits=logits.half())

    def logits_of(self, network: Segmenter) -> Tensor:
        """(n, N) float32 logits of a network: the one for which these samples are, whatever its biases."""
        bias = network.classifier.bias
        assert bias is not None  # noqa: S101 - every head of ours has one
        return self.logits.to(bias) + bias.detach()

    def possible(self, n_classes: int) -> Tensor:
        """(n, n_classes) bool: what each sample may be, now that there are so many classes."""
        labels = torch.arange(n_classes)
        later = (self.classes[:, None] == 0) & (labels >= self.known[:, None])
        return later | (labels == self.classes[:, None])


@torch.inference_mode()
def replay_of_scenes(
    network: Segmenter,
    scenes: Sequence[LabelledScene],
    *,
    size: int,
    device: torch.device,
    precision: Precision = "auto",
    max_windows: int = 256,
    seed: int = 0,
) -> Replay:
    """Samples of every class that scenes show, from windows spread evenly over them.

    Args:
        network: the trained network; left in eval mode.
        scenes: with masks, in the network's label space.
        size: side of the windows in pixels.
        device: where to compute.
        precision: number type of the computation.
        max_windows: largest number of windows to read.
        seed: of the choice of pixels.
    """
    network.eval()
    dtype = resolve_precision(precision, device)
    generator = torch.Generator().manual_seed(seed)
    found: list[Replay] = []
    for scene, window in spread_windows(scenes, size=size, limit=max_windows):
        pixels, labels = scene.crop(window)
        batch = collate([pixels], [labels])
        chosen = torch.full_like(batch.labels, IGNORE)
        for label in np.unique(labels[labels != IGNORE]).tolist():
            places = (batch.labels.flatten() == label).nonzero().flatten()
            some = places[torch.randperm(len(places), generator=generator)[:_PER_WINDOW]]
            chosen.view(-1)[some] = label
        if not bool((chosen != IGNORE).any()):
            continue
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            output = network(batch.pixels.to(device), with_levels=True)
        rows = [labelled_features(one, chosen.to(device)) for one in output.columns]
        columns = torch.cat([one.features for one in rows], dim=1).cpu()
        logits = (output.logits.permute(0, 2, 3, 1)[chosen != IGNORE] - network.classifier.bias).cpu()
        classes = rows[0].classes.cpu()
        known = torch.full_like(classes, network.n_classes)
        found.append(Replay(columns.half(), logits.half(), classes, known))
    if not found:
        nothing = torch.empty(0, dtype=torch.int64)
        widths = (sum(network.column_channels), network.n_classes)
        columns, logits = (torch.empty(0, width, dtype=torch.float16) for width in widths)
        return Replay(columns, logits, nothing, nothing)
    together = Replay(*(torch.cat(parts) for parts in zip(*found, strict=True)))
    return together.joined(together.none(), seed=seed)
