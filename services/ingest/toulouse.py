"""SemCity Toulouse: satellite images of eight bands with eight classes (Roscher et al. 2020).

Published at http://rs.ipb.uni-bonn.de/data/semcity-toulouse/ under CC BY-NC-SA 3.0: WorldView-2, sharpened to
0.5 m, in 16 tiles of 3504 x 3452 pixels, of which 03, 04, 07 and 08 have masks. Read here as the public code
that uses the set says it is:

- `img_multispec_05/TLS_BDSD_M/TLS_BDSD_M_03.tif`: coastal, blue, green, yellow, red, red edge and two bands
  of infrared, 16 bits each; beside that folder TLS_BDSD_RGB and TLS_BDSD_NIRRG, of three bands;
- `semantic_05/TLS_GT/TLS_GT_03.tif`: the eight colours below, which account for every pixel of four masks.

On two points that code disagrees with itself. Some of it has a number at the end of a mask's name, for who
drew it, up to `_3` for 03 and 04 and `_2` for 07 and 08: both spellings are read, and the highest number
counts. A first drawing, `_1`, exists of all 16 tiles; it is passed over, as results are compared on the four.
And where the set's own users train on 04 and 08 and test on 03 and 07 (here the split `semcity`), the two and
two tiles of the ICSS paper are, if its code split them as it does other sets, the other way round (`paper`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from icss_core.labels import ClassInfo, LabelSpace
from services.ingest.tiles import FileName, HeldOut, Masks, TileSet, ingest_tiles

if TYPE_CHECKING:
    from pathlib import Path

    from icss_core.dataset import Dataset
    from services.ingest.writer import Progress
    from services.storage import Storage

TOULOUSE_CLASSES: Final = LabelSpace(
    classes=(
        ClassInfo(name="void", colour=(255, 255, 255)),
        ClassInfo(name="impervious surface", colour=(38, 38, 38)),
        ClassInfo(name="building", colour=(238, 118, 33)),
        ClassInfo(name="pervious surface", colour=(34, 139, 34)),
        ClassInfo(name="high vegetation", colour=(0, 222, 137)),
        ClassInfo(name="car", colour=(255, 0, 0)),
        ClassInfo(name="water", colour=(0, 0, 238)),
        ClassInfo(name="sports venues", colour=(160, 30, 230)),
    )
)
"""Label space of the set, with the colours of its masks and in its own order; void is background.

The ICSS paper's {background, road, building} is this one's choice of "impervious surface" and "building".
"""

TOULOUSE: Final = TileSet(
    name="toulouse",
    classes=TOULOUSE_CLASSES,
    tiles=tuple(f"{number:02d}" for number in range(1, 17)),
    images={
        "multispectral": FileName("TLS_BDSD_M_#"),
        "rgb": FileName("TLS_BDSD_RGB_#"),
        "nirrg": FileName("TLS_BDSD_NIRRG_#"),
    },
    splits={
        # scikit-learn's train_test_split(["03", "04", "07", "08"], test_size=0.5, random_state=42): the paper
        # says two and two, and this is how its code splits the other sets
        "paper": HeldOut("val", ("04", "08")),
        "semcity": HeldOut("test", ("03", "07")),
    },
    notes="SemCity Toulouse, Roscher et al. 2020, CC BY-NC-SA 3.0.",
)

TOULOUSE_MASKS: Final = Masks(files=(FileName("TLS_GT_#"), FileName("TLS_GT_#_3"), FileName("TLS_GT_#_2")))


def ingest_toulouse(
    storage: Storage,
    source: Path,
    prefix: str,
    *,
    bands: str = "multispectral",
    split: str = "paper",
    partial: bool = False,
    on_scene: Progress | None = None,
) -> Dataset:
    """Convert the set to GeoTIFFs under an s3:// prefix; the 12 tiles without masks are for test.

    Args:
        storage: Where it goes.
        source: Folder of the download.
        prefix: s3:// prefix of the data set.
        bands: `multispectral` (eight, 16-bit), `rgb` or `nirrg`.
        split: `paper` (03 and 07 to train, 04 and 08 to validate) or `semcity` (04 and 08 to train, 03 and
            07 to test).
        partial: Whether tiles may be missing.
        on_scene: Called after each tile.

    Raises:
        InvalidParameterError: no such bands or split.
        DatasetError: no image or no mask was found, one is missing or there twice, or a mask does not fit.
    """
    return ingest_tiles(
        storage,
        source,
        prefix,
        TOULOUSE,
        TOULOUSE_MASKS,
        bands=bands,
        split=split,
        partial=partial,
        on_scene=on_scene,
    )
