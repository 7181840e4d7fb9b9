"""One process at a time works on a training job, wherever in the cluster it is submitted."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import ray

if TYPE_CHECKING:
    from collections.abc import Iterator

_logger = logging.getLogger(__name__)
_NAMESPACE: Final = "icss-training"
_POLL_SECONDS: Final = 2.0


def _holder() -> type:
    """What has a name as long as it lives; Ray ends it with the process that made it."""

    # inside a function it travels by value: by name, its process would import torch and all of this package,
    # which takes seconds of a processor for each job
    class Holder:
        pass

    return Holder


@contextmanager
def job_lock(job: str) -> Iterator[None]:
    """Wait until nobody else in the Ray cluster works on a job, and hold it.

    Two sweeps, or two trials of one, that need the same network would otherwise train it twice at once and
    write over each other's record. A process that dies lets go: its lock is an actor that it owns.

    Args:
        job: its name.
    """
    make: Any = ray.remote(_holder())
    waited = False
    while True:
        try:
            holder = make.options(name=job, namespace=_NAMESPACE, num_cpus=0).remote()
            break
        except ValueError:  # Ray's word for a name that is taken
            if not waited:
                _logger.info("%s is being trained by another process; waiting for it", job)
            waited = True
            time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        ray.kill(holder)
