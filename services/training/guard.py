"""What ends a training on workers at once, where Ray Train would start it again or go on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ray.train import UserCallback

from services.errors import TrackingError, may_pass
from services.ownership import check_generation
from services.settings import load_settings
from services.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Mapping

_logger = logging.getLogger(__name__)


class TrainingGuard(UserCallback):
    """Ends a training that another process has taken over, or that fails the same way every time.

    What a callback raises ends the training without a restart; the job finds it in `ControllerError`. Travels
    to the controller by pickle, so it connects only there.

    Args:
        run_id: the job's run.
        generation: of the job's lease on it.
    """

    def __init__(self, run_id: str, generation: int) -> None:
        self._run_id, self._generation = run_id, generation
        self._tracking: Tracking | None = None

    def after_report(self, run_context: object, metrics: object, checkpoint: object | None) -> None:
        """All workers have reported.

        Raises:
            LostOwnershipError: another process has taken over; its workers write the same checkpoints.
        """
        del run_context, metrics, checkpoint
        try:
            if self._tracking is None:
                self._tracking = Tracking(load_settings())
            check_generation(self._tracking, self._run_id, self._generation)
        except TrackingError as error:  # a server that is away for a while must not end a long training
            _logger.warning("nobody knows whether this training was taken over: %s", error)

    def after_exception(self, run_context: object, worker_exceptions: Mapping[int, Exception]) -> None:
        """Workers have failed.

        Raises:
            IcssError: the first of theirs that would only come again.
        """
        del run_context
        for _, error in sorted(worker_exceptions.items()):
            # Ray wraps what the training raised, as the first of the arguments
            for one in (error, *error.args):
                if isinstance(one, Exception) and not may_pass(one):
                    raise one
