"""Every kind of bad input: a typed error that says what and where, and nothing is registered or lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tiny_model import SHORT, at, building_clicks, pixel_clicks

from icss_core import errors as core
from services import errors as services

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Service

    from services.client import IcssClient

SCENE = at("town")["uri"]
MISSING = at("missing")["uri"]


def request(**changes: Any) -> dict[str, Any]:
    return {
        "image": {"uri": SCENE},
        "new_class": {"name": "pool"},
        "clicks": building_clicks("pool"),
        "crs": "pixel",
        "overrides": SHORT,
    } | changes


BAD_UPDATES: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("missing image", {"image": {"uri": MISSING}}, 422, "ImageNotFoundError", MISSING),
    ("broken image", {"image": at("broken")}, 422, "ImageUnreadableError", "broken.tif"),
    ("one band", {"image": at("grey")}, 422, "BandMismatchError", "1 bands"),
    ("too large", {"image": at("large")}, 422, "InvalidParameterError", "512 x"),
    ("outside", {"image": {"uri": "s3://other/scene.tif"}}, 403, "UriNotAllowedError", "s3://other"),
    ("another scheme", {"image": {"uri": "http://169.254.169.254/x.tif"}}, 422, "MalformedUriError", "s3://"),
    ("climbing", {"image": {"uri": "s3://icss/data/../secret.tif"}}, 422, "MalformedUriError", "'..'"),
    ("a bucket", {"image": {"uri": "s3://icss"}}, 422, "MalformedUriError", "names a bucket"),
    ("a path of GDAL", {"image": {"uri": "/vsis3/icss/data/x.tif"}}, 422, "MalformedUriError", "s3://"),
    ("no such upload", {"image": {"upload": "0" * 32}}, 404, "UploadNotFoundError", "0" * 32),
    ("two images", {"image": {"uri": SCENE, "upload": "0" * 32}}, 422, "InvalidRequest", "either uri"),
    ("off the raster", {"clicks": pixel_clicks((14, 30, "pool"), (96, 30, "pool"))}, 422, "ClickError", "96"),
    ("on no data", {"clicks": pixel_clicks((14, 30, "pool"), (50, 3, "pool"))}, 422, "ClickError", "data"),
    ("unknown class", {"clicks": pixel_clicks((50, 30, "tree"))}, 422, "UnknownClassError", "tree"),
    ("no clicks", {"clicks": pixel_clicks()}, 422, "ClickError", "no click at all"),
    ("only background", {"clicks": pixel_clicks((14, 30, "background"))}, 422, "ClickError", "pool"),
    ("too many", {"clicks": pixel_clicks(*[(14, 30, "pool")] * 51)}, 422, "ClickError", "50"),
    ("no GeoJSON", {"clicks": {"type": "Feature"}}, 422, "ClickError", "FeatureCollection"),
    ("unknown CRS", {"crs": "EPSG:999999"}, 422, "InvalidParameterError", "999999"),
    ("lon/lat elsewhere", {"crs": None}, 422, "ClickError", ""),
    ("existing class", {"new_class": {"name": "Road"}}, 409, "ClassExistsError", "Road"),
    ("background", {"new_class": {"name": "background"}}, 409, "ClassExistsError", "background"),
    ("empty name", {"new_class": {"name": " "}}, 422, "InvalidRequest", "new_class.name"),
    ("bad colour", {"new_class": {"name": "pool", "colour": "#12345g"}}, 422, "InvalidRequest", "colour"),
    ("unknown preset", {"preset": "magic"}, 422, "UnknownPresetError", "magic"),
    ("unknown number", {"overrides": {"magic": 1}}, 422, "InvalidParameterError", "magic"),
    ("too much", {"overrides": {"optimisation.iterations": 100_000}}, 422, "InvalidParameterError", "20000"),
    ("unknown alias", {"base": "nobody"}, 404, "VersionNotFoundError", "nobody"),
    ("unknown version", {"base": 999}, 404, "VersionNotFoundError", "999"),
    ("unknown field", {"imgae": 1}, 422, "InvalidRequest", "imgae"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "status", "kind", "says"),
    [row[1:] for row in BAD_UPDATES],
    ids=[row[0] for row in BAD_UPDATES],
)
def test_bad_update_is_refused_and_leaves_nothing(
    service: Service, town: str, changes: dict[str, Any], status: int, kind: str, says: str
) -> None:
    known = len(service.tracking.find("icss-updates", tags={"icss.class": "pool"}))
    with service.http() as http:
        response = http.post(f"/v1/models/{town}/updates", json=request(**changes))
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (status, kind), error["message"]
    assert says in error["message"]
    assert len(service.tracking.find("icss-updates", tags={"icss.class": "pool"})) == known


@pytest.mark.parametrize(
    ("changes", "status", "kind"),
    [
        ({"model": "village"}, 404, "ModelNotFoundError"),
        ({"version": "nobody"}, 404, "VersionNotFoundError"),
        ({"image": {"uri": MISSING}}, 422, "ImageNotFoundError"),
        ({"image": at("grey")}, 422, "BandMismatchError"),
        ({"format": "png"}, 422, "InvalidRequest"),
        ({"tiling": {"window": 100}}, 422, "InvalidRequest"),
        ({"tiling": {"window": 64, "overlap": 64}}, 422, "InvalidParameterError"),
        ({"scales": []}, 422, "InvalidRequest"),
        ({"scales": [0.1, 1]}, 422, "InvalidRequest"),
        ({"scales": [1, 1]}, 422, "InvalidRequest"),
        ({"scales": [0.5, 1.25], "tiling": {"window": 2048}}, 422, "InvalidRequest"),
    ],
)
def test_bad_prediction_is_refused(
    service: Service, town: str, changes: dict[str, Any], status: int, kind: str
) -> None:
    with service.http() as http:
        response = http.post("/v1/predictions", json={"model": town, "image": {"uri": SCENE}} | changes)
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)


def test_bad_uploads_are_refused(service: Service, client: IcssClient, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    with pytest.raises(core.ImageUnreadableError, match="the uploaded image") as caught:
        client.upload(text)
    assert "/icss-upload" not in str(caught.value), "nothing of the service's own folders"
    vrt = tmp_path / "trick.vrt"
    vrt.write_text('<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    with pytest.raises(core.ImageUnreadableError):
        client.upload(vrt)
    large = tmp_path / "large.tif"
    large.write_bytes(b"II*\0" + bytes(400_000))
    with pytest.raises(services.BodyTooLargeError):
        client.upload(large)
    with service.http() as http:
        empty = http.post("/v1/uploads", content=b"")
        assert (empty.status_code, empty.json()["error"]["type"]) == (422, "InvalidParameterError")
        nothing = http.post("/v1/uploads", data={"file": "text"}, files={"other": b"x"})
        assert (nothing.status_code, nothing.json()["error"]["type"]) == (422, "InvalidParameterError")


def test_wrong_token(service: Service) -> None:
    with service.client("another token") as stranger, pytest.raises(services.UnauthorisedError):
        stranger.models()


def test_unknown_update(client: IcssClient) -> None:
    with pytest.raises(services.UpdateNotFoundError):
        client.update("f" * 32)
    with pytest.raises(services.UpdateNotFoundError):
        client.cancel("f" * 32)
