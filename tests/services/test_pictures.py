import io

import numpy as np
import pytest
from PIL import Image

from icss_core.clicks.click_set import ClickSet
from icss_core.errors import InvalidParameterError
from icss_core.labels import ClassInfo, LabelSpace
from services.pictures import (
    clicks_picture,
    colourise,
    difference,
    difference_picture,
    grid_picture,
    map_picture,
    overlay,
    steps_picture,
    to_rgb,
)

CLASSES = LabelSpace(
    classes=(
        ClassInfo(name="background", colour=(160, 160, 160)),
        ClassInfo(name="road", colour=(0, 0, 200)),
        ClassInfo(name="building", colour=(200, 0, 0)),
    )
)
CLICKS = ClickSet(np.array([3, 20]), np.array([4, 30]), np.array([0, 2]))


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)


@pytest.fixture
def labels():
    labels = np.zeros((48, 64), np.uint8)
    labels[:10] = 1
    labels[30:, :20] = 2
    labels[:, 60:] = 255
    return labels


def opened(png):
    picture = Image.open(io.BytesIO(png))
    picture.load()
    assert picture.format == "PNG"
    return picture


def test_to_rgb_keeps_bytes_and_stretches_the_rest():
    eight = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    assert np.array_equal(to_rgb(eight), eight.transpose(1, 2, 0))
    sixteen = np.linspace(300, 9000, 2000).astype(np.uint16).reshape(1, 40, 50)
    picture = to_rgb(sixteen)
    assert picture.shape == (40, 50, 3)
    assert (picture.min(), picture.max()) == (0, 255)
    assert (np.diff(picture[..., 0].ravel().astype(int)) >= 0).all()


def test_to_rgb_shows_no_data_and_not_a_number_as_black():
    values = np.ones((4, 6, 6), np.float32)
    values[:, 2, 2] = np.nan
    values[:, 0] = 5
    valid = np.ones((6, 6), bool)
    valid[5] = False
    picture = to_rgb(values, valid)
    assert (picture[5] == 0).all()
    assert (picture[2, 2] == 0).all()
    assert picture[0].min() > 0


def test_overlay_shows_the_picture_under_background_and_no_data(rgb, labels):
    laid = overlay(rgb, labels, CLASSES, opacity=1.0)
    unmarked = (labels == 0) | (labels == 255)
    assert np.array_equal(laid[unmarked], rgb[unmarked])
    assert (laid[labels == 2] == (200, 0, 0)).all()
    assert np.array_equal(colourise(labels, CLASSES)[labels == 255].max(), 0)


def test_overlay_refuses_what_does_not_fit(rgb, labels):
    with pytest.raises(InvalidParameterError, match="differ in size"):
        overlay(rgb, labels[1:], CLASSES)
    with pytest.raises(InvalidParameterError, match=r"opacity.*1\.5"):
        overlay(rgb, labels, CLASSES, opacity=1.5)


def test_difference_tells_every_kind_of_change():
    before = np.array([[0, 0, 1, 1, 1, 0, 0, 255]], np.uint8)
    after = np.array([[0, 3, 3, 2, 0, 1, 255, 0]], np.uint8)
    assert difference(before, after, n_old=3).tolist() == [[0, 1, 2, 3, 4, 5, 255, 255]]
    with pytest.raises(InvalidParameterError, match="differ in size"):
        difference(before, after[:, 1:], n_old=3)


def test_every_picture_is_a_readable_png(rgb, labels):
    before = np.where(labels == 2, 0, labels).astype(np.uint8)
    pictures = (
        clicks_picture(rgb, CLICKS, CLASSES),
        map_picture(rgb, labels, CLASSES, title="map"),
        map_picture(rgb, labels, CLASSES, title="map", opacity=1.0),
        difference_picture(rgb, before, labels, n_old=2),
        difference_picture(rgb, labels, labels, n_old=2),
        steps_picture(rgb, CLICKS, CLASSES, before=before, after=labels, truth=labels),
        steps_picture(rgb, CLICKS, CLASSES, before=before, after=labels),
    )
    for png in pictures:
        assert opened(png).width >= 800


