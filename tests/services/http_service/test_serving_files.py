"""Images and texts as people have them, over HTTP: photos held sideways, infrared marked as alpha, marks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from PIL import Image, ImageOps
from rasterio.io import MemoryFile
from tiny_model import SHORT, at, building_clicks, write_tiny_model

from icss_core.errors import BandMismatchError
from icss_core.raster.environment import georeference_optional

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Service

    from services.client import IcssClient


def labels_of(content: bytes) -> np.ndarray:
    """Band 1 of a map."""
    with georeference_optional(), MemoryFile(content) as memory, memory.open() as made:
        return made.read(1)


@pytest.fixture(scope="module")
def four_bands(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that takes four bands, and the scene `nir`, whose fourth band GDAL takes for alpha."""
    folder = tmp_path_factory.mktemp("nir")
    run = service.tracking.create_run("icss-pretraining", name="infrared", tags={})
    version = service.registry.register("infrared", write_tiny_model(folder / "model", bands=4), run_id=run)
    service.registry.set_alias("infrared", "memory", version)
    values = np.random.default_rng(0).integers(1, 255, (4, 96, 160), np.uint8)
    values[3, :40] = 0  # water is black in the near infrared
    with georeference_optional(), rasterio.open(
        folder / "nir.tif", "w", driver="GTiff", count=4, height=96, width=160, dtype="uint8"
    ) as file:  # fmt: skip
        file.write(values)
    service.storage.upload(folder / "nir.tif", at("nir")["uri"])
    return "infrared"


def test_infrared_marked_as_alpha_is_taken_by_its_number(client: IcssClient, four_bands: str) -> None:
    scene = at("nir")["uri"]
    with pytest.raises(
        BandMismatchError, match=r"band 4 .* marked as alpha.* name the bands: \[1, 2, 3, 4\]"
    ):
        client.predict(four_bands, None, scene)
    labels = labels_of(client.predict_bytes(four_bands, None, scene, bands=[1, 2, 3, 4]))
    assert (labels < 255).all(), "zeros of infrared are no holes"
    status = client.add_class(
        four_bands, "building", image=scene, clicks=building_clicks(), crs="pixel", bands=[1, 2, 3, 4],
        overrides=SHORT,
    )  # fmt: skip
    assert client.wait(status.id, timeout=120).result_version == 2


def test_a_photo_is_mapped_as_it_is_seen(client: IcssClient, town: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(1, 255, (64, 96, 3), np.uint8))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / "photo.png", exif=exif)
    ImageOps.exif_transpose(image).save(tmp_path / "seen.png")
    upload = client.upload(tmp_path / "photo.png")
    assert (upload.height, upload.width) == (96, 64)
    maps = [labels_of(client.predict_file(town, 1, tmp_path / name)) for name in ("photo.png", "seen.png")]
    np.testing.assert_array_equal(maps[0], maps[1])


def test_json_with_a_byte_order_mark_is_json(service: Service, town: str) -> None:
    update = {"image": at("town"), "new_class": {"name": "kiosk"}, "clicks": building_clicks("kiosk"),
              "crs": "pixel", "overrides": SHORT}  # fmt: skip
    prediction = {"model": town, "image": at("town")}
    with service.http() as http:
        for path, body, status in (
            (f"/v1/models/{town}/updates", update, 202),
            ("/v1/predictions", prediction, 200),
        ):
            content = b"\xef\xbb\xbf" + json.dumps(body).encode()
            answer = http.post(path, content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == status, answer.text
