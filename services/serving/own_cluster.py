"""The HTTP service by itself: a Ray head of its own beside it, both for as long as this process lives.

What a plain `docker run` of the image does. S3 and MLflow are somebody else's, as on a cluster.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NoReturn

from services.errors import StackError
from services.local.certificate import make_certificate
from services.local.ports import free_ports
from services.local.ray_folder import ray_folder
from services.local.ray_head import RayAddresses, start_ray, wait_for_ray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.local.process import ManagedProcess
    from services.settings import Settings

START_SECONDS: Final = 120.0
"""That the head may take to answer."""
OBJECT_STORE_BYTES: Final = 500_000_000
"""Ray's shared memory, as in the local stack."""


def serve_on_own_cluster(settings: Settings) -> NoReturn:
    """Start a head on loopback, run the application on it, and stay until a signal or until the head dies.

    Only the HTTP side listens where the settings say. Updates that run or wait at the end go on at the next
    start.

    Args:
        settings: `threads` is what Ray hands out as CPUs.

    Raises:
        ConfigurationError: the API has no token.
        StackError: the head or the application did not start, or the head has died.
    """
    settings.require_api_token()
    signal.signal(signal.SIGTERM, _leave)  # the first process of a container is not ended by it otherwise
    with ExitStack() as running:
        folder = running.enter_context(ray_folder())
        port, dashboard_port = free_ports(2)
        addresses = RayAddresses(
            port=port,
            dashboard_port=dashboard_port,
            token=secrets.token_hex(32),
            certificate=make_certificate(folder),
        )
        environment = {**os.environ, **addresses.environment()}
        head = start_ray(
            folder / "ray",
            addresses,
            num_cpus=settings.threads,
            object_store_bytes=OBJECT_STORE_BYTES,
            environment=environment,
            log=folder / "ray.log",
        )
        running.callback(head.stop)
        wait_for_ray(head, addresses, seconds=START_SECONDS)
        _run_application(environment)
        sys.stdout.write(f"Ray's logs, the replicas' among them, are in {folder}/ray/session_latest/logs\n")
        sys.stdout.flush()
        watch(head)


def _run_application(environment: Mapping[str, str]) -> None:
    """Put the application on the cluster, where it stays."""
    # in another process, as Ray reads the environment when it is imported
    done = subprocess.run([sys.executable, "-m", "services.serving"], env=environment, check=False)
    if done.returncode != 0:
        raise StackError("the application did not start; its messages are above")


def watch(head: ManagedProcess) -> NoReturn:
    """Stay for as long as the head lives.

    Raises:
        StackError: it has died; the message has the end of its log.
    """
    while head.running:
        time.sleep(1)
    raise StackError(f"{head.name} has died; {head.tail()}")


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
