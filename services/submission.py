"""Submitting a pretraining to a Ray cluster as a job, and following it to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shlex
from collections import deque
from typing import TYPE_CHECKING, Final

import aiohttp
from ray.job_submission import JobSubmissionClient

from services.errors import TrainingError
from services.ray_jobs import NO_ANSWER, job_client
from services.training_progress import RegisteredLine, TrainingLine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path
    from typing import TextIO

    from ray.job_submission import JobInfo

_TAIL_LINES: Final = 25
_POLL_SECONDS: Final = 0.5
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


def submit_pretraining(
    arguments: Sequence[str],
    *,
    address: str | None = None,
    token: str | None = None,
    log: Path | None = None,
    on_progress: Callable[[TrainingLine], None] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> int:
    """Run `python -m services.training ...` as a job of a Ray cluster, and wait for it to end.

    If this process is interrupted, the job is stopped too.

    Args:
        arguments: options of `python -m services.training`.
        address: of the cluster's dashboard, http://...; None: what RAY_API_SERVER_ADDRESS or RAY_ADDRESS say.
        token: of the cluster; None: what Ray's own variables say.
        log: file for everything the job says.
        on_progress: told when the job got further.
        on_line: told every line of the job.

    Returns:
        The version under which the network was registered.

    Raises:
        TrainingError: the job could not be submitted, or failed; the message has the end of its log.
    """
    # it would print how the connection for the log was closed, each time
    logging.getLogger(JobSubmissionClient.__module__).setLevel(logging.WARNING)
    try:
        client = job_client(address, token)
        job = client.submit_job(entrypoint=shlex.join(["python", "-m", "services.training", *arguments]))
    except NO_ANSWER as error:
        raise TrainingError(f"the pretraining job could not be submitted: {error}") from error
    follower = _Follower(on_progress, on_line)
    try:
        with contextlib.ExitStack() as closing:
            output = None if log is None else closing.enter_context(log.open("w", encoding="utf-8"))
            info = asyncio.run(_follow(client, job, follower, output))
    except BaseException:
        with contextlib.suppress(*NO_ANSWER):  # the cluster itself may be gone already
            client.stop_job(job)
        raise
    if info.status != "SUCCEEDED" or follower.result is None:
        raise TrainingError(
            f"the pretraining job {job} ended as {info.status}; the end of its log:\n"
            + "\n".join(follower.tail or [info.message or "(it said nothing)"])
        )
    return follower.result.version


class _Follower:
    """Takes in the lines of the job."""

    def __init__(
        self,
        on_progress: Callable[[TrainingLine], None] | None,
        on_line: Callable[[str], None] | None,
    ) -> None:
        self._on_progress = on_progress
        self._on_line = on_line
        self.lines = 0
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.result: RegisteredLine | None = None

    def take(self, line: str) -> None:
        self.lines += 1
        self.tail.append(line)
        self.result = RegisteredLine.read(line) or self.result
        if self._on_line is not None:
            self._on_line(line)
        progress = TrainingLine.read(line)
        if progress is not None and self._on_progress is not None:
            self._on_progress(progress)


async def _follow(
    client: JobSubmissionClient, job: str, follower: _Follower, output: TextIO | None
) -> JobInfo:
    """Hand every line of the job on, until it has ended.

    The log may break off before that, as when the dashboard restarts; it then comes again from its beginning.
    """
    while True:
        number = 0
        async for line in _log_of(client, job):
            number += 1
            if number > follower.lines:
                follower.take(line)
                if output is not None:
                    output.write(line + "\n")
                    output.flush()
        try:
            info = client.get_job_info(job)
        except NO_ANSWER as error:
            raise TrainingError(f"the Ray cluster has lost the pretraining job {job}: {error}") from error
        if info.status.is_terminal():
            return info
        await asyncio.sleep(_POLL_SECONDS)


async def _log_of(client: JobSubmissionClient, job: str) -> AsyncIterator[str]:
    """The lines of the job's log from its beginning, until it ends or breaks off."""
    with contextlib.suppress(RuntimeError, aiohttp.ClientError):
        async for line in lines_of(client.tail_job_logs(job)):
            yield line


async def lines_of(chunks: AsyncIterator[str]) -> AsyncIterator[str]:
    """The lines of a text that comes in pieces, without colours and line breaks; the last may be cut off."""
    rest = ""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            yield _COLOURS.sub("", line).rstrip()
    if rest:
        yield _COLOURS.sub("", rest).rstrip()
