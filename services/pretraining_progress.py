"""What a pretraining says about itself in its log, for people and programs alike: JSON behind a word.

Ray hands the log of a job to whoever submitted it, and nothing else. So what others need to know is in lines
that are written and read by the same classes.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class _LogLine(BaseModel):
    """A line of a log: a word, a colon, and the fields as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    WORD: ClassVar[str]

    def line(self) -> str:
        """The line, without a line break."""
        return f"{self.WORD}: {self.model_dump_json(exclude_defaults=True)}"

    @classmethod
    def read(cls, line: str) -> Self | None:
        """What a line says, whatever Ray wrote before it; None where it is another kind of line."""
        _, found, content = line.partition(f"{cls.WORD}: {{")
        if not found:
            return None
        try:
            return cls.model_validate_json("{" + content)
        except ValidationError:
            return None


class PretrainingProgress(_LogLine):
    """How far a pretraining is.

    iteration, iterations: done, and of the whole training. seconds: of training so far. loss and
    crops_per_second: of the last iteration. scores: of the last validation, IoU under the names of classes
    (`val_iou/road`). saved: a checkpoint was written.
    """

    WORD = "pretraining"

    iteration: int
    iterations: int
    seconds: float
    loss: float | None = None
    crops_per_second: float | None = None
    scores: dict[str, float] = {}
    saved: bool = False


class PretrainingResult(_LogLine):
    """The version under which the network was registered; it is the model's memory now."""

    WORD = "registered"

    model: str
    version: int
