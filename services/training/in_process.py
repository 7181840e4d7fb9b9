"""Training in the job's own process, for networks that learn faster than a worker starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.compute.device import default_device
from icss_core.errors import IcssError, InvalidParameterError
from services.errors import LostOwnershipError, TrainingError
from services.training.callback import MlflowCallback
from services.training.guard import TrainingGuard
from services.training.worker import train

if TYPE_CHECKING:
    from torch import nn

    from services.training.rank_training import TrainingPlan
    from services.training.report import WorkerReport


def train_in_process(plan: TrainingPlan, run_id: str, checkpoints: str, *, generation: int = 0) -> None:
    """Train here and now, to the last checkpoint.

    The numbers are those of one Ray Train worker. Nobody starts the training again if this process dies; the
    job, submitted again, goes on with the last checkpoint under the prefix.

    Args:
        plan: of the job.
        run_id: MLflow run that is told how it goes.
        checkpoints: s3:// prefix of the job's checkpoints.
        generation: of the job's lease on the run; 0: nobody owns it.

    Raises:
        LostOwnershipError: another process has taken over.
        IcssError: as the training's own.
        InvalidParameterError: a GPU is asked for, and this process sees none.
        TrainingError: whatever else went wrong; the run keeps its text.
    """
    callback = MlflowCallback(run_id)
    guard = TrainingGuard(run_id, generation)
    rank = OnlyRank(callback, guard, device=_device(plan.numbers.gpu))
    try:
        train(plan, rank, checkpoints, generation=generation)
    except LostOwnershipError:
        raise  # the run is somebody else's
    except Exception as error:
        callback.after_exception(None, {0: error})
        if isinstance(error, IcssError):
            raise
        raise TrainingError(f"training stopped: {type(error).__name__}: {error}") from error


def _device(gpu: bool | None) -> torch.device:
    """The GPU that this process sees, if it may and has one."""
    if gpu is False:
        return torch.device("cpu")
    device = default_device()
    if gpu and device.type == "cpu":
        raise InvalidParameterError("a GPU is asked for, and the job's process sees none")
    return device


class OnlyRank:
    """The one rank there is.

    Args:
        callbacks: told every report, in this order; what one raises ends the training.
        device: where to compute.
    """

    number = 0
    world = 1

    def __init__(
        self, *callbacks: MlflowCallback | TrainingGuard, device: torch.device | None = None
    ) -> None:
        self.device = device or torch.device("cpu")
        self._callbacks = callbacks

    def distributed(self, module: nn.Module, *, leaves_gradients_out: bool) -> nn.Module:
        """See `Rank`; alone."""
        del leaves_gradients_out
        return module

    def report(self, report: WorkerReport) -> None:
        """See `Rank`."""
        for callback in self._callbacks:
            callback.after_report(None, [report.model_dump()], None)
