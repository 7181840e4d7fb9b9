"""The seeds that every random generator here takes: NumPy refuses negative ones, others more than 31 bits."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

MAX_SEED: Final = 2**31 - 1

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
"""A field of a pydantic model."""
