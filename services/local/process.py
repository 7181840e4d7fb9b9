"""One part of the stack as a supervised process: its log, its readiness, its end."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from services.errors import StackError
from services.local import supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_TAIL_LINES = 15


class ManagedProcess:
    """A started command with everything it starts itself.

    Args:
        name: how messages call it.
        command: program and arguments.
        environment: the whole environment of the process.
        log: file that receives its output; of this start only.
        grace_seconds: time between asking it to end and ending it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        grace_seconds: float = 3.0,
    ) -> None:
        self.name = name
        self.log = log
        self._grace = grace_seconds
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", supervisor.__file__, str(grace_seconds), *command],
                stdin=subprocess.PIPE,  # closes when this process ends, however it ends
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=log.parent,
                start_new_session=True,  # Ctrl-C at the terminal is for the program that owns the stack
            )

    @property
    def pid(self) -> int:
        """Process id of the supervisor: all processes of this part are its descendants."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the part is alive."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Poll until the part answers.

        Raises:
            StackError: it ended, or did not answer in time; the message quotes the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise StackError(
                    f"{self.name} ended with exit code {self._process.returncode} instead of starting; "
                    f"{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} did not answer within {seconds:.0f} s; {self.tail()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the part and everything it started, and wait for that. Stopping twice is no error."""
        if self.running:
            self._process.terminate()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=self._grace + 15)
        except subprocess.TimeoutExpired:
            # the supervisor itself hangs: end it and what is below it from here
            for pid in [*supervisor.descendants(self.pid), self.pid]:
                supervisor.kill(pid)
            self._process.wait()

    def tail(self) -> str:
        """The end of the log, for an error message."""
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:] if self.log.exists() else []
        return f"the end of {self.log}:\n" + "\n".join(lines or ["(empty)"])
