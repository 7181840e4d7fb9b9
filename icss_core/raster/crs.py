"""A CRS from text that a user, or a file, gives.

GDAL takes such text for an address too: it reads a file, or fetches a URL, that should hold the definition,
and PROJ opens the grids that a definition names. So text is taken apart here first: nothing but codes and
whole definitions is handed on, and none that names a file.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import pyproj
from pyproj.exceptions import CRSError as PyprojError
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError

from icss_core.errors import InvalidParameterError
from icss_core.raster.environment import gdal_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LENGTH: Final = 16_384
"""Characters; a UTM zone takes 2000 as indented WKT, 4300 as indented PROJJSON."""

_CODES: Final = tuple(
    re.compile(pattern, re.IGNORECASE | re.ASCII)
    for pattern in (
        r"(?P<authority>[A-Z][A-Z_0-9]*):\s*(?P<code>[A-Z0-9_]+)",
        r"\+?init=(?P<authority>EPSG):(?P<code>[0-9]+)",
        r"urn:(?:x-)?ogc:def:crs:(?P<authority>[A-Z][A-Z_0-9]*):(?:[0-9.]*:)?(?P<code>[A-Z0-9_]+)",
        r"https?://(?:www\.)?opengis\.net/def/crs/(?P<authority>[A-Z][A-Z_0-9]*)/[0-9.]+/(?P<code>[A-Z0-9_]+)/?",
    )
)
"""Ways to write authority and code: short, as PROJ 4, as URN, as URL. The URL is only a name."""
_COMPOUND: Final = re.compile(
    r"EPSG:[0-9]+\+[0-9]+|urn:ogc:def:crs(?:,crs:EPSG:[0-9.]*:[0-9]+){2}", re.IGNORECASE | re.ASCII
)
"""A horizontal and a vertical CRS by their codes."""
_NAMES: Final = {
    "WGS84": ("EPSG", "4326"),
    "WGS72": ("EPSG", "4322"),
    "NAD27": ("EPSG", "4267"),
    "NAD83": ("EPSG", "4269"),
    "CRS84": ("OGC", "CRS84"),
    "CRS:84": ("OGC", "CRS84"),
}
_WKT: Final = re.compile(
    r"(?:GEOGCS|PROJCS|COMPD_CS|GEOGCRS|GEODCRS|GEODETICCRS|GEOGRAPHICCRS|PROJCRS|PROJECTEDCRS|COMPOUNDCRS|"
    r"BOUNDCRS)\s*[\[(]",
    re.IGNORECASE,
)
_FILE_KEYWORD: Final = re.compile(r"PARAMETERFILE|PROJ4_GRIDS", re.IGNORECASE)
_SETTING: Final = re.compile(r'([\w$]+)\s*=\s*([^\s"]*)')
_PLAIN_VALUE: Final = re.compile(r"[\w.,+-]*", re.ASCII)
_SETTINGS: Final = frozenset(
    re.findall(
        r"\w+",
        "proj type datum ellps a b f rf R R_A pm units to_meter vunits vto_meter axis zone south lat_0 lat_1 "
        "lat_2 lat_3 lat_ts lon_0 lon_1 lon_2 lon_3 lonc k k_0 x_0 y_0 alpha gamma h sweep towgs84 over "
        "no_off no_uoff no_rot no_defs wktext o_proj o_lat_p o_lon_p o_alpha",
    )
)
"""PROJ parameters that are numbers or words of PROJ's own, never the name of a file."""


