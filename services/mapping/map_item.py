"""The record beside each map: a STAC item, written last, so that a map that has one is complete.

STAC 1.1 (SpatioTemporal Asset Catalog) with the extensions projection and classification. What the job itself
needs to know again is in the property `icss:map`.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import pystac
from pydantic import BaseModel, ConfigDict, ValidationError
from pystac.extensions.projection import ProjectionExtension
from shapely.geometry import mapping

from icss_core.raster.side_files import DESCRIPTION
from services.errors import ObjectNotFoundError
from services.mapping.outlines import OUTLINE_TYPES

if TYPE_CHECKING:
    from shapely import MultiPolygon, Polygon

    from icss_core.labels import LabelSpace
    from icss_core.raster.reader import Raster
    from services.mapping.request import MapRequest
    from services.storage import Storage

_log = logging.getLogger(__name__)

MAP: Final = ".tif"
RECORD: Final = ".json"
_MAP_TYPE: Final = "image/tiff; application=geotiff; profile=cloud-optimized"
COLLECTION: Final = "collection.json"
"""Name of the collection, under the job's prefix."""
_RECORD: Final = "icss:map"
_CLASSIFICATION: Final = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"


class MapRecord(BaseModel):
    """What is known of one map."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Path of the map under the job's prefix, without extension."""
    image: str
    etag: str
    """Of the image that was mapped."""
    fingerprint: str
    """See `MapRequest.fingerprint`."""
    model: str
    version: int
    height: int
    width: int
    pixels: dict[str, int]
    """By name of class; pixels without data are in none."""
    square_metres: dict[str, float] | None
    """The same on the Earth; None where nobody knows where the map lies."""
    bbox: list[float] | None
    """West, south, east, north, in degrees; None where nobody knows where the map lies."""
    outlines: int | None
    """How many outlines were written; None: none were asked for."""
    seconds: float
    """Of work on the map."""

    def is_of(self, request: MapRequest, image: str, etag: str) -> bool:
        """Whether this is the map that a request asks for of these bytes."""
        return (self.image, self.etag, self.fingerprint) == (image, etag, request.fingerprint)


def collection_id(request: MapRequest) -> str:
    """Id of the STAC collection that a job's maps belong to."""
    return request.out.removeprefix("s3://").strip("/").replace("/", "-")


def map_item(
    record: MapRecord,
    request: MapRequest,
    class_map: Raster,
    labels: LabelSpace,
    outline: Polygon | MultiPolygon | None,
) -> dict[str, Any]:
    """The STAC item of a map, as JSON has it; its addresses are relative to where it lies.

    Args:
        record: kept whole.
        request: the job's.
        class_map: the map, open.
        labels: of its classes.
        outline: where the map lies; None where nobody knows.
    """
    file = PurePosixPath(record.name).name
    item = pystac.Item(
        id=record.name.replace("/", "-"),
        geometry=None if outline is None else mapping(outline),
        bbox=record.bbox,
        datetime=datetime.now(UTC),  # of the map: images seldom say when they were taken
        properties={
            "title": f"{record.name}: classes by {record.model}, version {record.version}",
            "created": datetime.now(UTC).isoformat(),
            _RECORD: record.model_dump(mode="json"),
        },
        stac_extensions=[_CLASSIFICATION],
    )
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    projection.shape = [record.height, record.width]
    if outline is not None and not class_map.transform.is_identity:
        projection.transform = list(class_map.transform)[:6]
        epsg = None if class_map.crs is None else class_map.crs.to_epsg()
        if epsg is not None:
            projection.code = f"EPSG:{epsg}"
        elif class_map.crs is not None:
            projection.wkt2 = class_map.crs.to_wkt()
    classes = [
        {"value": index, "name": info.name, "color_hint": "{:02X}{:02X}{:02X}".format(*info.colour)}
        for index, info in enumerate(labels.classes)
    ]
    item.add_asset(
        "map",
        pystac.Asset(
            f"./{file}{MAP}",
            media_type=_MAP_TYPE,
            roles=["data"],
            extra_fields={"classification:classes": classes},
        ),
    )
    item.add_asset(
        "names", pystac.Asset(f"./{file}{MAP}{DESCRIPTION}", media_type="text/xml", roles=["metadata"])
    )
    if request.outlines is not None:
        kind = OUTLINE_TYPES[request.outlines]
        item.add_asset(
            "outlines", pystac.Asset(f"./{file}.{request.outlines}", media_type=kind, roles=["data"])
        )
    item.collection_id = collection_id(request)
    upwards = "../" * record.name.count("/") or "./"
    item.add_link(pystac.Link("collection", f"{upwards}{COLLECTION}", "application/json"))
    content: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    return content


def write_item(storage: Storage, out: str, item: dict[str, Any], name: str) -> None:
    """Write the item of a map, which makes the map a complete one."""
    content = json.dumps(item, indent=2, ensure_ascii=False).encode()
    storage.write_bytes(f"{out.rstrip('/')}/{name}{RECORD}", content, content_type="application/geo+json")


def read_record(storage: Storage, out: str, name: str) -> MapRecord | None:
    """The record of a map; None where there is none that this program can read.

    Raises:
        StorageError: the store did not answer.
    """
    item = read_item(storage, out, name)
    try:
        return None if item is None else MapRecord.model_validate(item["properties"][_RECORD])
    except (ValidationError, KeyError, TypeError) as error:
        _log.warning("%s/%s%s is no record of a map of this program: %s", out, name, RECORD, error)
        return None


def read_item(storage: Storage, out: str, name: str) -> dict[str, Any] | None:
    """The item of a map; None where there is none.

    Raises:
        StorageError: the store did not answer.
    """
    address = f"{out.rstrip('/')}/{name}{RECORD}"
    try:
        item = json.loads(storage.read_bytes(address))
    except ObjectNotFoundError:
        return None
    except ValueError as error:
        _log.warning("%s is not JSON: %s", address, error)
        return None
    return item if isinstance(item, dict) else None
