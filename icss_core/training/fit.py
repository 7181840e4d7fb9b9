"""The one training loop: pretraining on Ray workers, updates, benchmarks and tests all run it."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from icss_core.compute.precision import Precision, resolve_precision
from icss_core.compute.prefetch import prefetched
from icss_core.errors import CancelledError, TrainingDivergedError
from icss_core.raster.environment import RasterEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from icss_core.data.batch import Batch
    from icss_core.networks.segmenter import SegmenterOutput
    from icss_core.regularisation.weight_anchor import WeightAnchor

Objective: TypeAlias = "Callable[[SegmenterOutput, Batch], Mapping[str, Tensor]]"
"""The terms of a batch's loss by name, each a scalar and already weighted; their sum is minimised."""


class Optimisation(BaseModel):
    """How a network is fitted: every number of the loop itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: Literal["adam", "sgd"] = "adam"
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD."""
    nesterov: bool = False
    schedule: Literal["constant", "poly", "multistep", "cosine"] = "constant"
    """poly: (1 - it / all)^0.9; multistep: x 0.1 at each milestone; cosine: half a cosine down to 0."""
    milestones: tuple[float, ...] = ()
    """Of multistep, as shares of all iterations."""
    warmup: int = Field(default=0, ge=0)
    """Iterations over which the learning rate rises linearly."""
    iterations: int = Field(default=300, ge=0)
    parts: int = Field(default=1, ge=1, le=256)
    """Parts of a batch, computed one after another, their gradients added up by their share of the crops: a
    large batch on a small GPU. Batch norms in training see a part at a time, and so does a mean over labelled
    pixels, which is not the batch's where parts have more or fewer of them."""
    batch_norm: Literal["train", "statistics", "all"] = "train"
    """train: batch statistics; statistics: running ones, scale and shift learn; all: nothing changes."""
    average_last: float = Field(default=0.0, ge=0, le=1)
    """Share of the last iterations over whose weights the result is averaged; 0 keeps the last weights."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Upper bound on the gradient's norm."""
    precision: Precision = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationReport:
    """What one iteration did."""

    step: int
    """Iterations done, from 1."""
    steps: int
    """Iterations in all."""
    loss: float
    terms: dict[str, float]
    """The loss's terms, weighted."""
    lr: float
    seconds: float
    """Wall time of this iteration, waiting for its batch included."""
    input_wait: float
    """Seconds of it spent waiting for the batch."""
    samples: int
    """Crops in the batch."""


