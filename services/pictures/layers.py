"""Arrays that can be looked at: any bands as RGB, labels as colours, one over the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    import numpy.typing as npt

    from icss_core.labels import LabelSpace

    Rgb = npt.NDArray[np.uint8]
    Labels = npt.NDArray[np.uint8]

NO_DATA_COLOUR: Final = (0, 0, 0)
CHANGES: Final = {
    1: ("new class found", (226, 72, 52)),
    2: ("old class became the new one", (247, 201, 72)),
    3: ("old class became another", (148, 82, 190)),
    4: ("old class lost to background", (52, 90, 200)),
    5: ("background became an old class", (64, 190, 220)),
}
"""Values of a difference map over 0 (unchanged), with meaning and colour."""


def to_rgb(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None) -> Rgb:
    """A picture of the first three bands (one band: grey; two: the first).

    8-bit values are shown as they are; others are stretched from the 2nd to the 98th percentile of the valid
    pixels, each band by itself.

    Args:
        values: (C, H, W) of any real type.
        valid: (H, W) bool, True = data; None: all. Pixels without data are black.

    Returns:
        (H, W, 3) uint8.
    """
    bands = values[:3] if values.shape[0] >= 3 else np.repeat(values[:1], 3, axis=0)
    known = np.ones(values.shape[1:], dtype=bool) if valid is None else valid
    if bands.dtype == np.uint8:
        picture = bands.transpose(1, 2, 0).copy()
    else:
        picture = np.zeros((*values.shape[1:], 3), dtype=np.uint8)
        for index, band in enumerate(bands.astype(np.float32)):
            seen = band[known & np.isfinite(band)]
            low, high = np.percentile(seen, (2, 98)) if seen.size else (0.0, 1.0)
            scaled = (band - low) / max(float(high - low), 1e-12)
            picture[..., index] = np.clip(np.nan_to_num(scaled) * 255 + 0.5, 0, 255)
    picture[~known] = NO_DATA_COLOUR
    return picture


def colourise(labels: Labels, classes: LabelSpace) -> Rgb:
    """Class colours of a map (H, W) uint8; ignored and unknown values are black. Gives (H, W, 3) uint8."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[:] = NO_DATA_COLOUR
    table[: len(classes)] = classes.colours
    return table[labels]


def overlay(rgb: Rgb, labels: Labels, classes: LabelSpace, *, opacity: float = 0.55) -> Rgb:
    """Classes of interest laid over a picture; background and pixels without label show the picture.

    Args:
        rgb: (H, W, 3) uint8.
        labels: (H, W) uint8, label-space indices, 255 = none.
        classes: Names and colours.
        opacity: Share of the class colour, 0 to 1.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InvalidParameterError: the sizes differ, or the opacity is outside [0, 1].
    """
    if rgb.shape[:2] != labels.shape:
        raise InvalidParameterError(f"picture {rgb.shape[:2]} and map {labels.shape} differ in size")
    if not 0 <= opacity <= 1:
        raise InvalidParameterError(f"opacity must lie between 0 and 1, not {opacity}")
    shown = (labels != BACKGROUND) & (labels != IGNORE)
    # The picture under the colours is made grey, or red roofs would still look red under any class.
    grey = rgb[shown].astype(np.float32).mean(axis=-1, keepdims=True)
    result = rgb.copy()
    mixed = (1 - opacity) * grey + opacity * colourise(labels, classes)[shown].astype(np.float32)
    result[shown] = (mixed + 0.5).astype(np.uint8)
    return result


def difference(before: Labels, after: Labels, *, n_old: int) -> Labels:
    """What an update changed.

    Args:
        before: (H, W) uint8, the memory network's map.
        after: (H, W) uint8, the updated network's map.
        n_old: Classes of the memory network, background included; indices from n_old on are new.

    Returns:
        (H, W) uint8: 0 unchanged, 1 to 5 as in CHANGES, 255 where either map has no data.

    Raises:
        InvalidParameterError: the sizes differ.
    """
    if before.shape != after.shape:
        raise InvalidParameterError(f"maps before {before.shape} and after {after.shape} differ in size")
    was_old, is_new = before != BACKGROUND, after >= n_old
    changed = before != after
    result = np.zeros(before.shape, dtype=np.uint8)
    result[is_new & ~was_old] = 1
    result[is_new & was_old] = 2
    result[changed & ~is_new & was_old & (after != BACKGROUND)] = 3
    result[changed & was_old & (after == BACKGROUND)] = 4
    result[changed & ~is_new & ~was_old] = 5
    result[(before == IGNORE) | (after == IGNORE)] = IGNORE
    return result
