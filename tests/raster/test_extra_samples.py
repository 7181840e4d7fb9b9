from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import rasterio
import rasterio.shutil
from awkward_rasters import values, write
from rasterio.enums import ColorInterp

from icss_core.raster.extra_samples import mark_extra_sample_unspecified

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("bigtiff", ["no", "yes"])
def test_only_the_tag_changes_and_no_byte_moves(bigtiff: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a.tif", values(2, "uint8"), photometric="palette")
    with rasterio.open(source, "r+") as file:
        file.write_colormap(1, {1: (10, 20, 30, 255)})
    path = tmp_path / "map.tif"
    rasterio.shutil.copy(
        source, path, driver="COG", blocksize=128, bigtiff=bigtiff, overview_compress="deflate"
    )
    with rasterio.open(path) as file:
        assert file.colorinterp[1] == ColorInterp.alpha, "what this module is for"
        directories = 1 + len(file.overviews(1))
    before = path.read_bytes()
    mark_extra_sample_unspecified(path)
    after = path.read_bytes()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [(2, 0)] * directories
    with rasterio.open(path) as file:
        assert file.colorinterp == (ColorInterp.palette, ColorInterp.undefined)


def test_another_file_is_refused_and_stays(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.tif", values(1, "uint8"))
    before = plain.read_bytes()
    with pytest.raises(ValueError, match="0 extra samples"):
        mark_extra_sample_unspecified(plain)
    assert plain.read_bytes() == before
    (tmp_path / "b.tif").write_bytes(b"no TIFF at all")
    with pytest.raises(ValueError, match="not a TIFF"):
        mark_extra_sample_unspecified(tmp_path / "b.tif")
