"""Folders as people have them: where labels lie, what they mean, how files are called and saved."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from affine import Affine
from folder_target import Ingested, write_folder
from PIL import Image, ImageOps
from typer.testing import CliRunner

from icss_core.errors import DatasetError, MisplacedError
from services.cli import app

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = "- background\n- road\n"
NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
RGB = np.random.default_rng(0).integers(1, 255, (64, 64, 3), np.uint8)
MASK = np.zeros((64, 64), np.uint8)
MASK[:10, :20] = 1


def geotiff(path: Path, values: np.ndarray, transform: Affine, crs: str = "EPSG:32640", **options) -> None:
    """(C, H, W), georeferenced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
        dtype=values.dtype, crs=crs, transform=transform, **options,
    ) as file:  # fmt: skip
        file.write(values)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "source", {"classes.yaml": CLASSES})


@pytest.mark.parametrize(
    ("transform", "values"),
    [
        (Affine(0.5, 0, 500_000, 0, 0.5, 4_000_000 - 32), MASK[::-1]),
        (Affine(-0.5, 0, 500_032, 0, -0.5, 4_000_000), MASK[:, ::-1]),
        (Affine(0.25, 0, 500_000, 0, -0.25, 4_000_000), MASK.repeat(2, axis=0).repeat(2, axis=1)),
        (NORTH_UP, MASK),
    ],
    ids=["south up", "mirrored", "finer", "as the image"],
)
def test_a_mask_is_laid_where_it_lies(source: Path, tmp_path: Path, transform, values) -> None:
    geotiff(source / "images/a.tif", RGB.transpose(2, 0, 1), NORTH_UP)
    geotiff(source / "masks/a.tif", values[None], transform)
    made = Ingested(source, tmp_path)
    np.testing.assert_array_equal(made.mask(), MASK)
    moved = [warning for warning in made.table.warnings if "moved to where it belongs" in warning]
    assert len(moved) == (transform != NORTH_UP)


def test_a_shifted_mask_labels_what_it_covers(source: Path, tmp_path: Path) -> None:
    geotiff(source / "images/a.tif", RGB.transpose(2, 0, 1), NORTH_UP)
    geotiff(source / "masks/a.tif", MASK[None], NORTH_UP @ Affine.translation(16, 8))
    made = Ingested(source, tmp_path)
    expected = np.full_like(MASK, 255)
    expected[8:, 16:] = MASK[:56, :48]
    np.testing.assert_array_equal(made.mask(), expected)
    assert "34 % of the image are without label" in made.table.warnings[0]


@pytest.mark.parametrize("folder", ["masks", "objectness"])
def test_what_lies_elsewhere_is_refused_by_name(source: Path, tmp_path: Path, folder: str) -> None:
    geotiff(source / "images/a.tif", RGB.transpose(2, 0, 1), NORTH_UP)
    geotiff(source / f"{folder}/a.tif", MASK[None], NORTH_UP @ Affine.translation(1000, 0))
    with pytest.raises(MisplacedError, match=r"scene 'a': the .*(mask|objectness).* does not fit its image"):
        Ingested(source, tmp_path)


@pytest.mark.parametrize("number", [3, 6])
def test_a_photo_and_what_was_drawn_on_it_are_both_upright(source: Path, tmp_path: Path, number: int) -> None:
    bright = np.full((48, 64, 3), 60, np.uint8)
    bright[:24, :20] = 220
    image = Image.fromarray(bright)
    exif = image.getexif()
    exif[274] = number
    (source / "images").mkdir()
    image.save(source / "images/a.jpg", exif=exif, quality=95)
    seen = np.asarray(ImageOps.exif_transpose(Image.open(source / "images/a.jpg")))
    write_folder(source, {"masks/a.png": (seen[..., 0] > 140).astype(np.uint8)})
    made = Ingested(source, tmp_path)
    assert made.image().shape == seen.transpose(2, 0, 1).shape
    np.testing.assert_array_equal(made.image()[0] > 140, made.mask() == 1)
    assert made.dataset.scenes[0].size == seen.shape[:2]


def test_masks_of_nothing_but_255_are_asked_about(source: Path, tmp_path: Path) -> None:
    write_folder(source, {"images/a.png": RGB, "masks/a.png": MASK * 255})
    with pytest.raises(DatasetError, match=r"200 are 255, .*'255: road', or else '255: ignore'"):
        Ingested(source, tmp_path)
    write_folder(source, {"classes.yaml": "0: background\n255: road\n"})
    np.testing.assert_array_equal(Ingested(source, tmp_path).mask(), MASK)
    write_folder(source, {"classes.yaml": "0: background\n1: road\n255: ignore\n"})
    made = Ingested(source, tmp_path)
    assert made.table.ignored_pixels == 200
    assert made.table.warnings == ("no pixel of any mask is 'road'",)


def test_hidden_files_and_two_encodings_of_a_name(source: Path, tmp_path: Path) -> None:
    apple_double = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(200)
    write_folder(
        source,
        {
            f"images/{unicodedata.normalize('NFD', 'Zürich')}.png": RGB,
            f"masks/{unicodedata.normalize('NFC', 'Zürich')}.png": MASK,
            "images/._x.png": apple_double,
            "masks/._x.png": apple_double,
            "masks/.hidden.geojson": "{",
            "split.csv": f"\ufeffName;Split\r\n{unicodedata.normalize('NFD', 'Zürich')}.png;val\r\n",
        },
    )
    (scene,) = Ingested(source, tmp_path).dataset.scenes
    assert (scene.name, scene.split, scene.labels) == ("Zürich", "val", ("road",))


def test_json_may_be_indented_with_tabs(source: Path, tmp_path: Path) -> None:
    (source / "classes.yaml").unlink()
    write_folder(
        source, {"images/a.png": RGB, "masks/a.png": MASK, "classes.json": '[\n\t"background",\n\t"no"\n]'}
    )
    assert Ingested(source, tmp_path).dataset.classes.names == ("background", "no")


def test_infrared_marked_as_alpha_is_a_band_where_the_user_says_so(source: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(1, 255, (4, 64, 64), np.uint8)
    values[3, :9] = 0  # water is black in the near infrared
    geotiff(source / "images/a.tif", values, NORTH_UP)  # GDAL marks the fourth band as alpha
    write_folder(source, {"masks/a.png": MASK})
    np.testing.assert_array_equal(Ingested(source, tmp_path, alpha_is_data=True).image(), values)
    assert Ingested(source, tmp_path).image().shape == (3, 64, 64)


def test_infrared_of_a_photo_is_turned_with_it(source: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(1, 255, (48, 64, 4), np.uint8)
    image = Image.fromarray(values, mode="RGBA")
    exif = image.getexif()
    exif[274] = 6
    (source / "images").mkdir()
    image.save(source / "images/a.png", exif=exif)
    made = Ingested(source, tmp_path, alpha_is_data=True)
    np.testing.assert_array_equal(made.image(), np.rot90(values, -1).transpose(2, 0, 1))


def test_a_check_shows_what_would_become_and_stores_nothing(source: Path, tmp_path: Path) -> None:
    write_folder(source, {"images/a.png": RGB, "images/b.png": RGB, "masks/a.png": MASK})
    picture = tmp_path / "check.png"
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(app, ["ingest", "check", str(source), "--picture", str(picture)])
    assert done.exit_code == 0, done.output
    for part in ("labels of 1 of 2 scenes", "background", "3,896", "road", "200", "value 1"):
        assert part in done.output
    with Image.open(picture) as shown:
        assert shown.width > 200
    assert sorted(tmp_path.rglob("*")) == sorted([*before, picture])
