"""A data set written into a folder, and read back from there: ingest without a server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from icss_core.raster.reader import open_mask, open_raster
from icss_core.raster.windows import Window
from services.ingest.check import CheckTable
from services.ingest.folder import ingest_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from icss_core.dataset import Dataset

PREFIX = "s3://bucket/set"


class FolderTarget:
    """`services.ingest.writer.Target` on this machine's disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, uri: str) -> Path:
        path = self._folder / uri.removeprefix("s3://")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def check_allowed(self, uri: str) -> str:
        return uri

    def write_bytes(self, uri: str, content: bytes, *, content_type: str | None = None) -> str:
        del content_type
        self.path(uri).write_bytes(content)
        return uri

    def upload(self, path: Path, uri: str) -> str:
        shutil.copy(path, self.path(uri))
        return uri


class Ingested:
    """A folder of a user, ingested."""

    def __init__(self, source: Path, stored: Path, *, alpha_is_data: bool = False) -> None:
        self._target = FolderTarget(stored)
        self.dataset: Dataset = ingest_folder(self._target, source, PREFIX, alpha_is_data=alpha_is_data)
        self.table = CheckTable.model_validate_json(self._target.path(f"{PREFIX}/check.json").read_bytes())

    def mask(self, number: int = 0) -> np.ndarray:
        """(H, W) of a scene."""
        address = self.dataset.scenes[number].mask
        assert address is not None
        with open_mask(self._target.path(f"{PREFIX}/{address}")) as raster:
            return raster.read(Window(0, 0, raster.height, raster.width)).values[0]

    def image(self, number: int = 0) -> np.ndarray:
        """(C, H, W) of a scene."""
        with open_raster(self._target.path(f"{PREFIX}/{self.dataset.scenes[number].image}")) as raster:
            return raster.read(Window(0, 0, raster.height, raster.width)).values


def write_folder(folder: Path, files: Mapping[str, bytes | str | np.ndarray]) -> Path:
    """A user's folder: bytes and text as they are, arrays (H, W) or (H, W, 3) as pictures."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, np.ndarray):
            Image.fromarray(content).save(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder
