"""Windows spread over scenes, without opening scenes whose size is known."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from icss_core.data.labelled_scene import LabelledScene
from icss_core.data.scene_windows import spread_windows
from icss_core.raster.windows import grid


@dataclass
class Unopened:
    """A source that counts how often its size is asked for."""

    shape: tuple[int, int]
    asked: list[str] = field(default_factory=list)
    bands = 1
    dtype = "uint8"

    @property
    def height(self):
        self.asked.append("height")
        return self.shape[0]

    @property
    def width(self):
        return self.shape[1]


def scenes_of(shapes, *, sizes):
    lookup = np.arange(256, dtype=np.uint8)
    return [
        LabelledScene(image=Unopened(one), mask=None, lookup=lookup, size=one if sizes else None, name=str(i))
        for i, one in enumerate(shapes)
    ]


SHAPES = [(64 + 32 * (i % 5), 64 + 16 * (i % 7)) for i in range(40)]


@pytest.mark.parametrize("limit", [7, 39, 60, 10_000])
def test_known_sizes_give_the_windows_of_all_scenes_and_open_none(limit):
    scenes = scenes_of(SHAPES, sizes=True)
    found = spread_windows(scenes, size=32, limit=limit)
    every = [(one, w) for one in scenes for w in grid(*one.size, window=32, stride=32)]
    number = min(limit, len(every))
    expected = [every[i * len(every) // number] for i in range(number)]
    assert [(one.name, w) for one, w in found] == [(one.name, w) for one, w in expected]
    assert not any(one.image.asked for one in scenes)


@pytest.mark.parametrize("limit", [40, 60, 10_000])
def test_missing_sizes_give_the_same_where_no_more_scenes_than_windows(limit):
    read, said = (spread_windows(scenes_of(SHAPES, sizes=s), size=32, limit=limit) for s in (False, True))
    assert [(one.name, w) for one, w in read] == [(one.name, w) for one, w in said]


def test_missing_sizes_open_no_more_scenes_than_windows_wanted():
    scenes = scenes_of(SHAPES, sizes=False)
    found = spread_windows(scenes, size=32, limit=8)
    assert len(found) == 8
    assert sum(bool(one.image.asked) for one in scenes) == 8
    assert [one.name for one in scenes if one.image.asked] == [str(i) for i in range(0, 40, 5)]
