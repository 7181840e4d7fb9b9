"""The few-shot set of OpenEarthMap in a few pixels, laid out as it is published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from tiny_tiles import write

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 64
BASE = ("maputo_10", "lodzkie_8", "kujawsko-pomorskie_22")
SUPPORT = {label: [f"novel{label}_{shot}" for shot in range(5)] for label in (8, 9, 10, 11)}
QUERY = ("lohur_7", "monrovia_29")


def image(folder: Path, name: str) -> None:
    """Random pixels, none of them 0."""
    seed = sum(name.encode())
    values = np.random.default_rng(seed).integers(1, 255, (3, SIDE, SIDE)).astype(np.uint8)
    write(folder / "images" / f"{name}.tif", values)


def label(folder: Path, name: str, ids: np.ndarray) -> None:
    write(folder / "labels" / f"{name}.tif", ids[None].astype(np.uint8))


def base_ids() -> np.ndarray:
    """0 above, then 1 to 7 in stripes of 8 rows."""
    return np.repeat(np.arange(8), SIDE // 8)[:, None].repeat(SIDE, axis=1)


def support_ids(novel: int) -> np.ndarray:
    """One square of a class; the rest is 0, whatever is there."""
    ids = np.zeros((SIDE, SIDE), np.int64)
    ids[16:48, 16:48] = novel
    return ids


def query_ids() -> np.ndarray:
    """Base classes as in training images, with a column of each novel class."""
    ids = base_ids()
    for novel in (8, 9, 10, 11):
        ids[:, 4 * novel : 4 * novel + 4] = novel
    return ids


def write_openearthmap(root: Path, phase: str = "val", *, query_labels: bool = True) -> Path:
    """The folders, lists and files of one phase."""
    for name in BASE:
        image(root / "trainset", name)
        label(root / "trainset", name, base_ids())
    novel = root / f"{phase}set"
    for of_class, names in SUPPORT.items():
        for name in names:
            image(novel, name)
            label(novel, name, support_ids(of_class))
    for name in QUERY:
        image(novel, name)
        if query_labels:
            label(novel, name, query_ids())
    lists = {
        "support_set": {str(key): [f"{name}.tif" for name in names] for key, names in SUPPORT.items()},
        "query_set": [f"{name}.tif" for name in QUERY],
    }
    (root / f"{phase}.json").write_text(json.dumps(lists))
    (root / "train.txt").write_text("".join(f"{name}.tif\n" for name in BASE))
    return root
