"""The two sets of the ISPRS 2D semantic labelling contest: Potsdam and Vaihingen.

Potsdam (https://isprs.org/resources/datasets/benchmarks/UrbanSemLab/2d-sem-label-potsdam.aspx): 38 tiles of
6000 x 6000 pixels of 5 cm in folders 2_Ortho_RGB, 3_Ortho_IRRG and 4_Ortho_RGBIR (four bands, infrared last);
masks in 5_Labels_all (38) or 5_Labels_for_participants (24), eroded ones in 5_Labels_all_noBoundary or
5_Labels_for_participants_no_Boundary.

Vaihingen: 33 tiles of 9 cm in top/ (infrared, red, green); masks of the same names in gts_for_participants
(16) or in ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE (33); eroded ones, their names ending in
_noBoundary, in gts_eroded_for_participants or ..._ground_truth_eroded_COMPLETE.

World files (.tfw) lie beside the images. They name no CRS: where the image does not name it either, it is not
known, and the scene's clicks are given in pixels.

Masks hold six colours. In eroded masks a strip along the borders of objects is black, as the contest does not
count it. Three masks of Potsdam are known to be faulty, as several who decoded the set have published:

- 4_12 was stored lossily, in thousands of colours, but no channel is further from a class's than 70, so that
  it is never in doubt which class is meant: they are taken for the colours that they were.
- 6_7 has 252 where 255 is meant, in the red of most of its cars; likewise.
- 7_10 has proper colours, but errors of annotation, for which many leave the tile out. The ICSS paper counts
  38 tiles, so it stays in.

Any other colour is an error: nobody knows what it means.
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

ISPRS_CLASSES: Final = LabelSpace(
    classes=(
        ClassInfo(name="clutter", colour=(255, 0, 0)),
        ClassInfo(name="impervious surfaces", colour=(255, 255, 255)),
        ClassInfo(name="building", colour=(0, 0, 255)),
        ClassInfo(name="low vegetation", colour=(0, 255, 255)),
        ClassInfo(name="tree", colour=(0, 255, 0)),
        ClassInfo(name="car", colour=(255, 255, 0)),
    )
)
"""Label space of both sets, with the colours of their masks; the contest's clutter/background is background.