class Fit:
    """The state of a training: network, optimiser, step. `run` moves it on; `state_dict` saves it.

    Args:
        network: maps raw pixels to a SegmenterOutput; a Segmenter, or one wrapped for data parallelism.
        objective: see `Objective`.
        optimisation: the numbers.
        device: where the network is; batches are moved there.
        anchor: what holds weights, and gathers how much they matter.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        optimisation: Optimisation,
        *,
        device: torch.device | None = None,
        anchor: WeightAnchor | None = None,
    ) -> None:
        self.network = network
        self.objective = objective
        self.optimisation = optimisation
        self.device = device or torch.device("cpu")
        self.anchor = anchor
        self.step = 0
        network.to(self.device).to(memory_format=torch.channels_last)
        self.train_mode()
        self.optimiser = _build_optimiser(network, optimisation)
        self._dtype = resolve_precision(optimisation.precision, self.device)
        self._average: dict[str, Tensor] = {}
        self._averaged = 0

    @property
    def done(self) -> bool:
        """Whether all iterations were made."""
        return self.step >= self.optimisation.iterations

    def run(
        self,
        batches: Callable[[int], Batch],
        *,
        until: int | None = None,
        on_step: Callable[[IterationReport], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Iterate from the current step to `until` (default: the end).

        Args:
            batches: the batch of a step, a pure function of the step; called in a background thread, with the
                GDAL settings and credentials of this one.
            until: last iteration to make.
            on_step: called after each iteration; may save `state_dict()`.
            should_stop: asked before each iteration.

        Raises:
            CancelledError: `should_stop` said so; the network is left half-trained.
            TrainingDivergedError: the loss is not finite, which means the learning rate is too high or the
                pixels are not what the normalisation says.
        """
        last = min(until if until is not None else self.optimisation.iterations, self.optimisation.iterations)
        pin = self.device.type == "cuda"
        context = RasterEnvironment.capture().enter

        def make(iteration: int) -> Batch:
            batch = replace(batches(iteration), iteration=iteration)
            return batch.pin() if pin else batch

        with closing(prefetched(make, range(self.step, last), context=context)) as source:
            while self.step < last:
                if should_stop is not None and should_stop():
                    raise CancelledError(f"stopped on request after {self.step} of {last} iterations")
                started = time.perf_counter()
                batch = next(source)
                waited = time.perf_counter() - started
                report = self._iterate(batch, started=started, waited=waited)
                if on_step is not None:
                    on_step(report)
        if self.done:
            self._apply_average()

    def _iterate(self, batch: Batch, *, started: float, waited: float) -> IterationReport:
        lr = self.optimisation.lr * _lr_factor(self.optimisation, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.zero_grad(set_to_none=True)
        terms: dict[str, Tensor] = {}
        for part in batch.to(self.device).parts(self.optimisation.parts):
            for name, value in self._learn(part, share=len(part) / len(batch)).items():
                terms[name] = terms[name] + value if name in terms else value
        if self.anchor is not None:
            terms["anchor"] = self.anchor.pull(dict(_unwrapped(self.network).named_parameters()))
        # one transfer for all numbers of the step
        values = torch.stack([*terms.values()]).tolist()
        by_name = dict(zip(terms, values, strict=True))
        if not all(math.isfinite(value) for value in values):
            raise TrainingDivergedError(
                f"the loss of iteration {self.step + 1} is not finite: {by_name}; the learning rate "
                f"{lr:g} may be too high"
            )
        if self.optimisation.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.optimisation.clip_norm)
        self.optimiser.step()
        self.step += 1
        self._accumulate_average()
        return IterationReport(
            step=self.step,
            steps=self.optimisation.iterations,
            loss=sum(values),
            terms=by_name,
            lr=lr,
            seconds=time.perf_counter() - started,
            input_wait=waited,
            samples=len(batch),
        )

    def _learn(self, batch: Batch, *, share: float) -> dict[str, Tensor]:
        """Add the gradients of a part of a batch; its terms, times its share, without gradient."""
        with torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype != torch.float32):
            output = self.network(batch.pixels)
        terms = {name: share * term.float() for name, term in self.objective(output, batch).items()}
        torch.stack([*terms.values()]).sum().backward()  # type: ignore[no-untyped-call]  # torch's own stub
        return {name: term.detach() for name, term in terms.items()}

    def train_mode(self) -> None:
        """Put the network into the mode it is trained in; needed again after an evaluation in between."""
        self.network.train()
        if self.optimisation.batch_norm == "train":
            return
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - torch's only common base
                module.eval()
                if self.optimisation.batch_norm == "all":
                    module.requires_grad_(requires_grad=False)

    def state_dict(self) -> dict[str, Any]:
        """Optimiser, step and running average: tensors and numbers only (`torch.load(weights_only=True)`)."""
        return {
            "step": self.step,
            "optimiser": self.optimiser.state_dict(),
            "average": self._average,
            "averaged": self._averaged,
            "anchor": None if self.anchor is None else self.anchor.gatherer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken; the network's own weights are loaded apart."""
        self.step = int(state["step"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._average = state["average"]
        self._averaged = int(state["averaged"])
        if self.anchor is not None:
            self.anchor.gatherer.load_state_dict(state["anchor"])

    def _accumulate_average(self) -> None:
        share = self.optimisation.average_last
        if not share or self.step <= self.optimisation.iterations * (1 - share):
            return
        self._averaged += 1
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if not value.is_floating_point():
                    continue
                if name in self._average:
                    self._average[name].lerp_(value, 1 / self._averaged)
                else:
                    self._average[name] = value.clone()

    def _apply_average(self) -> None:
        if self._averaged:
            self.network.load_state_dict(self._average, strict=False)


def cross_entropy_objective(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
    """Plain cross-entropy over the labelled pixels: dense pretraining and the control network."""
    from icss_core.losses import partial_cross_entropy

    return {"cross_entropy": partial_cross_entropy(output.logits, batch.labels)}


def _unwrapped(network: nn.Module) -> nn.Module:
    """The network itself where it is wrapped for data parallelism."""
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network


def _build_optimiser(network: nn.Module, optimisation: Optimisation) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if optimisation.optimiser == "adam":
        return torch.optim.Adam(
            parameters, lr=optimisation.lr, weight_decay=optimisation.weight_decay, fused=True
        )
    return torch.optim.SGD(
        parameters,
        lr=optimisation.lr,
        momentum=optimisation.momentum,
        nesterov=optimisation.nesterov,
        weight_decay=optimisation.weight_decay,
        fused=True,
    )


def _lr_factor(optimisation: Optimisation, step: int) -> float:
    """What the learning rate is multiplied by in iteration `step`, counted from 0."""
    done = step / max(optimisation.iterations, 1)
    factor = 1.0
    match optimisation.schedule:
        case "poly":
            factor = (1 - done) ** 0.9
        case "multistep":
            factor = 0.1 ** sum(done >= milestone for milestone in optimisation.milestones)
        case "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * done))
        case "constant":
            pass
    if step < optimisation.warmup:
        factor *= (step + 1) / (optimisation.warmup + 1)
    return factor
