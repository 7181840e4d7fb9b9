"""What masks say, in every way that people and their software write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from icss_core.errors import DatasetError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.environment import georeference_optional
from services.ingest.folder import read_classes
from services.ingest.mask_file import read_mask

if TYPE_CHECKING:
    from pathlib import Path

    from services.ingest.mask_meaning import MaskMeaning

GREY, BLUE, RED = (160, 160, 160), (52, 90, 200), (226, 72, 52)
LISTED = "- {name: background, colour: [160, 160, 160]}\n- {name: road, colour: [52, 90, 200]}\n"
MAPPED = "0: {name: background, colour: [160, 160, 160]}\n1: {name: road, colour: [52, 90, 200]}\n"
NAMED = "- background\n- road\n"


def meaning(folder: Path, text: str) -> MaskMeaning:
    (folder / "classes.yaml").write_text(text)
    read = read_classes(folder)
    assert read is not None
    return read


def picture(path: Path, values: np.ndarray, **options: Any) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


def palette_mask(path: Path, values: np.ndarray, *colours: tuple[int, int, int]) -> Path:
    image = Image.fromarray(values.astype(np.uint8), mode="P")
    image.putpalette([channel for colour in colours for channel in colour])
    image.save(path)
    return path


def geotiff(path: Path, values: np.ndarray, **options: Any) -> Path:
    with georeference_optional(), rasterio.open(
        path, "w", driver="GTiff", count=1, height=values.shape[0], width=values.shape[1], dtype=values.dtype,
        **options,
    ) as file:  # fmt: skip
        file.write(values, 1)
    return path


STRIPES = np.repeat(np.array([0, 1, 0, 1], np.uint8), 3)[:, None].repeat(8, axis=1)


def test_a_mapping_is_of_values_and_colours_are_of_classes(tmp_path: Path) -> None:
    by_value = meaning(
        tmp_path,
        "1: {name: water, colour: [0, 0, 255]}\n2: {name: background, colour: [1, 2, 3]}\n"
        "3: {name: road, colour: [52, 90, 200]}\n9: ignore\n",
    )
    assert by_value.classes.names == ("background", "water", "road")
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[:1], colours[1:2], colours[2:] = (0, 0, 255), (1, 2, 3), (52, 90, 200)
    read = read_mask(picture(tmp_path / "a.png", colours), by_value)
    assert read.labels[:, 0].tolist() == [1, 0, 2, 2]
    assert read.readings == {("colour #0000FF", 1): 4, ("colour #010203", 0): 4, ("colour #345AC8", 2): 8}
    values = np.array([[1, 2, 3, 9, 255]], np.uint8)
    read = read_mask(picture(tmp_path / "b.png", values), by_value)
    assert read.labels.tolist() == [[1, 0, 2, 255, 255]]
    assert read.readings["value 9", 255] == 1


def test_255_is_a_class_where_somebody_says_so(tmp_path: Path) -> None:
    white = np.where(STRIPES, 255, 0).astype(np.uint8)
    path = picture(tmp_path / "a.png", white)
    mapped = meaning(tmp_path, "0: background\n255: building\n")
    np.testing.assert_array_equal(read_mask(path, mapped).labels, STRIPES)
    black_and_white = "- {name: background, colour: [0, 0, 0]}\n- {name: building, colour: [255, 255, 255]}\n"
    np.testing.assert_array_equal(read_mask(path, meaning(tmp_path, black_and_white)).labels, STRIPES)
    np.testing.assert_array_equal(
        read_mask(path, meaning(tmp_path, NAMED)).labels, white, "by convention it is ignored otherwise"
    )


def test_a_palette_in_another_order_is_read_by_its_colours(tmp_path: Path) -> None:
    path = palette_mask(tmp_path / "a.png", STRIPES, BLUE, GREY)
    read = read_mask(path, meaning(tmp_path, LISTED))
    np.testing.assert_array_equal(read.labels, 1 - STRIPES)
    assert read.readings == {("value 0 #345AC8", 1): 48, ("value 1 #A0A0A0", 0): 48}


@pytest.mark.parametrize("colours", [(GREY, BLUE), ((0, 0, 0), (9, 9, 9)), ((128, 0, 0), (0, 128, 0))])
def test_a_palette_that_says_nothing_else_leaves_the_numbers(tmp_path: Path, colours: tuple) -> None:
    read = read_mask(palette_mask(tmp_path / "a.png", STRIPES, *colours), meaning(tmp_path, LISTED))
    np.testing.assert_array_equal(read.labels, STRIPES)


@pytest.mark.parametrize(
    ("colours", "classes"),
    [
        ((BLUE, (9, 9, 9)), LISTED),
        ((BLUE, GREY), MAPPED),
    ],
    ids=["half of it", "against a mapping"],
)
def test_a_number_that_contradicts_its_colour_is_refused(
    tmp_path: Path, colours: tuple, classes: str
) -> None:
    path = palette_mask(tmp_path / "a.png", STRIPES, *colours)
    with pytest.raises(DatasetError, match=r"value 0 is 'background' by its number, .* 'road' \(#345AC8\)"):
        read_mask(path, meaning(tmp_path, classes))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint16", "int32"])
def test_whole_numbers_of_any_type_are_values(tmp_path: Path, dtype: str) -> None:
    values = STRIPES.astype(dtype)
    values[0, 0] = 255
    absent = -9999 if dtype[0] != "u" else 65535
    values[0, 1] = absent
    path = geotiff(tmp_path / "a.tif", values, nodata=absent)
    read = read_mask(path, meaning(tmp_path, NAMED))
    expected = STRIPES.copy()
    expected[0, :2] = 255
    np.testing.assert_array_equal(read.labels, expected)


def test_pixels_that_are_not_numbers_are_ignored(tmp_path: Path) -> None:
    values = STRIPES.astype(np.float32)
    values[2, 3] = np.nan
    read = read_mask(geotiff(tmp_path / "a.tif", values), meaning(tmp_path, NAMED))
    assert read.labels[2, 3] == 255
    assert (read.labels == 255).sum() == 1


@pytest.mark.parametrize(
    ("value", "dtype"), [(0.5, "float32"), (-1, "int16"), (256, "uint16"), (1e30, "float64")]
)
def test_other_numbers_are_named(tmp_path: Path, value: float, dtype: str) -> None:
    values = STRIPES.astype(dtype)
    values[4, 2] = value
    with pytest.raises(DatasetError, match=r"whole numbers from 0 to 255; row 4, column 2 .* is "):
        read_mask(geotiff(tmp_path / "a.tif", values), meaning(tmp_path, NAMED))


def test_a_nodata_value_that_is_a_class_stays_one(tmp_path: Path) -> None:
    """Desktop software declares 0 as nodata when it rasterises."""
    path = geotiff(tmp_path / "a.tif", STRIPES, nodata=0)
    np.testing.assert_array_equal(read_mask(path, meaning(tmp_path, NAMED)).labels, STRIPES)
    by_value = meaning(tmp_path, "1: road\n")
    assert set(np.unique(read_mask(path, by_value).labels)) == {1, 255}, "0 means nothing, and is not there"


def test_values_may_come_as_grey_in_three_bands_or_beside_alpha(tmp_path: Path) -> None:
    named = meaning(tmp_path, LISTED)
    grey = np.repeat(STRIPES[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_mask(picture(tmp_path / "a.png", grey), named).labels, STRIPES)
    opaque = np.stack([STRIPES, np.full_like(STRIPES, 255)], axis=2)
    np.testing.assert_array_equal(read_mask(picture(tmp_path / "b.png", opaque), named).labels, STRIPES)


def test_transparent_pixels_of_no_class_are_ignored(tmp_path: Path) -> None:
    colours = np.array((*GREY, 255), np.uint8) * np.ones((4, 4, 1), np.uint8)
    colours[1], colours[2] = (*BLUE, 255), (0, 0, 0, 0)
    read = read_mask(picture(tmp_path / "a.png", colours), meaning(tmp_path, LISTED))
    assert read.labels[:, 0].tolist() == [0, 1, 255, 0]


@pytest.mark.parametrize(
    ("classes", "says"),
    [(LISTED, "colour #E24834 at row 1, column 0 belongs to no class; .* #A0A0A0, #345AC8"),
     (NAMED, "mask of colours, and no class has a colour")],
)  # fmt: skip
def test_a_colour_that_no_class_has_is_named(tmp_path: Path, classes: str, says: str) -> None:
    colours = np.array(GREY, np.uint8) * np.ones((4, 4, 1), np.uint8)
    colours[1] = RED
    with pytest.raises(DatasetError, match=says):
        read_mask(picture(tmp_path / "a.png", colours), meaning(tmp_path, classes))


@pytest.mark.parametrize(
    ("classes", "says"),
    [(NAMED, r"mask values \[7\] are no class; there are 2 .* such as '255: building'"),
     ("0: background\n1: road\n", r"mask values \[7\] are no class; known are \[0, 1, 255\]")],
)  # fmt: skip
def test_a_value_that_means_nothing_is_named(tmp_path: Path, classes: str, says: str) -> None:
    values = STRIPES.copy()
    values[0, 0] = 7
    with pytest.raises(DatasetError, match=says):
        read_mask(picture(tmp_path / "a.png", values), meaning(tmp_path, classes))


def test_classes_may_be_words_of_yaml(tmp_path: Path) -> None:
    assert meaning(tmp_path, "- background\n- no\n- off\n").classes == LabelSpace(
        classes=(
            ClassInfo(name="background", colour=GREY),
            ClassInfo(name="no", colour=BLUE),
            ClassInfo(name="off", colour=RED),
        )
    )
    with pytest.raises(DatasetError, match=r"classes\.yaml must be a list of class names"):
        meaning(tmp_path, "- background\n- {name: road, color: [1, 2, 3]}\n")
    with pytest.raises(DatasetError, match="less than or equal to 255"):
        meaning(tmp_path, "300: road\n")


def test_several_values_may_be_one_class(tmp_path: Path) -> None:
    several = meaning(
        tmp_path, "0: background\n3: road\n4: Road\n7: {name: path, colour: [1, 2, 3]}\n8: path\n"
    )
    assert several.classes.names == ("background", "road", "path")
    values = np.array([[0, 3, 4, 7, 8]], np.uint8)
    read = read_mask(picture(tmp_path / "a.png", values), several)
    assert read.labels.tolist() == [[0, 1, 1, 2, 2]]


def test_colours_may_be_hexadecimal(tmp_path: Path) -> None:
    written = meaning(
        tmp_path, "- {name: background, colour: '#A0A0A0'}\n- {name: road, colour: \"#345ac8\"}\n"
    )
    assert written == meaning(tmp_path, LISTED)
    with pytest.raises(DatasetError, match=r"colour"):
        meaning(tmp_path, "- background\n- {name: road, colour: '#345ac'}\n")
