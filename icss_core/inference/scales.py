"""Factors by which images are resized to be predicted several times over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from icss_core.errors import InvalidParameterError, faults_of

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_SCALE: Final = 0.25
MAX_SCALE: Final = 4.0
"""Sixteen times the pixels, and the memory, of a pass over the image as it is."""
MAX_SCALES: Final = 8


def _distinct(scales: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(scales)) != len(scales):
        raise ValueError(f"a scale is named twice in {list(scales)}")
    return scales


Scale = Annotated[float, Field(strict=True, ge=MIN_SCALE, le=MAX_SCALE)]
"""Pixels of the resized image to one of the image."""
Scales = Annotated[tuple[Scale, ...], Field(min_length=1, max_length=MAX_SCALES), AfterValidator(_distinct)]
"""1 to 8 different scales in any order, each from 0.25 to 4: a field of a configuration or of a request."""

_SCALES: Final[TypeAdapter[tuple[float, ...]]] = TypeAdapter(Scales)


def check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """The scales, if they are such.

    Raises:
        InvalidParameterError: none or more than 8, one outside 0.25 to 4, or one twice.
    """
    try:
        return _SCALES.validate_python(tuple(scales))
    except ValidationError as error:
        raise InvalidParameterError(f"scales {list(scales)}: {faults_of(error, whole='scales')}") from error
