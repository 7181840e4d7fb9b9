"""A case of a carry-over sweep: what is learnt, and in which of the data set's districts it is clicked."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from services.tune.interactive.pair import Pair


class CarryOverCase(Pair):
    """Old classes, the new one, and the districts of the validation scenes.

    Memory and control network are trained on the training scenes; clicks, context and scores are on
    validation scenes. So a data set whose two splits share no district says what holds on land that no
    network has seen.
    """

    district: str
    """Regular expression whose first match in a scene's name is the scene's district."""
    clicked: Annotated[str, Field(min_length=1)]
    """The district whose scenes are clicked."""

    @field_validator("district")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return pattern

    @property
    def title(self) -> str:
        """Name in tables."""
        return f"{super().title}, clicked in {self.clicked}"


def district_of(name: str, pattern: str) -> str:
    """The district of a scene; empty where its name does not tell."""
    found = re.search(pattern, name)
    return "" if found is None else found.group()
