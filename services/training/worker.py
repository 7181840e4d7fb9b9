"""What each rank of a training does: the core's training loop between reports and checkpoints."""

from __future__ import annotations

import functools
import logging
import statistics
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import distributed

from icss_core.errors import CancelledError
from icss_core.training import Fit
from services.settings import load_settings
from services.storage import Storage
from services.training.checkpoint import (
    CheckpointStore,
    TrainingProgress,
    load_checkpoint,
    read_progress,
    save_checkpoint,
)
from services.training.meter import TrainingMeter
from services.training.rank import RayRank
from services.training.report import IterationPoint, WorkerReport

if TYPE_CHECKING:
    from icss_core.training import IterationReport
    from services.training.rank import Rank
    from services.training.rank_training import RankTraining, TrainingNumbers, TrainingPlan

REPORT_SECONDS = 4.0
"""Between reports without a checkpoint: twice the controller's polling interval, so that none has to wait."""
CHECKPOINT_SECONDS = 50.0
"""Between checkpoints at most, but for the iteration that runs then: where machines may be taken away at any
time, no more than a minute of work is lost."""
_KEPT_POINTS = 1000
"""Iterations that a checkpoint tells of. Workers do not wait until the job has heard them: what it has not,
when both are stopped, it hears when the training goes on."""

_FIRST_ITERATIONS = 12
"""After so many the pace is known, where there is a time budget."""
_FRACTION_FOR_ITERATIONS = 0.85
"""Of the time; the rest is for validations and checkpoints."""


class WorkerTask(TypedDict):
    """What a job hands to each worker; a dict, as Ray Train wants it."""

    plan: TrainingPlan
    checkpoints: str
    """The s3:// prefix where the job keeps its checkpoints."""
    generation: int
    """Of the job's lease."""


def train_worker(loop_config: WorkerTask) -> None:
    """Entry point of a Ray Train worker."""
    _quieten_ray()
    train(loop_config["plan"], RayRank(), loop_config["checkpoints"], generation=loop_config["generation"])


def train(plan: TrainingPlan, rank: Rank, checkpoints: str, *, generation: int = 0) -> None:
    """Do one rank's part of a training, from its last checkpoint or from the beginning."""
    storage = Storage(load_settings())
    store = CheckpointStore(storage, checkpoints, generation=generation)
    with storage.raster_environment(), ExitStack() as closing:
        if store.is_finished():  # a worker died between its last checkpoint and its last report
            _report_end(store, rank)
        else:
            Worker(plan.numbers, plan.on_rank(rank, storage, closing), rank, store).train()


def _report_end(store: CheckpointStore, rank: Rank) -> None:
    """Report what the finished training did."""
    with store.latest() as folder:
        assert folder is not None  # noqa: S101 - it is finished
        progress = read_progress(folder)
    rank.report(
        WorkerReport(
            iteration=progress.iteration,
            iterations=progress.iterations,
            seconds=progress.seconds,
            points=progress.points,
        )
    )


def _quieten_ray() -> None:
    """Do not print each report whole: that logger is named by its file, and `LoggingConfig` misses it."""
    context = sys.modules.get("ray.train.v2._internal.execution.context")
    if context is not None and context.__file__ is not None:
        logging.getLogger(context.__file__).setLevel(logging.WARNING)