The ICSS paper's {background, road, building} is this one's choice of "impervious surfaces" and "building".
"""
_BLACK: Final = (0, 0, 0)

# The ICSS paper's splits are those of its published code: scikit-learn's
# train_test_split(names, test_size=0.2, random_state=42) over the names in alphabetical order.
POTSDAM: Final = TileSet(
    name="potsdam",
    classes=ISPRS_CLASSES,
    tiles=(
        *("2_10", "2_11", "2_12", "2_13", "2_14"),
        *("3_10", "3_11", "3_12", "3_13", "3_14"),
        *("4_10", "4_11", "4_12", "4_13", "4_14", "4_15"),
        *("5_10", "5_11", "5_12", "5_13", "5_14", "5_15"),
        *("6_7", "6_8", "6_9", "6_10", "6_11", "6_12", "6_13", "6_14", "6_15"),
        *("7_7", "7_8", "7_9", "7_10", "7_11", "7_12", "7_13"),
    ),
    images={
        "rgb": FileName("top_potsdam_#_#_RGB"),
        "irrg": FileName("top_potsdam_#_#_IRRG"),
        "rgbir": FileName("top_potsdam_#_#_RGBIR"),
    },
    splits={
        "paper": HeldOut("val", ("2_14", "3_11", "4_13", "6_9", "6_14", "6_15", "7_8", "7_12")),
        "isprs": HeldOut(
            "test",
            (
                *("2_13", "2_14", "3_13", "3_14", "4_13", "4_14", "4_15"),
                *("5_13", "5_14", "5_15", "6_13", "6_14", "6_15", "7_13"),
            ),
        ),
    },
    tolerances={"4_12": 80, "6_7": 3},
    notes="ISPRS 2D Semantic Labeling, Potsdam. The masks of tiles 4_12 and 6_7 were published in colours a "
    "little off those of the classes, which were mended; that of 7_10 is known to have errors.",
)
"""Potsdam: the paper validates on 8 of 38 tiles, the contest tests on the 14 whose masks it held back."""

POTSDAM_MASKS: Final = Masks(
    files=(FileName("top_potsdam_#_#_label", "5_Labels_all"), FileName("top_potsdam_#_#_label"))
)
POTSDAM_ERODED: Final = Masks(
    files=(
        FileName("top_potsdam_#_#_label_noBoundary", "5_Labels_all_noBoundary"),
        FileName("top_potsdam_#_#_label_noBoundary"),
    ),
    ignored=(_BLACK,),
)

VAIHINGEN: Final = TileSet(
    name="vaihingen",
    classes=ISPRS_CLASSES,
    tiles=(
        *("1", "2", "3", "4", "5", "6", "7", "8", "10", "11", "12", "13", "14", "15", "16", "17", "20"),
        *("21", "22", "23", "24", "26", "27", "28", "29", "30", "31", "32", "33", "34", "35", "37", "38"),
    ),
    images={"irrg": FileName("top_mosaic_09cm_area#", "top")},
    splits={
        "paper": HeldOut("val", ("2", "3", "7", "17", "26", "28", "37")),
        "isprs": HeldOut(
            "test",
            (
                *("2", "4", "6", "8", "10", "12", "14", "16", "20"),
                *("22", "24", "27", "29", "31", "33", "35", "38"),
            ),
        ),
    },
    notes="ISPRS 2D Semantic Labeling, Vaihingen; the data were provided by the German Society for "
    "Photogrammetry, Remote Sensing and Geoinformation (DGPF) [Cramer, 2010].",
)
"""Vaihingen: the paper validates on 7 of 33 tiles, the contest tests on the 17 whose masks it held back."""

VAIHINGEN_MASKS: Final = Masks(
    files=(
        FileName("top_mosaic_09cm_area#", "(?!.*eroded).*complete"),
        FileName("top_mosaic_09cm_area#", "(?!.*eroded|top$).*"),
    )
)
VAIHINGEN_ERODED: Final = Masks(
    files=(
        FileName("top_mosaic_09cm_area#_noBoundary", ".*complete"),
        FileName("top_mosaic_09cm_area#_noBoundary"),
    ),
    ignored=(_BLACK,),
)


def ingest_potsdam(
    storage: Storage,
    source: Path,
    prefix: str,
    *,
    bands: str = "rgb",
    split: str = "paper",
    no_boundary: bool = False,
    partial: bool = False,
    on_scene: Progress | None = None,
) -> Dataset:
    """Convert Potsdam to GeoTIFFs under an s3:// prefix.

    Args:
        storage: Where it goes.
        source: Folder of the download.
        prefix: s3:// prefix of the data set.
        bands: `rgb`, `irrg` or `rgbir`, all 8-bit.
        split: `paper` (30 to train, 8 to validate) or `isprs` (24 to train, 14 to test).
        no_boundary: Take the eroded masks, whose strips along borders are ignored.
        partial: Whether tiles may be missing.
        on_scene: Called after each tile.

    Raises:
        InvalidParameterError: no such bands or split.
        DatasetError: no image or no mask was found, one is missing or there twice, or a mask does not fit.
    """
    masks = POTSDAM_ERODED if no_boundary else POTSDAM_MASKS
    return ingest_tiles(
        storage, source, prefix, POTSDAM, masks, bands=bands, split=split, partial=partial, on_scene=on_scene
    )


def ingest_vaihingen(
    storage: Storage,
    source: Path,
    prefix: str,
    *,
    split: str = "paper",
    no_boundary: bool = False,
    partial: bool = False,
    on_scene: Progress | None = None,
) -> Dataset:
    """Convert Vaihingen to GeoTIFFs of infrared, red and green under an s3:// prefix.

    Args:
        storage: Where it goes.
        source: Folder of the download; the images lie in a folder `top` in it.
        prefix: s3:// prefix of the data set.
        split: `paper` (26 to train, 7 to validate) or `isprs` (16 to train, 17 to test).
        no_boundary: Take the eroded masks, whose strips along borders are ignored.
        partial: Whether tiles may be missing.
        on_scene: Called after each tile.

    Raises:
        InvalidParameterError: no such split.
        DatasetError: no image or no mask was found, one is missing or there twice, or a mask does not fit.
    """
    masks = VAIHINGEN_ERODED if no_boundary else VAIHINGEN_MASKS
    return ingest_tiles(
        storage,
        source,
        prefix,
        VAIHINGEN,
        masks,
        bands="irrg",
        split=split,
        partial=partial,
        on_scene=on_scene,
    )