def test_colours_of_the_legend_survive_the_reduction(rgb):
    before = np.zeros((48, 64), np.uint8)
    after = before.copy()
    before[0, :4] = 1
    after[0, :4] = 0  # a handful of pixels among thousands of others
    picture = np.asarray(opened(difference_picture(rgb, before, after, n_old=2)).convert("RGB"))
    assert ((picture == (52, 90, 200)).all(axis=-1)).sum() > 100


@pytest.mark.parametrize("name", ["🌳", "_water", "$5", r"$\frac$", "trees, shrubs", "d'eau", "森林"])
def test_any_class_name_has_its_place_in_the_legend(rgb, name):
    colour = (255, 0, 255)
    classes = LabelSpace(classes=(CLASSES.classes[0], ClassInfo(name=name, colour=colour)))
    nothing = np.full((48, 64), 255, np.uint8)  # only the legend has the colour
    picture = np.array(opened(map_picture(rgb // 2, nothing, classes, title="map")).convert("RGB"))
    assert (picture == colour).all(axis=-1).sum() > 50


def test_a_large_raster_gives_a_small_picture():
    rgb = np.zeros((4000, 300, 3), np.uint8)
    png = map_picture(rgb, np.ones((4000, 300), np.uint8), CLASSES, title="long")
    assert max(opened(png).size) < 4000
    assert len(png) < 200_000


def test_clicks_lie_where_they_were_made():
    blue = np.zeros((64, 64, 3), np.uint8) + np.uint8([0, 0, 120])
    red = LabelSpace(classes=(*CLASSES.classes[:2], ClassInfo(name="building", colour=(255, 0, 0))))
    click = ClickSet(np.array([16]), np.array([48]), np.array([2]))
    pixels = np.asarray(opened(clicks_picture(blue, click, red)).convert("RGB")).astype(int)
    marked = (pixels[..., 0] > 200) & (pixels[..., 1:] < 60).all(axis=-1)
    image = np.argwhere((abs(pixels - (0, 0, 120)) < 25).all(axis=-1))
    top, left = image.min(axis=0)
    bottom, right = image.max(axis=0)
    inside = [(r, c) for r, c in np.argwhere(marked) if top < r < bottom and left < c < right]
    row, col = np.mean(inside, axis=0)
    assert (row - top) / (bottom - top) == pytest.approx(16.5 / 64, abs=0.03)
    assert (col - left) / (right - left) == pytest.approx(48.5 / 64, abs=0.03)


def test_a_grid_shows_every_map_in_its_colours(rgb, labels):
    other = np.zeros_like(labels)
    picture = opened(
        grid_picture([[rgb, labels, other], [rgb, other, labels]], CLASSES, titles=["a", "b", "c"])
    )
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    width = pixels.shape[1] // 3
    reds = [
        (np.abs(pixels[:, k * width : (k + 1) * width] - (200, 0, 0)).sum(axis=-1) < 30).sum()
        for k in range(3)
    ]
    assert reds[0] < 0.2 * min(reds[1:])
    assert reds[1] == pytest.approx(reds[2], rel=0.2)


def test_a_grid_of_many_methods_goes_on_below(rgb, labels):
    def size(methods: int) -> tuple[int, int]:
        titles = [str(number) for number in range(1 + methods)]
        return opened(grid_picture([[rgb, *[labels] * methods]], CLASSES, titles=titles)).size

    one, two = size(8), size(15)
    assert two[0] < one[0], "16 columns in two lines of 8 are narrower than a line of 9"
    assert two[1] > 1.6 * one[1]


def test_a_grid_with_a_missing_picture_is_refused(rgb, labels):
    with pytest.raises(InvalidParameterError, match="3 pictures"):
        grid_picture([[rgb, labels]], CLASSES, titles=["a", "b", "c"])
