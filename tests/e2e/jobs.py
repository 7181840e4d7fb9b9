"""Ray jobs as a user submits and stops them, and the same commands one after another in one process."""

from __future__ import annotations

import importlib
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import httpx
import ray
import typer
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.local import LocalStack


def submit(stack: LocalStack, *command: str) -> subprocess.Popen[str]:
    """`ray job submit -- python -m COMMAND`, its log in the pipe."""
    return subprocess.Popen(
        ["ray", "job", "submit", "--", "python", "-m", *command],
        env=stack.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop_when(
    stack: LocalStack, job: subprocess.Popen[str], condition: Callable[[], bool], *, seconds: float = 240
) -> None:
    """Stop a job, as `ray job stop` does, as soon as a condition holds; it must still be running then."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline, "it does not come to it"
        time.sleep(0.05)
    assert job.stdout is not None
    name = re.search(r"raysubmit_\w+", "".join(job.stdout.readline() for _ in range(12)))
    assert name is not None
    # not by the program, which takes seconds to start: the job would be over
    address = f"{stack.ray.dashboard}/api/jobs/{name[0]}/stop"
    httpx.post(address, headers={"Authorization": f"Bearer {stack.ray.token}"}, timeout=60).raise_for_status()
    job.communicate(timeout=60)


def in_cluster(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives while this process, which is `job_process`, is connected to the cluster."""
    ray.init(log_to_driver=False)
    try:
        return function(*arguments)
    finally:
        ray.shutdown()


def run_command(module: str, *arguments: str) -> str:
    """What `python -m MODULE ARGUMENTS` prints; it connects to the cluster itself. For `job_process`, too."""
    program = typer.Typer()
    program.command()(importlib.import_module(module).main)
    try:
        result: Any = CliRunner().invoke(program, arguments)
    finally:
        ray.shutdown()
    assert result.exit_code == 0, result.output
    return str(result.stdout)
