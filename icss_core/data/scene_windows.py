"""A limited number of windows, spread evenly over all scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from icss_core.raster.windows import Window, grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.data.labelled_scene import LabelledScene

Item = TypeVar("Item")


def spread_windows(
    scenes: Sequence[LabelledScene], *, size: int, limit: int
) -> list[tuple[LabelledScene, Window]]:
    """Windows side by side over all scenes; if there are more than `limit`, a subset spread evenly.

    Only scenes of unknown size are opened, to ask for it. If a size is missing and there are more scenes than
    `limit`, an evenly spread subset of the scenes is chosen first, so that at most `limit` are opened.

    Args:
        scenes: the scenes; windows come in their order.
        size: side of the windows, in pixels.
        limit: largest number of windows.
    """
    if any(scene.size is None for scene in scenes):
        scenes = _spread(scenes, limit)
    windows = [
        (scene, window)
        for scene in scenes
        for window in grid(scene.height, scene.width, window=size, stride=size)
    ]
    return _spread(windows, limit)


def _spread(items: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` of the items, evenly spread."""
    if len(items) <= limit:
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]
