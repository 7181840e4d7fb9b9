"""Windows spread over scenes: a look at all of them that costs no more than some number of windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.raster.windows import Window, grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icss_core.data.labelled_scene import LabelledScene


def spread_windows(
    scenes: Sequence[LabelledScene], *, size: int, most: int
) -> list[tuple[LabelledScene, Window]]:
    """Windows side by side over all scenes, or as many of them as are wanted, spread evenly.

    Args:
        scenes: in the order of the windows.
        size: side of the windows, in pixels.
        most: of them.
    """
    windows = [
        (scene, window)
        for scene in scenes
        for window in grid(scene.image.height, scene.image.width, window=size, stride=size)
    ]
    if len(windows) > most:
        windows = [windows[index * len(windows) // most] for index in range(most)]
    return windows
