"""Undeclared fill values are named, and no real image is taken for one that has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from icss_core.clicks import ClickSet
from icss_core.errors import FillValueError, IcssError, ImageUnreadableError
from icss_core.inference import ArraySink, predict
from icss_core.labels import ClassInfo
from icss_core.methods import get_preset
from icss_core.networks import Architecture, Normalisation, Segmenter, estimate_normalisation, identity
from icss_core.networks.checked_source import CheckedSource
from icss_core.networks.fill_value import fill_value_of
from icss_core.raster.reader import open_raster
from icss_core.raster.source import ArraySource
from icss_core.raster.windows import Window, grid
from icss_core.updating import update
from tests.networks.label_spaces import label_space

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LOWEST = float(np.finfo(np.float32).min)
REFLECTANCE = Normalisation(mean=(0.2, 0.25, 0.3), std=(0.1, 0.1, 0.12))
POOL = ClassInfo(name="pool", colour=(0, 200, 255))


def measured(
    height: int, width: int, statistics: Normalisation, dtype: str = "float32"
) -> NDArray[np.generic]:
    rng = np.random.default_rng(0)
    middle, spread = (np.array(one)[:, None, None] for one in (statistics.mean, statistics.std))
    return (middle + spread * rng.uniform(-1.7, 1.7, (len(middle), height, width))).astype(dtype)


def read(values: NDArray[np.generic], statistics: Normalisation, **options) -> None:
    CheckedSource(ArraySource(values, **options), statistics).read(Window(0, 0, *values.shape[1:]))


@pytest.mark.parametrize(
    ("dtype", "mean", "std", "fill"),
    [
        ("float32", 0.2, 0.1, -9999), ("float32", 0.2, 0.1, LOWEST), ("float32", -12, 4, -9999),
        ("int16", 300, 150, -32768), ("int16", 2000, 1000, -9999), ("float32", 2000, 1000, -9999),
        ("uint16", 400, 120, 65535), ("float32", 300, 2, 0), ("float64", 0.2, 0.1, -1.797e308),
    ],
)  # fmt: skip
def test_a_fill_value_is_named_with_its_place_and_number(dtype, mean, std, fill) -> None:
    statistics = Normalisation(mean=(mean,) * 3, std=(std,) * 3)
    values = measured(40, 50, statistics, dtype)
    values[:, 10:20, 30:] = fill
    first = tuple(np.argwhere((values == values[0, 10, 30]).all(0))[0])
    assert first == (10, 30)
    with pytest.raises(FillValueError) as raised:
        read(values, statistics)
    said = str(raised.value)
    assert "200 of the pixels read so far, the first at row 10, column 30" in said
    (value,) = re.findall(r"have the value (\S+),", said)
    assert np.dtype(dtype).type(float(value)) == values[0, 10, 30]
    assert f"gdal_edit.py -a_nodata {value} FILE" in said
    declared = ~(values == values[0, 10, 30]).all(0)
    read(np.where(declared, values, 0), statistics, valid=declared)


def test_a_few_repeated_values_and_values_of_one_band_may_be_measurements_but_not_absurd_ones() -> None:
    values = measured(40, 50, REFLECTANCE)
    values[:, 0, :50] = 10.0
    read(values, REFLECTANCE)
    values[:, 1, :14] = 10.0
    with pytest.raises(FillValueError, match="64 of the pixels"):
        read(values, REFLECTANCE)
    values[0, :2] = 0.2
    read(values, REFLECTANCE)
    values[1, 30, 7] = LOWEST
    with pytest.raises(FillValueError, match=r"1 of the pixels.*row 30, column 7,.*band by band"):
        read(values, REFLECTANCE)


def test_a_sensor_that_saturates_is_not_taken_for_missing_data() -> None:
    rng = np.random.default_rng(0)
    radar = rng.exponential(150, (1, 128, 128))
    radar[0, :16, :16] = np.linspace(2000, 90000, 256).reshape(16, 16)
    values = radar.clip(0, 65535).astype(np.uint16)
    assert (values == 65535).sum() >= 64
    statistics = Normalisation(mean=(150.0,), std=(150.0,))
    read(values, statistics)
    gone = values.copy()
    gone[0, :16, :16] = 65535
    with pytest.raises(FillValueError, match="65535"):
        read(gone, statistics)


def test_statistics_that_change_nothing_refuse_nothing() -> None:
    values = np.full((3, 40, 50), 255, np.uint8)
    read(values, identity(3))
    assert fill_value_of(values, np.ones((40, 50), bool), mean=(0,) * 3, std=(1,) * 3) is not None


@pytest.mark.parametrize("fill", [-9999.0, LOWEST])
def test_statistics_are_not_made_of_a_fill_value(fill) -> None:
    values = measured(64, 64, REFLECTANCE)
    clean = estimate_normalisation([ArraySource(values)], windows_per_source=2, size=64)
    pixels = values.astype(np.float64).reshape(3, -1)
    assert clean.mean == pytest.approx(pixels.mean(axis=1), rel=1e-9)
    assert clean.std == pytest.approx(pixels.std(axis=1), rel=1e-9)
    values[:, 40:] = fill
    with pytest.raises(FillValueError, match="row 40, column 0"):
        estimate_normalisation([ArraySource(values)], windows_per_source=2, size=64)


def test_flat_colours_are_measurements() -> None:
    """As in drawings, and in the made-up scenes of tests: every value is repeated."""
    values = np.zeros((3, 64, 64), np.uint8)
    values[:, :20], values[:, 20:24] = 90, 240
    made = estimate_normalisation([ArraySource(values)], windows_per_source=1, size=64)
    assert made.mean == pytest.approx(values.reshape(3, -1).mean(axis=1))
    read(values, made)


@pytest.fixture(scope="module")
def network() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(Architecture(encoder="tu-test_resnet", n_classes=3), REFLECTANCE).eval()


def test_prediction_and_update_refuse_before_the_map_is_there(network) -> None:
    values = measured(96, 64, REFLECTANCE)
    values[:, 70:90, 5:60] = -9999
    sink = ArraySink(96, 64)
    with pytest.raises(FillValueError, match=r"row 70, column 5,.*was trained on"):
        predict(network, ArraySource(values), sink, n_classes=3)
    assert (sink.labels == 255).all()
    numbers = get_preset("icss", {"optimisation.iterations": 1, "crops.size": 64, "crops.batch": 1})
    with pytest.raises(FillValueError, match="row 70, column 5"):
        update(network, label_space(3), ArraySource(values), ClickSet([1], [1], [3]), [POOL], numbers)


def images_of(folder: Path) -> list[Path]:
    return sorted(one for one in folder.glob("*/images/*") if one.suffix in {".tif", ".jpg", ".png"})


def test_real_images_are_never_refused(shared_dir: Path) -> None:
    """With statistics of the image itself, which are the narrowest there are."""
    files = images_of(shared_dir / "data")
    if not files:
        pytest.skip(f"no images in {shared_dir / 'data'}")
    looked = 0
    for file in files[:: max(len(files) // 60, 1)]:
        try:
            with open_raster(file) as image:
                statistics = estimate_normalisation([image], windows_per_source=4)
                source = CheckedSource(image, statistics)
                for window in list(grid(image.height, image.width, window=512, stride=512))[:6]:
                    source.read(window)
                    looked += 1
        except FillValueError:
            raise
        except (ImageUnreadableError, IcssError):
            continue  # files that are odd on purpose
    assert looked > 30
