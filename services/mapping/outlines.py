"""The outlines of a map's classes as a file that GIS and data frames open: GeoPackage or GeoParquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from icss_core.raster.geometries import AREAS, coordinates_of
from icss_core.raster.lon_lat import LONGITUDE_LATITUDE
from icss_core.raster.polygons import polygons
from icss_core.raster.reader import open_mask

if TYPE_CHECKING:
    from pathlib import Path

    from icss_core.labels import LabelSpace
    from services.mapping.request import OutlineFormat

OUTLINE_TYPES: Final[dict[OutlineFormat, str]] = {
    "gpkg": "application/geopackage+sqlite3",
    "parquet": "application/vnd.apache.parquet",
}
"""Media types; the format's name is the extension."""
_LAYER: Final = "classes"


def write_outlines(
    path: Path, class_map: Path, label_space: LabelSpace, *, file_format: OutlineFormat, min_area: float
) -> int:
    """Write the outlines of all classes but the background; returns how many there are.

    Coordinates, areas and properties are those of `polygons`.

    Args:
        path: local file to write.
        class_map: the map.
        label_space: of its classes.
        file_format: of the file.
        min_area: smaller regions are left out; see `polygons`.

    Raises:
        OutlinesTooLargeError: the outlines have too many corners.
        InvalidParameterError: no way leads from the map's CRS to longitude and latitude.
    """
    import geopandas  # a second, which only jobs with outlines pay

    with open_mask(class_map) as raster:
        coordinates = coordinates_of(raster)
        crs = LONGITUDE_LATITUDE if coordinates == LONGITUDE_LATITUDE else None
    features = list(polygons(class_map, label_space, min_area=min_area))
    columns = ["geometry", "class", "index", "colour", AREAS[coordinates]]
    if features:
        frame = geopandas.GeoDataFrame.from_features(features, crs=crs, columns=columns)
    else:
        frame = geopandas.GeoDataFrame({name: [] for name in columns}, geometry="geometry", crs=crs)
    if file_format == "parquet":
        frame.to_parquet(path, index=False, write_covering_bbox=True)
    else:
        frame.to_file(path, driver="GPKG", layer=_LAYER, engine="pyogrio")
    return len(frame)
