"""`local-pod`: keeps squared activations of every level, pooled in cells, close to the memory network's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field
from torch.nn import functional

from icss_core.losses import local_pod, merge_into_background
from icss_core.methods.memory_needs import MEMORY_OUTPUT
from icss_core.methods.regulariser import (
    Penalty,
    Regulariser,
    RegulariserParameters,
    TaskContext,
)

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.networks.segmenter import SegmenterOutput

_STAGES = 4


class LocalPodParameters(RegulariserParameters):
    """Numbers of PLOP: factors of the layers, and numbers of cells along each side."""

    layers: float = Field(default=0.01, ge=0)
    """Factor of the encoder's stages and of the classifier's input."""
    logits: float = Field(default=0.0005, ge=0)
    """Factor of the logits."""
    scales: tuple[int, ...] = (1, 2, 4)


def _penalty(parameters: LocalPodParameters, context: TaskContext) -> Penalty:
    memory_output = context.of(MEMORY_OUTPUT)
    new = max(context.n_classes - context.n_old, 1)
    growth = math.sqrt(context.n_classes / new)

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        maps, memory_maps = (_layers(one, context.n_old) for one in (output, memory_output(batch)))
        factors = [parameters.layers] * (len(maps) - 1) + [parameters.logits]
        return {"local_pod": growth * local_pod(maps, memory_maps, factors, scales=parameters.scales)}

    return terms


def _misfit(parameters: LocalPodParameters, crop: int, stride: int) -> str | None:
    deepest, cells = crop // stride, max(parameters.scales)
    if deepest >= cells:
        return None
    return (
        f"pools in {cells} x {cells} cells, and the deepest level of a crop of {crop} px is {deepest} x "
        f"{deepest}: crops of at least {cells * stride} px, or fewer cells (regularisers.local-pod.scales)"
    )


def _layers(output: SegmenterOutput, n_old: int) -> list[Tensor]:
    """The encoder's last four levels, the decoder's end, and the logits at its resolution."""
    size = output.decoder_features.shape[2:]
    logits = output.logits
    if logits.shape[2:] != size:
        logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    return [*output.levels[-_STAGES:], output.decoder_features, merge_into_background(logits, n_old)]


LOCAL_POD = Regulariser(
    name="local-pod",
    summary="squared activations of stages, decoder and logits, pooled in cells, stay the memory network's",
    source=(
        "Douillard et al., PLOP, arXiv 2011.11390, as published; the stages' activations are taken after "
        "their last ReLU, where the code takes them before it"
    ),
    parameters=LocalPodParameters,
    build=_penalty,
    needs=frozenset({MEMORY_OUTPUT}),
    misfit=_misfit,
)
