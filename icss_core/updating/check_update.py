"""What can be said of an update before anything is computed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from icss_core.errors import ClickError, InvalidParameterError
from icss_core.networks.compatibility import check_image
from icss_core.networks.input_size import check_side
from icss_core.updating.image_stack import common_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.labels import LabelSpace
    from icss_core.methods import Preset
    from icss_core.networks.architecture import Architecture
    from icss_core.networks.input_size import InputSize
    from icss_core.updating.image_stack import ClickedImage


def check_update(
    architecture: Architecture,
    label_space: LabelSpace,
    extended: LabelSpace,
    images: Sequence[ClickedImage],
    preset: Preset,
    *,
    taken: InputSize,
    dtype: str | None,
) -> None:
    """Refuse an update that cannot be made.

    Args:
        architecture: of the memory network.
        label_space: its classes.
        extended: the label space with the new classes.
        images: with their clicks; their sizes are read.
        preset: method and numbers.
        taken: sizes that the memory network takes.
        dtype: data type of the images the network was trained on; None: any is taken.

    Raises:
        ClickError: no click at all, or none of a new class, or a click off its image.
        BandMismatchError, DtypeMismatchError: the network was trained on other bands, or another data type.
        InvalidParameterError: the label space is not the network's, a label is outside the extended one, or
            the network takes no crops of this size, or data types of images differ.
    """
    if architecture.n_classes != len(label_space):
        raise InvalidParameterError(
            f"the network has {architecture.n_classes} classes, its label space {list(label_space.names)}"
        )
    if len(extended) == len(label_space):
        raise InvalidParameterError("an update needs at least one new class")
    counts = Counter[int]()
    for image in images:
        _check_on_image(image)
        counts.update(image.clicks.counts())
    if not counts:
        raise ClickError("no click at all: an update needs at least one click of the new class")
    if max(counts) >= len(extended):
        raise InvalidParameterError(f"label {max(counts)} is outside the label space {list(extended.names)}")
    for label in range(len(label_space), len(extended)):
        if label not in counts:
            raise ClickError(f"no click of the new class {extended.names[label]!r}")
    check_side(taken, preset.crops.size, name="crops.size", network=architecture)
    for image in images:
        check_image(image.source, bands=architecture.in_channels, dtype=dtype, name=image.name)
    common_kind(images)


def _check_on_image(image: ClickedImage) -> None:
    clicks, source = image.clicks, image.source
    off = (clicks.rows >= source.height) | (clicks.cols >= source.width)
    if off.any():
        first = int(np.argmax(off))
        raise ClickError(
            f"click {first} at row {clicks.rows[first]}, column {clicks.cols[first]} is off the raster of "
            f"{source.height} x {source.width} pixels ({image.name})"
        )
