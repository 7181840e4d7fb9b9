"""What a job says about itself in its log, for people and programs alike: JSON behind a word.

Ray hands the log of a job to whoever submitted it, and nothing else. So what others need to know is in lines
that are written and read by the same classes.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class LogLine(BaseModel):
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
