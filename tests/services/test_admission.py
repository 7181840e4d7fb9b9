"""What is said about an update request before it is accepted; the registry and the store stand in memory."""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_model import building_clicks

from icss_core.errors import ClassExistsError, ClickError, InvalidParameterError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks.segmenter import Architecture
from icss_core.raster.source import Pixels
from services.serving.admission import Admission
from services.serving.requests import UpdateRequest
from services.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icss_core.raster.windows import Window

CLASSES = LabelSpace(
    classes=(ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="road", colour=(9, 9, 9)))
)


class White:
    """An image of any size, all white, none of it in memory."""

    bands, dtype, address = 3, "uint8", "s3://icss/white.tif"

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def read(self, window: Window) -> Pixels:
        shape = (window.height, window.width)
        return Pixels(np.full((3, *shape), 255, np.uint8), np.ones(shape, bool))


class Parts:
    """The registry and the images that an admission asks, with one version and one image."""

    def __init__(self, side: int, **architecture: Any) -> None:
        self.opened_with: list[dict[str, Any]] = []
        self._image = White(side, side)
        self._card = SimpleNamespace(
            label_space=CLASSES, architecture=Architecture(n_classes=2, **architecture), dtype="uint8"
        )

    def resolve(self, name: str, reference: str | int) -> Any:
        return SimpleNamespace(card=self._card, version=7)

    def address(self, reference: Any) -> str:
        return str(reference.uri)

    def etag(self, address: str) -> str:
        return "an etag"

    @contextmanager
    def opened(self, address: str, **asked: Any) -> Iterator[White]:
        self.opened_with.append(asked)
        yield self._image


def admit(parts: Parts, limits: Limits | None = None, **changes: Any) -> Any:
    request = UpdateRequest.model_validate(
        {
            "image": {"uri": "s3://icss/white.tif"},
            "new_class": {"name": "building"},
            "clicks": building_clicks(),
            "crs": "pixel",
        }
        | changes
    )
    admission = Admission(parts, parts, limits or Limits())  # type: ignore[arg-type]  # all that it asks of them
    return admission.admit("town", request)


def test_order_leaves_nothing_to_be_looked_up() -> None:
    parts = Parts(512)
    order = admit(parts, base="memory")
    assert order.base_version == 7
    assert order.image == "s3://icss/white.tif"
    assert order.new_class.colour not in CLASSES.colours
    assert parts.opened_with == [{"bands": 3, "band_numbers": None, "dtype": "uint8"}], (
        "once, and for this network"
    )


def test_sweep_of_millions_of_windows_is_refused_without_a_list_of_them() -> None:
    sweep = {"crops.kind": "sweep", "crops.size": 64, "crops.overlap": 0.99}
    tracemalloc.start()
    try:
        with pytest.raises(InvalidParameterError, match=r"66080641 windows a sweep"):
            admit(Parts(8192), overrides=sweep | {"tiles": 256})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_overlap_of_a_sweep_is_no_matter_where_none_is_made() -> None:
    assert admit(Parts(8192), overrides={"crops.size": 64, "crops.overlap": 0.99}).base_version == 7


@pytest.mark.parametrize(
    ("changes", "limits", "error", "says"),
    [
        ({}, Limits(max_clicks=2), ClickError, "12 clicks"),
        ({"overrides": {"tiles": 1000}}, Limits(), InvalidParameterError, "1000 tiles"),
        ({"overrides": {"optimisation.iterations": 5}}, Limits(max_iterations=4), InvalidParameterError, "5"),
        ({"new_class": {"name": "road"}}, Limits(), ClassExistsError, "road"),
    ],
)  # fmt: skip
def test_what_needs_no_image_is_refused_before_it_is_opened(
    changes: dict[str, Any], limits: Limits, error: type[Exception], says: str
) -> None:
    parts = Parts(512)
    with pytest.raises(error, match=says):
        admit(parts, limits, **changes)
    assert parts.opened_with == []


def test_crops_that_the_network_does_not_take_are_refused_before_the_image_is_opened() -> None:
    parts = Parts(512, decoder="pan", encoder="resnet18")
    with pytest.raises(
        InvalidParameterError, match=r"crops\.size is 64 pixels, and pan .* set crops.size to 128"
    ):
        admit(parts, overrides={"crops.size": 64})
    assert parts.opened_with == []


def test_clicks_of_the_new_class_are_needed() -> None:
    with pytest.raises(ClickError, match="pool"):
        admit(Parts(512), new_class={"name": "pool"}, clicks=building_clicks("road"))
