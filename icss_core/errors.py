"""Every error the core raises on purpose. The docstring of a class is what the error means.

The message of an instance says what was wrong, where, and what would be right; services map the class to an
HTTP status in one table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class IcssError(Exception):
    """Base of all errors that a caller may want to handle."""


class InvalidParameterError(IcssError):
    """A number or option is outside what the function accepts."""


class TooManyClassesError(InvalidParameterError):
    """More classes than the 255 that a label space may have, the background included."""


class OutlinesTooLargeError(InvalidParameterError):
    """The outlines of a map take more bytes or memory than they may."""


class ImageNotFoundError(IcssError):
    """The image does not exist where the address points."""


class ImageUnreadableError(IcssError):
    """The image exists but is not a raster we read, or its bytes are damaged."""


class FillValueError(ImageUnreadableError):
    """The image has a value that marks missing data, and does not declare it as such."""


class BandMismatchError(IcssError):
    """The image does not have the bands the network was trained on."""


class DtypeMismatchError(IcssError):
    """The image stores its values in another data type than the images the network was trained on."""


class ClickError(IcssError):
    """A click cannot be used: malformed, off the raster, or on a pixel without data."""


class UnknownClassError(IcssError):
    """A class name is not in the label space."""


class ClassExistsError(IcssError):
    """The class to be added is already in the label space."""


class UnknownPresetError(IcssError):
    """No method or preset has this name."""


class ModelFormatError(IcssError):
    """A model folder is incomplete, damaged, or of a format version this code does not read."""


class WeightsUnavailableError(IcssError):
    """Pretrained encoder weights were asked for and cannot be had here."""


class DatasetError(IcssError):
    """A dataset.yaml, a scene or a mask is malformed or inconsistent."""


class MisplacedError(DatasetError):
    """Labels do not lie where their image lies, and cannot be brought there."""


class TrainingDivergedError(IcssError):
    """The loss of a training became infinite or undefined."""


class CancelledError(IcssError):
    """The work was stopped on request; nothing was kept."""


def faults_of(error: ValidationError, *, whole: str = "file") -> str:
    """Every fault of some data in one line, as "where: what; where: what".

    Args:
        error: what pydantic raised.
        whole: where a fault is that belongs to no field.
    """
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or whole}: {fault['msg']}" for fault in error.errors()
    )
