"""What is over all maps of a job: a STAC collection beside them, and tables for its MLflow run."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pystac

from services.mapping.map_item import MAP, RECORD, collection_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.mapping.map_item import MapRecord
    from services.mapping.request import MapRequest
    from services.mapping.workers import Failure

_WORLD: Final = [-180.0, -90.0, 180.0, 90.0]


def collection_of(request: MapRequest, records: Sequence[MapRecord]) -> dict[str, Any]:
    """The STAC collection of a job's maps, as JSON has it; its links are relative to the job's prefix."""
    boxes = [record.bbox for record in records if record.bbox is not None]
    around = [
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    ] if boxes else _WORLD  # fmt: skip
    collection = pystac.Collection(
        id=collection_id(request),
        title=f"Maps by {request.model}, version {request.version}",
        description=f"Class maps of {len(records)} scenes, predicted by {request.model}, "
        f"version {request.version}.",
        extent=pystac.Extent(
            pystac.SpatialExtent([around]), pystac.TemporalExtent([[datetime.now(UTC), None]])
        ),
    )
    for record in records:
        collection.add_link(pystac.Link("item", f"./{record.name}{RECORD}", "application/geo+json"))
    content: dict[str, Any] = collection.to_dict(include_self_link=False, transform_hrefs=False)
    return content


def maps_table(request: MapRequest, records: Sequence[MapRecord]) -> str:
    """A table of all maps as CSV: where they are, their size, and square kilometres of each class."""
    classes = list(records[0].pixels) if records else []
    rows = [
        [
            record.name,
            record.image,
            f"{request.out.rstrip('/')}/{record.name}{MAP}",
            record.width,
            record.height,
            round(record.seconds, 2),
            *(
                "" if record.square_metres is None else round(record.square_metres[name] / 1e6, 6)
                for name in classes
            ),
        ]
        for record in records
    ]
    head = ["name", "image", "map", "width", "height", "seconds", *(f"{name} km2" for name in classes)]
    return _csv(head, rows)


def failures_table(failures: dict[str, Failure]) -> str:
    """A table of the images that have no map, and why, as CSV."""
    head = ["image", "error", "message"]
    return _csv(head, [[image, one.error, one.message] for image, one in sorted(failures.items())])


def totals_of(records: Sequence[MapRecord]) -> dict[str, Any]:
    """What all maps show together: pixels and square kilometres of each class."""
    pixels: dict[str, int] = {}
    square_kilometres: dict[str, float] = {}
    for record in records:
        for name, count in record.pixels.items():
            pixels[name] = pixels.get(name, 0) + count
        for name, area in (record.square_metres or {}).items():
            square_kilometres[name] = square_kilometres.get(name, 0.0) + area / 1e6
    return {"maps": len(records), "pixels": pixels, "square_kilometres": square_kilometres}


def as_bytes(content: dict[str, Any]) -> bytes:
    """JSON as it is stored."""
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def _csv(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
