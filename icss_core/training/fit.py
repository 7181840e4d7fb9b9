"""The one training loop: pretraining on Ray workers, updates, benchmarks and tests all run it."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from icss_core.compute.layout import to_channels_last
from icss_core.compute.precision import resolve_precision
from icss_core.compute.prefetch import prefetched
from icss_core.errors import CancelledError, TrainingDivergedError
from icss_core.raster.environment import RasterEnvironment
from icss_core.training.optimisation import build_optimiser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from icss_core.training.learner import Learner
    from icss_core.training.optimisation import Optimisation

CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationReport:
    """What one iteration did."""

    iteration: int
    """Iterations done, from 1."""
    iterations: int
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


class _LossOfBatch(nn.Module):
    """A learner's networks and loss as one module, which data parallelism can wrap."""

    def __init__(self, learner: Learner[Any, Any], autocast: Callable[[], torch.autocast]) -> None:
        super().__init__()
        self.learnt = nn.ModuleDict(dict(learner.modules()))
        self._learner, self._autocast = learner, autocast

    def forward(self, batch: Any) -> Mapping[str, Tensor]:
        with self._autocast():
            outputs = self._learner.forward(batch)
        return {name: term.float() for name, term in self._learner.objective(outputs, batch).items()}


class Fit:
    """A training in progress: learner, optimiser and iteration. `run` continues it; `state_dict` saves it.

    Args:
        learner: networks, batches and loss.
        optimisation: numbers of the optimisation.
        device: where the networks compute; they and the batches are moved there.
        distributed: wraps the module whose forward pass gives the loss, for data parallelism.
    """

    def __init__(
        self,
        learner: Learner[Any, Any],
        optimisation: Optimisation,
        *,
        device: torch.device = CPU,
        distributed: Callable[[nn.Module], nn.Module] = lambda module: module,
    ) -> None:
        self.learner = learner
        self.optimisation = optimisation
        self.device = device
        self.iteration = 0
        self._modules = nn.ModuleDict(dict(learner.modules()))
        # before the wrapper for data parallelism, which remembers how gradients lie in memory
        to_channels_last(self._modules.to(device))
        self.train_mode()
        self._groups = learner.parameter_groups()
        dtype = resolve_precision(optimisation.precision, device)
        autocast = partial(torch.autocast, device.type, dtype=dtype, enabled=dtype != torch.float32)
        # no reference back to this object: a cycle would keep the networks until the garbage collector runs
        self._loss = distributed(_LossOfBatch(learner, autocast))
        self.optimiser = build_optimiser(self._groups, optimisation)
        self._average: dict[str, Tensor] = {}
        self._averaged = 0
        self._ended = False

    @property
    def done(self) -> bool:
        """Whether all iterations were made."""
        return self.iteration >= self.optimisation.iterations

    def run(
        self,
        *,
        until: int | None = None,
        on_iteration: Callable[[IterationReport], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Iterate from the current iteration to `until` (default: the end).

        Batches are made ahead in a background thread, with the GDAL settings and credentials of this one.

        Args:
            until: last iteration to make.
            on_iteration: called after each; may save `state_dict()`.
            should_stop: asked before each iteration.

        Raises:
            CancelledError: `should_stop` said so; the network is left half-trained.
            TrainingDivergedError: the loss is not finite, which means the learning rate is too high or the
                pixels are not what the normalisation says.
        """
        last = min(until if until is not None else self.optimisation.iterations, self.optimisation.iterations)
        pin = self.device.type == "cuda"
        context = RasterEnvironment.capture().enter

        def make(iteration: int) -> Any:
            batch = self.learner.batch(iteration)
            return batch.pin() if pin else batch

        with closing(prefetched(make, range(self.iteration, last), context=context)) as source:
            while self.iteration < last:
                if should_stop is not None and should_stop():
                    raise CancelledError(f"stopped on request after {self.iteration} of {last} iterations")
                started = time.perf_counter()
                batch = next(source)
                waited = time.perf_counter() - started
                report = self._iterate(batch, started=started, waited=waited)
                if on_iteration is not None:
                    on_iteration(report)
        if self.done:
            self.finish()

    def finish(self) -> None:
        """End the training where it is; further calls do nothing.

        `run` does so after the last iteration; call it where a training ends before that.
        """
        if not self._ended:
            self._ended = True
            self._apply_average()
            self.learner.end()

    def _iterate(self, batch: Any, *, started: float, waited: float) -> IterationReport:
        self.learner.begin(self.iteration)
        lr = self.optimisation.lr * self.optimisation.lr_factor(self.iteration)
        for state, group in zip(self.optimiser.param_groups, self._groups, strict=True):
            state["lr"] = lr * group.lr_factor
        self.optimiser.zero_grad(set_to_none=True)
        terms: dict[str, Tensor] = {}
        for part in batch.to(self.device).parts(self.optimisation.parts):
            for name, value in self._learn(part, fraction=len(part) / len(batch)).items():
                terms[name] = terms[name] + value if name in terms else value
        terms |= self.learner.after_backward()
        # one transfer for all numbers of the iteration
        values = torch.stack([*terms.values()]).tolist()
        by_name = dict(zip(terms, values, strict=True))
        if not all(math.isfinite(value) for value in values):
            raise TrainingDivergedError(
                f"the loss of iteration {self.iteration + 1} is not finite: {by_name}; the learning rate "
                f"{lr:g} may be too high"
            )
        if self.optimisation.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._modules.parameters(), self.optimisation.clip_norm)
        self.optimiser.step()
        self.iteration += 1
        self._accumulate_average()
        return IterationReport(
            iteration=self.iteration,
            iterations=self.optimisation.iterations,
            loss=sum(values),
            terms=by_name,
            lr=lr,
            seconds=time.perf_counter() - started,
            input_wait=waited,
            samples=len(batch),
        )

    def _learn(self, part: Any, *, fraction: float) -> dict[str, Tensor]:
        """Add the gradients of a part of a batch; its terms, times its fraction, without gradient."""
        terms = {name: fraction * term for name, term in self._loss(part).items()}
        torch.stack([*terms.values()]).sum().backward()  # type: ignore[no-untyped-call]  # torch's own stub
        return {name: term.detach() for name, term in terms.items()}

    def train_mode(self) -> None:
        """Put the networks into the mode they are trained in; needed again after an evaluation in between."""
        self._modules.train()
        if self.optimisation.batch_norm == "train":
            return
        for module in self._modules.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - torch's only common base
                module.eval()
                if self.optimisation.batch_norm == "all":
                    module.requires_grad_(requires_grad=False)

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser, iteration, average, and what the learner remembers.

        Tensors and plain values only: `torch.load(weights_only=True)` reads it.
        """
        return {
            "iteration": self.iteration,
            "modules": self._modules.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self._average,
            "averaged": self._averaged,
            "learner": self.learner.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.iteration = int(state["iteration"])
        self._modules.load_state_dict(state["modules"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._average = state["average"]
        self._averaged = int(state["averaged"])
        self._ended = False
        self.learner.load_state_dict(state["learner"])

    def _accumulate_average(self) -> None:
        fraction = self.optimisation.average_last
        if not fraction or self.iteration <= self.optimisation.iterations * (1 - fraction):
            return
        self._averaged += 1
        with torch.no_grad():
            for name, value in self._modules.state_dict().items():
                if not value.is_floating_point():
                    continue
                if name in self._average:
                    self._average[name].lerp_(value, 1 / self._averaged)
                else:
                    self._average[name] = value.clone()

    def _apply_average(self) -> None:
        if self._averaged:
            self._modules.load_state_dict(self._average, strict=False)
