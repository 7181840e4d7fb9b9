"""Writing scenes and dataset.yaml under one prefix of the object store."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from icss_core.dataset import Dataset, Scene
from icss_core.errors import DatasetError, MisplacedError
from icss_core.labels import BACKGROUND, IGNORE, LabelSpace
from icss_core.raster.alignment import Grid, laid_onto
from icss_core.raster.reader import ArraySource, open_raster
from services.ingest.check import PICTURE_FILE, TABLE_FILE, Check
from services.ingest.label_counts import label_counts
from services.ingest.mask_file import Mask
from services.ingest.scene_rasters import copy_image, copy_map, digest_of, geotiff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    from affine import Affine
    from rasterio.control import GroundControlPoint
    from rasterio.rpc import RPC

    from icss_core.dataset import Split
    from icss_core.raster.source import Pixels

    Progress = Callable[[int, int, str], None]
    """Called after each scene: how many are done, how many there are, the scene's name."""

MANIFEST: Final = "dataset.yaml"
_HASH_LENGTH: Final = 16
"""Hexadecimal digits of a file's hash in its name: 64 bits."""


class Target(Protocol):
    """Where a data set goes: `services.storage.Storage`, or what only looks at it."""

    def check_allowed(self, uri: str) -> str:
        """See `Storage.check_allowed`."""

    def write_bytes(self, uri: str, content: bytes, *, content_type: str | None = None) -> str:
        """See `Storage.write_bytes`."""

    def upload(self, path: Path, uri: str) -> str:
        """See `Storage.upload`."""


