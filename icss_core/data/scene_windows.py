"""Windows spread over scenes: a look at all of them that costs no more than some number of windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from icss_core.raster.windows import Window, grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.data.labelled_scene import LabelledScene

Item = TypeVar("Item")


def spread_windows(
    scenes: Sequence[LabelledScene], *, size: int, most: int
) -> list[tuple[LabelledScene, Window]]:
    """Windows side by side over all scenes, or as many of them as are wanted, spread evenly.

    No scene is opened whose size is given. Where sizes are missing, and there are more scenes than windows
    wanted, scenes are chosen first, evenly, and only those are opened and looked at.

    Args:
        scenes: in the order of the windows.
        size: side of the windows, in pixels.
        most: of them.
    """
    if any(scene.size is None for scene in scenes):
        scenes = _spread(scenes, most)
    windows = [
        (scene, window)
        for scene in scenes
        for window in grid(scene.height, scene.width, window=size, stride=size)
    ]
    return _spread(windows, most)


def _spread(items: Sequence[Item], limit: int) -> list[Item]:
    """At most so many of them, evenly."""
    if len(items) <= limit:
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]