class Worker:
    """One rank of a data-parallel training: loops, reports and saves; what is learnt is the learner's matter.

    All ranks do the same at the same iteration: rank 0 decides after each whether to report, validate, save
    or stop, and tells the others.
    """

    def __init__(
        self, numbers: TrainingNumbers, training: RankTraining, rank: Rank, checkpoints: CheckpointStore
    ) -> None:
        self._numbers, self._training, self._rank, self._checkpoints = numbers, training, rank, checkpoints
        self._fit = Fit(
            training.learner,
            training.optimisation,
            device=rank.device,
            distributed=functools.partial(
                rank.distributed, leaves_gradients_out=training.learner.leaves_gradients_out
            ),
        )
        self._progress = TrainingProgress(
            iteration=0, iterations=training.optimisation.iterations, seconds=0.0
        )
        with checkpoints.latest() as folder:
            self._resumed = folder is not None
            if folder is not None:
                self._progress = load_checkpoint(folder, self._fit)
            self._set_iterations(self._progress.iterations)
        self._meter = TrainingMeter(model=numbers.model, rank=rank.number)
        self._points: list[IterationPoint] = list(self._progress.points)
        self._latest = deque(self._points, maxlen=_KEPT_POINTS)
        self._first_points: list[IterationPoint] = []
        self._started = self._reported = self._saved = time.monotonic()
        self._out_of_time = False

    def train(self) -> None:
        """Iterate to the end, or until the time is over; the last checkpoint holds the finished network."""
        if not (self._resumed and (self._fit.done or self._time_is_over())):
            self._report(resumed_at=self._fit.iteration if self._resumed else None)
            try:
                if self._numbers.minutes is not None and not self._resumed:
                    self._iterate(until=_FIRST_ITERATIONS)
                    self._fit_into_the_time(60 * self._numbers.minutes)
                self._iterate()
            except CancelledError:  # our own: the time is over
                if not self._out_of_time:
                    raise
        self._fit.finish()  # where the time was over before the last iteration
        self._report(validation=self._validate(), save=True, finished=True)

    def _iterate(self, *, until: int | None = None) -> None:
        self._fit.run(until=until, on_iteration=self._after_iteration, should_stop=lambda: self._out_of_time)

    def _fit_into_the_time(self, seconds: float) -> None:
        """Lower the number of iterations to what fits, so that the learning rate comes to its end."""
        # waiting for input is left out: the first crops come from a cold cache
        pace = statistics.median(point.seconds - point.input_wait for point in self._first_points)
        fitting = self._fit.iteration + int(
            _FRACTION_FOR_ITERATIONS * (seconds - self._seconds()) / max(pace, 1e-6)
        )
        agreed = torch.tensor([fitting], device=self._rank.device)
        if self._rank.world > 1:
            distributed.broadcast(agreed, src=0)
        limit = self._training.optimisation.iterations
        self._set_iterations(max(min(int(agreed), limit), self._fit.iteration))

    def _set_iterations(self, iterations: int) -> None:
        self._fit.optimisation = self._training.optimisation.model_copy(update={"iterations": iterations})

    def _after_iteration(self, report: IterationReport) -> None:
        point = IterationPoint(
            iteration=report.iteration,
            loss=report.loss,
            terms=report.terms,
            lr=report.lr,
            seconds=report.seconds,
            input_wait=report.input_wait,
            samples=report.samples,
        )
        self._points.append(point)
        self._latest.append(point)
        self._meter.iteration(point)
        if report.iteration <= _FIRST_ITERATIONS:
            self._first_points.append(point)
        if self._fit.done:
            return  # the end is reported once the weights are final
        now = time.monotonic()
        due, overdue, self._out_of_time = self._agree(
            now - self._reported >= REPORT_SECONDS,
            now - self._saved >= CHECKPOINT_SECONDS,
            self._time_is_over(),
        )
        if self._out_of_time:
            return
        scored = self._training.validation is not None
        validate = scored and report.iteration % self._numbers.validate_every == 0
        save = overdue or report.iteration % self._numbers.checkpoint_every == 0
        if validate or save or due:
            self._report(validation=self._validate() if validate else None, save=save)

    def _agree(self, *mine: bool) -> list[bool]:
        """Rank 0's answers, on every rank."""
        flags = torch.tensor(mine, dtype=torch.uint8, device=self._rank.device)
        if self._rank.world > 1:
            distributed.broadcast(flags, src=0)
        return [bool(flag) for flag in flags.tolist()]

    def _time_is_over(self) -> bool:
        return self._numbers.minutes is not None and self._seconds() >= 60 * self._numbers.minutes

    def _seconds(self) -> float:
        return self._progress.seconds + time.monotonic() - self._started

    def _validate(self) -> dict[str, float] | None:
        validation, network = self._training.validation, self._training.learner.network
        if validation is None or not validation.windows:
            return None
        scores = validation.iou(network, device=self._rank.device)
        self._fit.train_mode()
        return dict(zip(self._training.card.label_space.names, scores.tolist(), strict=True))

    def _report(
        self,
        *,
        resumed_at: int | None = None,
        validation: dict[str, float] | None = None,
        save: bool = False,
        finished: bool = False,
    ) -> None:
        """Report to the job; every rank does at the same iteration, rank 0 saves the checkpoint first."""
        progress = TrainingProgress(
            iteration=self._fit.iteration,
            iterations=self._fit.optimisation.iterations,
            seconds=self._seconds(),
            points=list(self._latest),
        )
        if save:
            self._saved = time.monotonic()  # the pause to the next is counted from here, saving included
        if save and self._rank.number == 0:
            with tempfile.TemporaryDirectory(prefix="icss-checkpoint-") as name:
                card = self._training.card if finished else None
                save_checkpoint(Path(name), self._fit, progress, finished=card)
                self._checkpoints.save(Path(name), self._fit.iteration)
        self._rank.report(
            WorkerReport(
                iteration=progress.iteration,
                iterations=progress.iterations,
                seconds=progress.seconds,
                points=self._points,
                resumed_at=resumed_at,
                validation=validation,
                checkpoint=save,
            )
        )
        self._points = []
        self._reported = time.monotonic()
