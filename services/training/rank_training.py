"""What a plan of a training gives to each of its ranks; the worker knows plans by nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import ExitStack

    from icss_core.networks.model_folder import ModelCard
    from icss_core.training import Learner, Optimisation
    from services.storage import Storage
    from services.training.rank import Rank
    from services.training.validation import Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTraining:
    """What one rank trains."""

    learner: Learner[Any, Any]
    optimisation: Optimisation
    card: ModelCard
    """Of the version that is made."""
    validation: Validation | None
    """None: nothing is known to score the network on."""


class TrainingNumbers(Protocol):
    """How a training is spread over a cluster, and when it reports and ends."""

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def workers(self) -> int:
        """Data-parallel; 0: the job's own process."""

    @property
    def cpus_per_worker(self) -> int:
        """CPUs of each."""

    @property
    def gpu(self) -> bool | None:
        """One GPU for each worker; None: if the cluster has that many."""

    @property
    def max_failures(self) -> int:
        """How often the workers may be started again after one died."""

    @property
    def validate_every(self) -> int:
        """Iterations between validations."""

    @property
    def checkpoint_every(self) -> int:
        """Iterations between checkpoints; time calls for some too."""

    @property
    def minutes(self) -> float | None:
        """Time for the iterations; None: all of them are made."""


class TrainingPlan(Protocol):
    """All that the ranks of a training have in common; travels to them by pickle."""

    @property
    def numbers(self) -> TrainingNumbers:
        """How it is spread, and when it reports."""

    def on_rank(self, rank: Rank, storage: Storage, closing: ExitStack) -> RankTraining:
        """Set up what one rank trains; the same at every start of the job.

        Args:
            rank: which.
            storage: where images and scenes lie; the block runs in its environment.
            closing: closes what is opened, after the training.

        Raises:
            IcssError: something that is needed cannot be had.
        """
