"""Which images a network can map."""

from __future__ import annotations

import numpy as np
import pytest

from icss_core.errors import BandMismatchError, DtypeMismatchError
from icss_core.networks.compatibility import check_image
from icss_core.raster.source import ArraySource


def image(dtype: str, bands: int = 3) -> ArraySource:
    return ArraySource(np.zeros((bands, 4, 4), dtype))


@pytest.mark.parametrize(
    ("stored", "trained"),
    [("uint8", "uint8"), ("uint8", None), ("uint16", None), ("float32", "float64"), ("float64", "float32")],
)
def test_images_like_those_of_the_training_are_taken(stored: str, trained: str | None) -> None:
    for bands in (3, None):
        assert check_image(image(stored), bands=bands, dtype=trained) is None, "it raises where it refuses"


@pytest.mark.parametrize(
    ("stored", "trained"),
    [
        ("uint16", "uint8"),
        ("uint8", "uint16"),
        ("int16", "uint16"),
        ("float32", "uint8"),
        ("uint8", "float32"),
    ],
)
def test_another_data_type_is_refused(stored: str, trained: str) -> None:
    with pytest.raises(
        DtypeMismatchError, match=f"a.tif stores {stored}, the network was trained on {trained}"
    ):
        check_image(image(stored), bands=3, dtype=trained, name="a.tif")


def test_other_bands_are_refused() -> None:
    with pytest.raises(BandMismatchError, match="the image has 1 bands, the network takes 3"):
        check_image(image("uint8", bands=1), bands=3, dtype="uint8")
