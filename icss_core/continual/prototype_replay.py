"""Features of old classes drawn from their means and standard deviations, and shown to the classifier.

The images of a task lack most of the old classes, so its classifier hardly sees them. STAR (Chen et al.,
"Saving 100x Storage: Prototype Replay for Reconstructing Training Sample Distribution in Class-Incremental
Semantic Segmentation", NeurIPS 2023) keeps a few numbers of each class instead of images, and draws features
from them. This is its idea on the losses of another method, not the method itself:

- here a softmax over all classes learns that a drawn feature is of its class; there the rows of the new
  classes alone learn that it is not theirs (yes or no for each class);
- here the same number of features of each class; there about as many as the images lack of it;
- here nothing else: STAR also repeats the background of the images, holds the features of old pixels, and
  keeps the new classes away from the old means.

As nothing holds the features, statistics of earlier tasks age while encoder and decoder go on learning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from icss_core.continual.class_prototypes import class_prototypes
from icss_core.losses.prototypes import Prototypes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from icss_core.compute.precision import Precision
    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.networks.segmenter import Segmenter

STATISTICS_ARTEFACT: Final = "feature_statistics"
"""Name under which a model version keeps them."""
DRAWN: Final = 64
"""Features of each class in an iteration."""


class FeatureStatistics(NamedTuple):
    """What the classifier saw at the pixels of each class at the end of the last task that showed it.

    The background has none.
    """

    means: Tensor
    """(N, D) float32, zero for classes without pixels."""
    deviations: Tensor
    """(N, D) float32, standard deviations, likewise."""
    counts: Tensor
    """(N,) float32, pixels behind each."""

    def as_prototypes(self) -> Prototypes:
        """The means of features and of their squares, side by side."""
        squares = self.means.square() + self.deviations.square()
        return Prototypes(torch.cat([self.means, squares], dim=1), self.counts)

    def drawn(self, generator: torch.Generator, *, of_each: int = DRAWN) -> tuple[Tensor, Tensor]:
        """Features (m, D) float32 and their classes (m,) int64, normally distributed, on the CPU.

        Args:
            generator: source of randomness.
            of_each: features of each class that has statistics; m is a multiple of it.
        """
        classes = self.counts.nonzero().flatten().repeat_interleave(of_each)
        noise = torch.randn(len(classes), self.means.shape[1], generator=generator)
        return self.means[classes] + noise * self.deviations[classes], classes


def feature_statistics(
    network: Segmenter,
    scenes: Sequence[LabelledScene],
    *,
    size: int,
    device: torch.device,
    previous: FeatureStatistics | None = None,
    precision: Precision = "auto",
) -> FeatureStatistics:
    """Mean and standard deviation of what the classifier sees, over the labelled pixels of each class.

    Args:
        network: the trained network; left in eval mode.
        scenes: scenes of the task, with the labels that the task sees.
        size: side of the windows in pixels.
        device: where to compute.
        previous: those of the version before; kept for classes that no window read shows (at most 2048 are
            read, as for `class_prototypes`). None: there are none.
        precision: number type of the computation.
    """
    kept = None if previous is None else previous.as_prototypes()
    found = class_prototypes(
        network, scenes, size=size, device=device, previous=kept, precision=precision, features=_with_squares
    )
    means, squares = found.means.chunk(2, dim=1)
    # rounding may leave a variance of nothing slightly below it
    return FeatureStatistics(means, (squares - means.square()).clamp(min=0).sqrt(), found.counts)


class PrototypeReplay:
    """The term of a task's loss: cross-entropy of features drawn anew in each iteration.

    For networks without a hypercolumn head, whose part of the logits drawn features would lack.

    Args:
        statistics: of the classes before the task, of one at least; a class without any is not drawn.
        weight: of the term.
        seed: decides what is drawn, together with the iteration.
    """

    def __init__(self, statistics: FeatureStatistics, *, weight: float, seed: int) -> None:
        self._statistics, self._weight, self._seed = statistics, weight, seed
        self.features: Tensor
        """(m, D) float32 on the CPU, drawn for the current iteration."""
        self.classes: Tensor
        """(m,) int64, theirs."""

    def draw(self, iteration: int) -> None:
        """Draw the features of an iteration."""
        seed = np.random.SeedSequence([self._seed, iteration]).generate_state(1)
        self.features, self.classes = self._statistics.drawn(torch.Generator().manual_seed(int(seed[0])))

    def term(self, classifier: nn.Conv2d) -> Tensor:
        """Scalar float32, differentiable in the classifier; `draw` comes before.

        Args:
            classifier: where it looks at neighbours too, they are taken to be the same.
        """
        weight = classifier.weight.sum(dim=(2, 3))
        logits = functional.linear(self.features.to(weight), weight, classifier.bias)
        return self._weight * functional.cross_entropy(logits.float(), self.classes.to(logits.device))


def _with_squares(network: Segmenter, pixels: Tensor) -> Tensor:
    features = network(pixels).decoder_features.float()
    return torch.cat([features, features.square()], dim=1)
