"""A kind of training that nobody ships: two networks, two streams, phases. It costs this file and an entry.

The segmentation network learns from masks; from the tenth iteration on, a second network also reconstructs
coarse pixels of unlabelled scenes from its features, and is dropped when the version is registered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from icss_core.data.scene_request import SceneRequest
from icss_core.learners.kind import LearnerKind, LearnerParameters
from icss_core.losses import partial_cross_entropy
from icss_core.training import Learner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.learners.kind import LearnerContext
    from icss_core.networks.segmenter import Segmenter, SegmenterOutput


class TwoStreamsParameters(LearnerParameters):
    """Its preset."""

    weight: float = 0.1
    warmup: int = 10


@dataclass(frozen=True)
class Pair:
    """A labelled and an unlabelled batch."""

    labelled: Batch
    unlabelled: Batch

    def __len__(self) -> int:
        return len(self.labelled)

    def to(self, device: torch.device) -> Pair:
        return Pair(self.labelled.to(device), self.unlabelled.to(device))

    def pin(self) -> Pair:
        return Pair(self.labelled.pin(), self.unlabelled.pin())

    def parts(self, number: int) -> list[Pair]:
        return [
            Pair(*both)
            for both in zip(self.labelled.parts(number), self.unlabelled.parts(number), strict=True)
        ]


class TwoStreams(Learner[Pair, Any]):
    """See above."""

    leaves_gradients_out = True

    def __init__(
        self,
        network: Segmenter,
        reconstruction: nn.Module,
        streams: tuple[Callable[[int], Batch], Callable[[int], Batch]],
        parameters: TwoStreamsParameters,
    ) -> None:
        self.network, self.reconstruction = network, reconstruction
        self._streams, self._parameters = streams, parameters
        self._active = False
        self.phases: list[bool] = []

    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.network, "reconstruction": self.reconstruction}

    def batch(self, iteration: int) -> Pair:
        labelled, unlabelled = self._streams
        return Pair(labelled(iteration), unlabelled(iteration))

    def begin(self, iteration: int) -> None:
        self._active = iteration >= self._parameters.warmup

    def forward(self, batch: Pair) -> tuple[SegmenterOutput, Tensor | None]:
        output = self.network(batch.labelled.pixels)
        if not self._active:
            return output, None
        return output, self.reconstruction(self.network.encode(batch.unlabelled.pixels))

    def objective(self, outputs: tuple[SegmenterOutput, Tensor | None], batch: Pair) -> Mapping[str, Tensor]:
        output, reconstructed = outputs
        terms = {"cross_entropy": partial_cross_entropy(output.logits, batch.labelled.labels)}
        if reconstructed is not None:
            pixels = batch.unlabelled.pixels.float() / 255
            coarse = functional.adaptive_avg_pool2d(pixels, reconstructed.shape[2:])
            terms["reconstruction"] = self._parameters.weight * functional.mse_loss(
                reconstructed.float(), coarse
            )
        return terms

    def state_dict(self) -> dict[str, Any]:
        return {"phases": [*self.phases, self._active]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.phases = list(state["phases"])

    def artefacts(self) -> Mapping[str, Mapping[str, Tensor]]:
        return {"phases": {"active": torch.tensor([*self.phases, self._active])}}


def build(parameters: TwoStreamsParameters, context: LearnerContext) -> TwoStreams:
    network = context.new_network()
    with torch.no_grad():
        bands, side = context.card.architecture.in_channels, network.output_stride
        features = network.eval().encode(torch.zeros(1, bands, side, side)).shape[1]
    head = nn.Conv2d(features, bands, 1)
    labelled = context.crops(context.scenes(SceneRequest()))
    unlabelled = context.crops(context.scenes(SceneRequest(kind="unlabelled")), stream=1)
    return TwoStreams(network, head, (labelled, unlabelled), parameters)


TWO_STREAMS = LearnerKind(
    name="two-streams",
    summary="masks, and coarse reconstruction of scenes without",
    parameters=TwoStreamsParameters,
    build=build,
)