class DatasetWriter:
    """Puts scenes under a prefix; dataset.yaml comes last, so an aborted run leaves no half data set.

    The name of each file ends with a hash of its content. So a data set that is written again over another
    never changes a file that the other's dataset.yaml names, and whoever has read one dataset.yaml sees one
    data set. Files that no dataset.yaml names any more stay.

    Images become tiled, losslessly compressed GeoTIFFs (512-pixel blocks, for reading by windows); masks
    alike, with one band. Masks have no nodata value: 255 is one of their values, not a hole in them.

    Masks from files are laid where they lie (`icss_core.raster.alignment`). What became of all of them is
    written beside dataset.yaml for people to look at; see `services.ingest.check`.
    """

    def __init__(self, storage: Target, prefix: str, *, name: str, classes: LabelSpace) -> None:
        self._storage = storage
        self._prefix = prefix.rstrip("/")
        self._name = name
        self._classes = classes
        self._scenes: list[Scene] = []
        self.check = Check(classes)
        storage.check_allowed(f"{self._prefix}/{MANIFEST}")

    def add_array(
        self,
        name: str,
        pixels: npt.NDArray[Any],
        mask: npt.NDArray[np.uint8] | None,
        *,
        split: Split,
        crs: str | None = None,
        transform: Affine | None = None,
        gcps: Sequence[GroundControlPoint] = (),
        rpcs: RPC | None = None,
        valid: npt.NDArray[np.bool_] | None = None,
        nodata: float | None = None,
        maps: Mapping[str, Pixels] | None = None,
    ) -> Scene:
        """Add a scene from arrays.

        Args:
            name: Name of the scene, unique in the set.
            pixels: (C, H, W), any real type.
            mask: (H, W) uint8, indices of the set's classes, 255 = ignore; None where there is none.
            split: Part of the set the scene belongs to.
            crs: Of the transform, or the control points; None for an image that lies nowhere.
            transform: From (col, row) to map coordinates.
            gcps: Ground control points, which some images have instead.
            rpcs: Of the sensor, which some images have instead or as well.
            valid: (H, W), True where there is data; None: everywhere.
            nodata: Value that pixels without data are given in all bands; None: 0, and the file has none.
            maps: More of the scene by name (`Scene.maps`), each with one uint8 band of the image's size.

        Raises:
            DatasetError: the mask has another size than the image, or values that are no class.
        """
        place: dict[str, Any] = {} if transform is None else {"crs": crs, "transform": transform}
        # a mask needs neither, as it is read by the pixels of its image
        points = {"gcps": list(gcps), "crs": crs} if gcps and transform is None else {}
        profile = place | points | ({} if rpcs is None else {"rpcs": rpcs})
        image = geotiff(pixels, profile, valid, nodata)
        with tempfile.TemporaryDirectory() as folder:
            files = {kind: Path(folder) / f"{kind}.map.tif" for kind in maps or {}}
            for kind, values in (maps or {}).items():
                files[kind].write_bytes(geotiff(values.values, place, values.valid))
            scene = self._add(name, image, mask, split=split, place=place, shape=pixels.shape[1:], maps=files)
        self.check.add(ArraySource(pixels, valid), mask)
        return scene

    def add_file(
        self,
        name: str,
        path: Path,
        mask: Mask | npt.NDArray[np.uint8] | None,
        *,
        split: Split,
        alpha_is_data: bool = False,
        maps: Mapping[str, Path] | None = None,
    ) -> Scene:
        """Add a scene from a raster file, copied block by block with its georeference, nodata and masks.

        Args:
            name: Name of the scene, unique in the set.
            path: GeoTIFF or picture; a world file beside it counts as its georeference. A photo is turned
                upright.
            mask: as `read_mask` read it, or (H, W) uint8 on the image's pixels, indices of the set's classes,
                255 = ignore; None where there is none.
            split: Part of the set the scene belongs to.
            alpha_is_data: A band that the file marks as alpha is a band like the others, such as infrared
                after red, green and blue, which much software writes as RGBA; its zeros are no holes.
            maps: more of the scene by name (`Scene.maps`), each a raster of one uint8 band and the image's
                size; nodata and masks of them are kept.

        Raises:
            ImageUnreadableError: the file is not a raster we read.
            DatasetError: it is damaged, or mask or maps do not fit it.
            MisplacedError: the mask does not lie where the image does.
        """
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "image.tif"
            grid = copy_image(path, target, alpha_is_data=alpha_is_data)
            copies = {kind: Path(folder) / f"{kind}.map.tif" for kind in maps or {}}
            for kind, raster in (maps or {}).items():
                copy_map(name, kind, raster, copies[kind], grid)
            labels = self._laid(name, mask, grid) if isinstance(mask, Mask) else mask
            # a mask needs no control points, as it is read by the pixels of its image
            place = {"crs": grid.crs, "transform": grid.transform}
            shape = (grid.height, grid.width)
            scene = self._add(name, target, labels, split=split, place=place, shape=shape, maps=copies)
            with open_raster(target) as image:
                self.check.add(image, labels)
            return scene

    def _laid(self, name: str, mask: Mask, grid: Grid) -> npt.NDArray[np.uint8]:
        """The labels of a mask on an image's pixels."""
        try:
            labels = laid_onto(mask.labels, mask.grid, grid)
        except MisplacedError as error:
            what = f"scene {name!r}: the mask {mask.name} does not fit its image"
            raise MisplacedError(f"{what}: {error}") from error
        self.check.read(mask.readings)
        if labels is not mask.labels:
            bare = 100 * float((labels == IGNORE).mean())
            self.check.warn(
                f"scene {name!r}: the mask {mask.name} lies on other pixels than its image and was moved to "
                f"where it belongs; {bare:.0f} % of the image are without label"
            )
        return labels

    def finish(self, *, notes: str = "") -> Dataset:
        """Write dataset.yaml and return the data set as it can now be read from the store.

        Raises:
            DatasetError: no scene was added.
        """
        if not self._scenes:
            raise DatasetError(f"no scene was found for {self._prefix}")
        dataset = Dataset(
            name=self._name,
            classes=self._classes,
            scenes=tuple(self._scenes),
            notes=notes,
            base=self._prefix,
        )
        self._storage.write_bytes(
            f"{self._prefix}/{TABLE_FILE}",
            self.check.table().model_dump_json(indent=1).encode(),
            content_type="application/json",
        )
        picture = self.check.picture()
        if picture is not None:
            self._storage.write_bytes(f"{self._prefix}/{PICTURE_FILE}", picture, content_type="image/png")
        self._storage.write_bytes(
            f"{self._prefix}/{MANIFEST}", dataset.to_yaml().encode(), content_type="application/yaml"
        )
        return dataset

    def _add(
        self,
        name: str,
        image: bytes | Path,
        mask: npt.NDArray[np.uint8] | None,
        *,
        split: Split,
        place: dict[str, Any],
        shape: tuple[int, ...],
        maps: Mapping[str, Path] | None = None,
    ) -> Scene:
        labels, masked = None, None
        if mask is not None:
            labels = self._labels(name, mask, shape)
            masked = geotiff(mask[None], place)
        rasters: dict[str, bytes | Path | None] = {"images": image, "masks": masked, **(maps or {})}
        addresses: dict[str, str] = {}
        checksum = hashlib.sha256()
        for kind, raster in rasters.items():
            if raster is not None:
                digest = digest_of(raster)
                checksum.update(digest)
                addresses[kind] = f"{kind}/{name}-{digest.hex()[:_HASH_LENGTH]}.tif"
                self._put(raster, f"{self._prefix}/{addresses[kind]}")
        scene = Scene(
            name=name,
            image=addresses["images"],
            mask=addresses.get("masks"),
            maps={kind: addresses[kind] for kind in addresses if kind not in ("images", "masks")},
            height=shape[0],
            width=shape[1],
            split=split,
            labels=labels,
            checksum=checksum.hexdigest(),
        )
        self._scenes.append(scene)
        return scene

    def _put(self, raster: bytes | Path, address: str) -> None:
        if isinstance(raster, Path):
            self._storage.upload(raster, address)
        else:
            self._storage.write_bytes(address, raster, content_type="image/tiff")

    def _labels(self, name: str, mask: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> tuple[str, ...]:
        """Names of the classes of interest in a mask, after checking it."""
        if mask.shape != tuple(shape):
            raise DatasetError(
                f"scene {name!r}: the mask is {mask.shape[0]} x {mask.shape[1]} pixels, "
                f"the image {shape[0]} x {shape[1]}"
            )
        values = set(np.flatnonzero(label_counts(mask)).tolist()) - {IGNORE}
        unknown = sorted(value for value in values if value >= len(self._classes))
        if unknown:
            raise DatasetError(
                f"scene {name!r}: mask values {unknown} are no class; there are {len(self._classes)} classes "
                f"({', '.join(self._classes.names)}) with indices from 0, and 255 for ignore"
            )
        return tuple(self._classes.names[value] for value in sorted(values) if value != BACKGROUND)