def parse_crs(text: CRS | str) -> CRS:
    """A CRS from what a user wrote; nothing is opened or fetched for it but PROJ's own database.

    Args:
        text: a code (`EPSG:32640`, `OGC:CRS84`, `urn:ogc:def:crs:EPSG::32640`,
            `http://www.opengis.net/def/crs/EPSG/0/32640`), WKT 1 or 2, PROJJSON, or a PROJ string of numbers
            and PROJ's own words. A CRS is given back as it is.

    Raises:
        InvalidParameterError: it is none of these, too long, unknown to PROJ, not of the horizontal plane, or
            it names a file such as a grid.
    """
    if isinstance(text, CRS):
        return text
    if len(text) > MAX_LENGTH:
        raise InvalidParameterError(
            f"a CRS of {len(text)} characters; at most {MAX_LENGTH} are read, a code is enough: 'EPSG:4326'"
        )
    try:
        parsed = _parsed(text.strip())
        if not (parsed.is_geographic or parsed.is_projected):
            raise InvalidParameterError(
                f"CRS {text!r:.80} is {parsed.type_name}; coordinates are on a map, or longitude and latitude"
            )
        with gdal_ready():
            return CRS.from_wkt(parsed.to_wkt())
    except (PyprojError, CRSError, CPLE_BaseError, ValueError, RecursionError) as error:
        raise InvalidParameterError(
            f"unknown CRS {text!r:.80}; write a code such as 'EPSG:4326', WKT or PROJJSON"
        ) from error


def without_files(crs: CRS) -> CRS:
    """The CRS of a raster, if its definition names no file.

    Raises:
        InvalidParameterError: it names one, such as a grid, or its definition is damaged.
    """
    try:
        with gdal_ready():
            definition = crs.to_wkt()
    except (CRSError, CPLE_BaseError) as error:
        raise InvalidParameterError(f"its CRS cannot be used: {str(error)[:200]}") from error
    _refuse_files(definition)
    return crs


def _parsed(text: str) -> pyproj.CRS:
    if text.upper() in _NAMES:
        return pyproj.CRS.from_authority(*_NAMES[text.upper()])
    for pattern in _CODES:
        if code := pattern.fullmatch(text):
            return pyproj.CRS.from_authority(code["authority"].upper(), code["code"])
    if _COMPOUND.fullmatch(text):
        return pyproj.CRS.from_string(text)
    if _WKT.match(text):
        _refuse_files(text)
        return pyproj.CRS.from_wkt(text)
    if text.startswith("{"):
        definition = json.loads(text)
        if not str(definition.get("type")).endswith("CRS") or not {"proj", "init"}.isdisjoint(definition):
            raise ValueError(text[:80])  # with such members pyproj takes JSON for a PROJ string
        _refuse_files_in_json(definition)
        return pyproj.CRS.from_json_dict(definition)
    if text.startswith("+proj="):
        _refuse_other_settings(text)
        return pyproj.CRS.from_string(text)
    raise ValueError(text[:80])


def _refuse_files(definition: str) -> None:
    """Raises where WKT names a file: a grid, or a PROJ string with one (`EXTENSION["PROJ4", "..."]`)."""
    if keyword := _FILE_KEYWORD.search(definition):
        raise InvalidParameterError(f"the CRS names a file ({keyword[0]}), and no file is read for a CRS")
    _refuse_other_settings(definition)


def _refuse_files_in_json(definition: object) -> None:
    for key, value in _members(definition):
        if not isinstance(value, str):
            continue
        if key == "value":  # of a parameter; numbers but for names of files
            raise InvalidParameterError(
                f"the CRS names a file ({value!r:.80}), and no file is read for a CRS"
            )
        _refuse_other_settings(value)


def _refuse_other_settings(text: str) -> None:
    """Raises where text has a PROJ parameter, `name=value`, that may be the name of a file."""
    for name, value in _SETTING.findall(text):
        no_grid = name == "nadgrids" and value == "@null"
        if not no_grid and not (name in _SETTINGS and _PLAIN_VALUE.fullmatch(value)):
            raise InvalidParameterError(
                f"the CRS has the PROJ parameter {f'{name}={value}'!r:.80}, which is not taken from outside"
            )


def _members(value: object) -> Iterator[tuple[str, Any]]:
    """Every key of JSON, at any depth, with its value."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield key, member
            yield from _members(member)
    elif isinstance(value, list):
        for member in value:
            yield from _members(member)
