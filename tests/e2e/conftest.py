"""What the end-to-end tests share beside the stack: a data set, a process for jobs, the demo."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest
from demo_options import SMALL
from rich.console import Console

from services.demo.job import MainJob
from services.demo.options import DemoOptions
from services.demo.progress import Stages
from services.ingest import ingest_town
from services.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.demo.report import DemoReport
    from services.local import LocalStack


@pytest.fixture(scope="session")
def town(stack: LocalStack) -> str:
    """Address of a data set of made-up towns: two scenes to train on, two to look at."""
    prefix = f"{stack.settings.data_prefix}/e2e-town"
    dataset = ingest_town(Storage(stack.settings), prefix, train=2, val=2, size=256, seed=7)
    return f"{dataset.base}/dataset.yaml"


@pytest.fixture(scope="session")
def job_process(stack: LocalStack) -> Iterator[ProcessPoolExecutor]:
    """One process in place of several jobs: each would take ten seconds of a processor to import everything.

    Not the process of the tests: Ray reads the environment when it is imported, and there it has been.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in stack.environment().items():
                patch.setenv(name, value)
            pool.submit(os.getpid).result()  # starts it
        yield pool


@pytest.fixture(scope="session")
def demo_job(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MainJob]:
    """The main job of the demo, small."""
    options = DemoOptions(out=tmp_path_factory.mktemp("demo") / "out", control=True, **SMALL)
    with MainJob(options, stack, Stages(Console(quiet=True))) as job:
        yield job


@pytest.fixture(scope="session")
def demo_report(demo_job: MainJob) -> Iterator[DemoReport]:
    """What the main job came to. It has served the application, which stays until the end of the session."""
    yield demo_job.run()
    stopped = subprocess.run(
        [sys.executable, "-m", "services.serving", "--stop"],
        env=demo_job.stack.environment(),
        timeout=120,
        check=False,
    )
    assert stopped.returncode == 0
