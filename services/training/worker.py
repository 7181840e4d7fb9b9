"""What each rank of a training does: the core's training loop between reports and checkpoints."""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from icss_core.continual import class_prototypes
from icss_core.data.random_crops import RandomCrops
from icss_core.errors import CancelledError
from icss_core.methods import needs_of
from icss_core.training import Fit
from services.data.scenes import open_scenes
from services.settings import load_settings
from services.storage import Storage
from services.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from services.training.plan import Plan
from services.training.rank import RayRank
from services.training.start import prepare_start
from services.training.validation import Validation

if TYPE_CHECKING:
    from icss_core.losses import Prototypes
    from icss_core.training import IterationReport
    from services.training.rank import Rank

REPORT_SECONDS = 4.0
"""Between reports without a checkpoint: twice the controller's polling interval, so that none has to wait."""

_FIRST_ITERATIONS = 12
"""After so many the pace is known, where there is a time budget."""
_SHARE_FOR_ITERATIONS = 0.85
"""Of the time; the rest is for validations and checkpoints."""


def train_worker(loop_config: dict[str, Any]) -> None:
    """Entry point of a Ray Train worker. `loop_config["plan"]` is the plan as JSON."""
    _quieten_ray()
    train(Plan.model_validate_json(loop_config["plan"]), RayRank())


def train(plan: Plan, rank: Rank) -> None:
    """Do one rank's part of a training, from its last checkpoint or from the beginning."""
    storage = Storage(load_settings())
    with storage.raster_environment(), ExitStack() as closing:
        Worker(plan, rank, storage, closing).train()


def _quieten_ray() -> None:
    """Do not print each report whole: that logger is named by its file, and `LoggingConfig` misses it."""
    context = sys.modules.get("ray.train.v2._internal.execution.context")
    if context is not None and context.__file__ is not None:
        logging.getLogger(context.__file__).setLevel(logging.WARNING)


