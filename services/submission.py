"""Submitting a pretraining to a Ray cluster with `ray job submit`, and following what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TAIL_LINES: Final = 25
_STEP: Final = re.compile(r"pretraining: iteration (\d+)/(\d+), (\d+) s(?:; (.*))?")
_LOSS: Final = re.compile(r"loss ([\d.]+)")
_SCORE: Final = re.compile(r"val_iou/(.+) ([\d.]+)")
_REGISTERED: Final = re.compile(r"registered (.+) version (\d+)")
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class PretrainingState:
    """Where a pretraining is, as its log tells.

    step and steps: iterations; seconds: of training so far; loss: of the last report; iou: of the last
    validation, by class name; version: of the registered network, once there is one.
    """

    step: int = 0
    steps: int = 0
    seconds: int = 0
    loss: float | None = None
    iou: dict[str, float] = field(default_factory=dict)
    version: int | None = None

    def read(self, line: str) -> bool:
        """Take in a line of the log; whether it said anything about the state."""
        if found := _REGISTERED.search(line):
            self.version = int(found[2])
            return True
        found = _STEP.search(line)
        if found is None:
            return False
        self.step, self.steps, self.seconds = int(found[1]), int(found[2]), int(found[3])
        for part in (found[4] or "").split("; "):
            if loss := _LOSS.match(part):
                self.loss = float(loss[1])
            elif score := _SCORE.match(part):
                self.iou[score[1]] = float(score[2])
        return True


def submit_pretraining(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path | None = None,
    on_state: Callable[[PretrainingState], None] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> int:
    """Run `ray job submit -- python -m services.training ...` and wait for the job to end.

    If this process is interrupted, the job is stopped too.

    Args:
        arguments: Options of `python -m services.training`.
        environment: Of the command, with RAY_API_SERVER_ADDRESS or RAY_ADDRESS and, if the cluster wants one,
            its token.
        log: File for everything the job says.
        on_state: Told when the job got further.
        on_line: Told every line of the job.

    Returns:
        The version under which the network was registered.

    Raises:
        TrainingError: the job could not be submitted, or failed; the message has the end of its log.
    """
    ray = str(Path(sys.executable).parent / "ray")
    entry = [sys.executable, "-m", "services.training", *arguments]
    state, tail, submission = PretrainingState(), deque[str](maxlen=_TAIL_LINES), None
    with subprocess.Popen(
        [ray, "job", "submit", "--", *entry],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is for this process, which then stops the job
    ) as process:
        output = None if log is None else log.open("w", encoding="utf-8")
        try:
            for raw in process.stdout or ():
                line = _COLOURS.sub("", raw).rstrip()
                tail.append(line)
                if found := re.search(r"'(raysubmit_\w+)' submitted", line):
                    submission = found[1]
                if output is not None:
                    output.write(line + "\n")
                    output.flush()
                if on_line is not None:
                    on_line(line)
                if state.read(line) and on_state is not None:
                    on_state(state)
        except BaseException:
            process.terminate()
            if submission is not None:
                subprocess.run(
                    [ray, "job", "stop", "--no-wait", submission],
                    env=dict(environment),
                    capture_output=True,
                    check=False,  # the cluster itself may already be gone
                    timeout=30,
                )
            raise
        finally:
            if output is not None:
                output.close()
    if process.returncode != 0 or state.version is None:
        raise TrainingError(
            f"the pretraining job failed (exit code {process.returncode}); the end of its log:\n"
            + "\n".join(tail)
        )
    return state.version
