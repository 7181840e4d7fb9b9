"""Training in the job's own process, for networks that learn faster than a worker starts."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from icss_core.compute.device import default_device
from icss_core.errors import IcssError, InvalidParameterError
from services.errors import TrainingError
from services.storage import Storage
from services.training.callback import MlflowCallback
from services.training.worker import train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from services.settings import Settings
    from services.training.plan import Plan

_LATEST: Final = "latest.txt"


@contextmanager
def train_in_process(plan: Plan, run_id: str, prefix: str, settings: Settings) -> Iterator[Path]:
    """Train here and now; gives the folder of the last checkpoint, which is gone afterwards.

    The numbers are those of one Ray Train worker. Nobody starts the training again if this process dies; the
    job, submitted again, goes on with the last checkpoint under the prefix.

    Args:
        plan: of the job.
        run_id: MLflow run that is told how it goes.
        prefix: s3:// prefix of the job's checkpoints.
        settings: of the services.

    Raises:
        IcssError: as the training's own.
        InvalidParameterError: a GPU is asked for, and this process sees none.
        TrainingError: whatever else went wrong; the run keeps its text.
    """
    device = _device(plan.config.gpu)
    with tempfile.TemporaryDirectory(prefix="icss-training-") as folder:
        callback = MlflowCallback(run_id)
        rank = OnlyRank(Path(folder), callback, Storage(settings), prefix, device=device)
        try:
            train(plan, rank)
        except Exception as error:
            callback.after_exception(None, {0: error})
            if isinstance(error, IcssError):
                raise
            raise TrainingError(f"training stopped: {type(error).__name__}: {error}") from error
        yield rank.last


def _device(gpu: bool | None) -> torch.device:
    """The GPU that this process sees, if it may and has one."""
    if gpu is False:
        return torch.device("cpu")
    device = default_device()
    if gpu and device.type == "cpu":
        raise InvalidParameterError("a GPU is asked for, and the job's process sees none")
    return device


class OnlyRank:
    """The one rank there is. Checkpoints are in the store once the marker beside them names them.

    Args:
        folder: empty, for checkpoints on their way.
        callback: told every report.
        storage: of the checkpoints.
        prefix: under which they lie.
        device: where to compute.
    """

    number = 0
    world = 1

    def __init__(
        self,
        folder: Path,
        callback: MlflowCallback,
        storage: Storage,
        prefix: str,
        *,
        device: torch.device | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.last = folder / "last"
        self._callback, self._storage, self._prefix = callback, storage, prefix

    def distributed(self, network: nn.Module) -> nn.Module:
        """See `Rank`; alone."""
        return network.to(self.device)

    @contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        """See `Rank`."""
        marker = f"{self._prefix}/{_LATEST}"
        if not self._storage.exists(marker):
            yield None
            return
        base = f"{self._prefix}/{self._storage.read_bytes(marker).decode()}"
        for address in self._storage.list(base):
            target = self.last / address.removeprefix(f"{base}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            self._storage.download(address, target)
        yield self.last

    def report(self, metrics: dict[str, Any], folder: Path | None) -> None:
        """See `Rank`."""
        if folder is not None:
            shutil.rmtree(self.last, ignore_errors=True)
            shutil.copytree(folder, self.last)
            if "validation" not in metrics or metrics["step"] < metrics["iterations"]:
                self._keep(metrics["step"])
        self._callback.after_report(None, [metrics], folder)

    def _keep(self, step: int) -> None:
        """Upload the last checkpoint; the finished network is registered at once instead."""
        base = f"{self._prefix}/checkpoint-{step}"
        for path in sorted(self.last.rglob("*")):
            if path.is_file():
                self._storage.upload(path, f"{base}/{path.relative_to(self.last).as_posix()}")
        self._storage.write_bytes(f"{self._prefix}/{_LATEST}", f"checkpoint-{step}".encode())
        for address in list(self._storage.list(self._prefix)):
            if not address.startswith(f"{base}/") and not address.endswith(f"/{_LATEST}"):
                self._storage.delete(address)