class Worker:
    """One rank of a data-parallel training.

    All ranks do the same at the same step: rank 0 decides after each iteration whether to report, validate,
    save or stop, and tells the others.
    """

    def __init__(self, plan: Plan, rank: Rank, storage: Storage, closing: ExitStack) -> None:
        config = plan.config
        self._plan, self._config, self._rank = plan, config, rank
        self._device = rank.device
        step = config.step
        needs = frozenset() if step is None else needs_of(step.preset)
        train = open_scenes(
            plan.dataset,
            "train",
            classes=plan.classes,
            storage=storage,
            closing=closing,
            hidden=config.hidden,
            others=config.others,
            only=plan.scenes,
            possible="possible" in needs,
            objectness="objectness" in needs,
            background=step is None or step.preset.background,
        )
        val = open_scenes(plan.dataset, "val", classes=plan.classes, storage=storage, closing=closing)
        start = prepare_start(plan, train, settings=load_settings(), device=self._device)
        self._network = start.network
        self._train, self._known_prototypes = train, start.prototypes
        self._fit = Fit(
            rank.distributed(self._network),
            start.objective,
            config.optimisation,
            device=self._device,
            anchor=start.anchor,
        )
        self._progress = Progress(step=0, iterations=config.optimisation.iterations, seconds=0.0)
        with rank.checkpoint() as folder:
            self._resumed = folder is not None
            if folder is not None:
                self._progress = load_checkpoint(folder, self._network, self._fit)
                self._set_iterations(self._progress.iterations)
        self._crops = RandomCrops(
            train,
            size=config.crop,
            batch=config.batch,
            seed=config.seed,
            rank=rank.number,
            upside_down=config.upside_down,
            scale=config.scale,
            area=config.area,
        )
        self._validation = Validation(
            val,
            size=config.crop,
            most=config.validation_windows,
            batch=config.batch,
            rank=rank.number,
            world=rank.world,
            precision=config.optimisation.precision,
        )
        self._points: list[list[float]] = []
        self._first_points: list[list[float]] = []
        self._started = self._reported = time.monotonic()
        self._out_of_time = False

    def train(self) -> None:
        """Iterate to the end, or until the time is over; the last report carries the finished network."""
        if self._resumed and (self._fit.done or self._time_is_over()):
            # the checkpoint this job was resumed from is its result, but for what only a last one has
            prototypes = self._prototypes()
            if prototypes is not None:
                self._report({}, save=True, prototypes=prototypes)
            return
        self._report({"start": {"step": self._fit.step, "resumed": self._resumed}}, save=False)
        try:
            if self._config.minutes is not None and not self._resumed:
                self._iterate(until=_FIRST_ITERATIONS)
                self._fit_into_the_time(60 * self._config.minutes)
            self._iterate()
        except CancelledError:  # our own: the time is over
            if not self._out_of_time:
                raise
        self._report({"validation": self._validate()}, save=True, prototypes=self._prototypes())

    def _iterate(self, *, until: int | None = None) -> None:
        self._fit.run(
            self._crops, until=until, on_step=self._after_step, should_stop=lambda: self._out_of_time
        )

    def _fit_into_the_time(self, seconds: float) -> None:
        """Lower the number of iterations to what fits, so that the learning rate comes to its end."""
        # waiting for input is left out: the first crops come from a cold cache
        pace = statistics.median(row[3] - row[4] for row in self._first_points)
        fitting = self._fit.step + int(_SHARE_FOR_ITERATIONS * (seconds - self._seconds()) / max(pace, 1e-6))
        agreed = torch.tensor([fitting], device=self._device)
        if self._rank.world > 1:
            distributed.broadcast(agreed, src=0)
        self._set_iterations(max(min(int(agreed), self._config.optimisation.iterations), self._fit.step))

    def _set_iterations(self, iterations: int) -> None:
        self._fit.optimisation = self._config.optimisation.model_copy(update={"iterations": iterations})

    def _after_step(self, report: IterationReport) -> None:
        point = [report.step, report.loss, report.lr, report.seconds, report.input_wait, report.samples]
        self._points.append(point)
        if report.step <= _FIRST_ITERATIONS:
            self._first_points.append(point)
        if self._fit.done:
            return  # the end is reported once the weights are final
        due, self._out_of_time = self._agree(
            time.monotonic() - self._reported >= REPORT_SECONDS, self._time_is_over()
        )
        if self._out_of_time:
            return
        validate = report.step % self._config.validate_every == 0
        save = report.step % self._config.checkpoint_every == 0
        if validate or save or due:
            self._report({"validation": self._validate()} if validate else {}, save=save)

    def _agree(self, *mine: bool) -> list[bool]:
        """Rank 0's answers, on every rank."""
        flags = torch.tensor(mine, dtype=torch.uint8, device=self._device)
        if self._rank.world > 1:
            distributed.broadcast(flags, src=0)
        return [bool(flag) for flag in flags.tolist()]

    def _time_is_over(self) -> bool:
        return self._config.minutes is not None and self._seconds() >= 60 * self._config.minutes

    def _seconds(self) -> float:
        return self._progress.seconds + time.monotonic() - self._started

    def _validate(self) -> dict[str, float] | None:
        if not self._validation.windows:
            return None
        scores = self._validation.iou(self._network, device=self._device)
        self._fit.train_mode()
        return dict(zip(self._plan.card.label_space.names, scores.tolist(), strict=True))

    def _prototypes(self) -> Prototypes | None:
        """Class means of the trained network, where later steps want them; rank 0's."""
        step = self._config.step
        if step is None or not step.preset.prototypes or self._rank.number:
            return None
        return class_prototypes(
            self._network,
            self._train,
            size=self._config.crop,
            device=self._device,
            known=self._known_prototypes,
            precision=self._config.optimisation.precision,
        )

    def _report(self, extra: dict[str, Any], *, save: bool, prototypes: Prototypes | None = None) -> None:
        """Report to the job; every rank calls this at the same step, rank 0 brings the checkpoint."""
        metrics = {"step": self._fit.step, "seconds": self._seconds(), "points": self._points, **extra}
        metrics["iterations"] = self._fit.optimisation.iterations
        if save and self._rank.number == 0:
            with tempfile.TemporaryDirectory(prefix="icss-checkpoint-") as name:
                progress = Progress(
                    step=self._fit.step,
                    iterations=self._fit.optimisation.iterations,
                    seconds=self._seconds(),
                )
                folder = Path(name)
                save_checkpoint(
                    folder, self._network, self._plan.card, self._fit, progress, prototypes=prototypes
                )
                self._rank.report(metrics, folder)
        else:
            self._rank.report(metrics, None)
        self._points = []
        self._reported = time.monotonic()
