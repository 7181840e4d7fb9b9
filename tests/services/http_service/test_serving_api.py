"""The API over real HTTP, with real updates in the same process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import torch
from rasterio.io import MemoryFile
from tiny_model import (
    LONG,
    NODATA_COLUMNS,
    SHORT,
    building_clicks,
    write_scene,
)

from icss_core.continual.replay import REPLAY_ARTEFACT
from icss_core.networks.model_folder import load_artefact
from services import errors as services
from services.client import UpdateFailedError
from services.serving.model_cache import ModelCache
from services.serving.readiness import KEPT

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Service

    from services.client import IcssClient
    from services.serving.responses import UpdateStatus

SCENE = "s3://icss/data/scenes/town.tif"


def test_update_makes_a_version_with_lineage(updated: UpdateStatus, client: IcssClient) -> None:
    assert updated.status == "successful"
    assert updated.progress == 100
    assert updated.clicks == {"background": 6, "building": 6}
    assert updated.forgetting is not None
    assert updated.base_version == 1
    detail = client.model("hamlet")
    made = next(version for version in detail.versions if version.version == updated.result_version)
    assert made.parent == 1
    assert made.run_id == updated.id
    assert [info.name for info in made.classes] == ["background", "road", "building"]
    assert made.classes[2].colour == updated.new_class.colour
    assert detail.aliases["memory"] == 1, "only accepting moves memory"
    assert "updated" in detail.aliases
    assert [version.version for version in detail.versions] == sorted(
        (version.version for version in detail.versions), reverse=True
    )


def test_record_of_an_update_is_complete(updated: UpdateStatus, service: Service) -> None:
    run = service.tracking.get(updated.id)
    assert run is not None
    assert run.status == "FINISHED"
    assert run.params["parameters.optimisation.iterations"] == "3"
    assert [step for step, _ in service.tracking.metric_history(updated.id, "loss")] == [1, 2, 3]
    assert service.tracking.read_json(updated.id, "clicks.geojson") == building_clicks()
    for name in ("clicks", "before", "after", "difference"):
        assert service.tracking.read_bytes(updated.id, f"pictures/{name}.png").startswith(b"\x89PNG")


def test_updates_are_listed_newest_first(updated: UpdateStatus, client: IcssClient) -> None:
    listed = client.updates(model="hamlet")
    assert updated.id in [status.id for status in listed]
    created = [status.created for status in listed]
    assert created == sorted(created, reverse=True)
    assert client.updates(model="nowhere") == []
    assert len(client.updates(limit=1)) == 1


def test_accepting_and_going_back(updated: UpdateStatus, client: IcssClient) -> None:
    assert updated.result_version is not None
    moved = client.accept("hamlet", updated.result_version, expected=1)
    assert (moved.version, moved.previous) == (updated.result_version, 1)
    assert client.model("hamlet").aliases["memory"] == updated.result_version
    with pytest.raises(services.ConflictError, match=f"is version {updated.result_version} by now, not 1"):
        client.accept("hamlet", 1, expected=1)
    assert client.model("hamlet").aliases["memory"] == updated.result_version
    back = client.accept("hamlet", 1, expected=updated.result_version)
    assert (back.version, back.previous) == (1, updated.result_version)
    with pytest.raises(services.VersionNotFoundError):
        client.accept("hamlet", 999, expected=1)
    assert client.model("hamlet").aliases["memory"] == 1, "a version that does not load leaves the alias"


def test_models_are_listed(updated: UpdateStatus, client: IcssClient) -> None:
    (summary,) = [model for model in client.models() if model.name == "hamlet"]
    assert summary.classes == ["background", "road"]
    assert summary.versions >= 2
    with pytest.raises(services.ModelNotFoundError):
        client.model("village")


def test_prediction_in_the_store_is_a_map_of_the_scene(
    updated: UpdateStatus, client: IcssClient, service: Service
) -> None:
    prediction = client.predict("hamlet", "updated", SCENE, confidence=True)
    assert [info.name for info in prediction.classes] == ["background", "road", "building"]
    content = service.storage.read_bytes(prediction.href)
    assert len(content) == prediction.bytes
    with MemoryFile(content) as memory, memory.open() as made:
        assert (made.height, made.width) == (96, 160)
        assert made.crs == rasterio.crs.CRS.from_epsg(32631)
        assert made.count == 2
        labels = made.read(1)
        assert (labels[:, :NODATA_COLUMNS] == 255).all()
        assert set(np.unique(labels[:, NODATA_COLUMNS:])) <= {0, 1, 2}
    names = ET.fromstring(service.storage.read_bytes(f"{prediction.href}.aux.xml"))  # noqa: S314 - our own
    assert [name.text for name in names.iter("Category")] == ["background", "road", "building"]


def test_small_file_comes_back_as_a_map(client: IcssClient, tmp_path: Path) -> None:
    content = client.predict_file("hamlet", 1, write_scene(tmp_path / "small.tif"))
    with MemoryFile(content) as memory, memory.open() as made:
        assert (made.height, made.width, made.count) == (96, 160, 1)
        assert made.nodata == 255


def test_polygons_come_back_as_geojson(client: IcssClient, service: Service, town: str) -> None:
    body = {"model": town, "image": {"uri": SCENE}, "format": "geojson", "delivery": "inline"}
    with service.http() as http:
        response = http.post("/v1/predictions", json=body)
    assert response.headers["content-type"] == "application/geo+json"
    collection = response.json()
    assert collection["type"] == "FeatureCollection"
    assert all({"class", "area_m2"} <= set(feature["properties"]) for feature in collection["features"])


def test_upload_can_be_predicted_and_clicked(client: IcssClient, tmp_path: Path) -> None:
    upload = client.upload(write_scene(tmp_path / "mine.tif"))
    assert (upload.width, upload.height, upload.bands, upload.dtype) == (160, 96, 3, "uint8")
    assert client.predict("hamlet", 1, upload.id).width == 160
    status = client.add_class(
        "hamlet", "shed", image=upload.id, clicks=building_clicks("shed"), crs="pixel", overrides=SHORT
    )
    assert status.image == upload.uri
    assert client.wait(status.id, timeout=120).result_version is not None


def test_raw_body_is_an_upload_too(service: Service, tmp_path: Path) -> None:
    content = write_scene(tmp_path / "raw.tif").read_bytes()
    with service.http() as http:
        response = http.post("/v1/uploads", content=content, headers={"Content-Type": "image/tiff"})
    assert response.status_code == 201
    assert response.json()["bytes"] == len(content)


def test_running_update_is_cancelled(client: IcssClient, service: Service, town: str) -> None:
    before = service.registry.describe(town)
    status = client.add_class(
        town, "pool", image=SCENE, clicks=building_clicks("pool"), crs="pixel", overrides=LONG
    )
    seen: list[UpdateStatus] = []

    def cancel_at_step_two(now: UpdateStatus) -> None:
        seen.append(now)
        if now.step is not None and now.step >= 2:
            client.cancel(now.id)

    with pytest.raises(UpdateFailedError) as failure:
        client.wait(status.id, on_progress=cancel_at_step_two, timeout=120, poll_seconds=0.1)
    assert failure.value.status.status == "dismissed"
    running = [now for now in seen if now.status == "running" and now.step]
    assert running
    assert running[-1].steps == 5000
    assert running[-1].loss is not None
    assert running[-1].seconds_left is not None
    after = service.registry.describe(town)
    assert len(after.versions) == len(before.versions), "nothing is registered"
    assert after.aliases == before.aliases
    assert client.cancel(status.id).status == "dismissed", "cancelling twice is no error"


def test_finished_update_cannot_be_cancelled(updated: UpdateStatus, client: IcssClient) -> None:
    with pytest.raises(services.ConflictError, match="has ended"):
        client.cancel(updated.id)


def test_same_request_id_gives_the_same_update(updated: UpdateStatus, client: IcssClient, town: str) -> None:
    def ask(seed: int) -> str:
        return client.add_class(
            town, "pool", image=SCENE, clicks=building_clicks("pool"), crs="pixel", overrides=SHORT,
            request_id="my-request", seed=seed,
        ).id  # fmt: skip

    first = ask(0)
    assert ask(0) == first
    with pytest.raises(services.ConflictError):
        ask(1)
    client.wait(first, timeout=120)
    assert ask(0) == first


def test_location_names_the_update(service: Service, town: str) -> None:
    with service.http() as http:
        body = {"image": {"uri": SCENE}, "new_class": {"name": "pool"}, "crs": "pixel", "overrides": LONG}
        response = http.post(f"/v1/models/{town}/updates", json=body | {"clicks": building_clicks("pool")})
        assert response.status_code == 202
        location = response.headers["location"]
        assert http.get(location).json()["id"] == response.json()["id"]
        assert http.delete(location).status_code in {200, 202}


def test_image_that_was_missing_is_found_once_it_is_there(
    service: Service, town: str, tmp_path: Path
) -> None:
    late = "s3://icss/data/scenes/late.tif"
    body = {"model": town, "image": {"uri": late}}
    with service.http() as http:
        assert http.post("/v1/predictions", json=body).json()["error"]["type"] == "ImageNotFoundError"
        service.storage.upload(write_scene(tmp_path / "late.tif"), late)
        assert http.post("/v1/predictions", json=body).status_code == 200


def test_image_that_was_replaced_is_read_anew(service: Service, town: str, tmp_path: Path) -> None:
    address = "s3://icss/data/scenes/replaced.tif"
    with service.client() as client:
        service.storage.upload(write_scene(tmp_path / "first.tif"), address)
        assert client.predict(town, 1, address).height == 96
        service.storage.upload(write_scene(tmp_path / "second.tif", height=64, width=64), address)
        assert client.predict(town, 1, address).height == 64


def test_health_and_readiness(service: Service, client: IcssClient) -> None:
    import httpx

    assert httpx.get(f"{service.url}/healthz").json() == {"status": "ok", "parts": {}}
    assert client.ready().parts == dict.fromkeys(("updater", "predictor", "mlflow", "object_store"), True)
    service.updater.is_ready = False
    try:
        time.sleep(KEPT)  # the answer before this one is passed on for as long
        response = httpx.get(f"{service.url}/readyz", timeout=10)
    finally:
        service.updater.is_ready = True
    assert response.status_code == 503
    assert response.json()["status"] == "not ready"
    assert [part for part, ready in response.json()["parts"].items() if not ready] == ["updater"]


def test_openapi_describes_every_route(service: Service) -> None:
    import httpx

    document = httpx.get(f"{service.url}/openapi.json").json()
    assert httpx.get(f"{service.url}/docs").status_code == 200
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            if path.startswith("/v1"):
                assert operation["security"] == [{"HTTPBearer": []}], (method, path)
                assert "401" in operation["responses"], (method, path)
    assert _unresolved(document, document) == []
    update = document["paths"]["/v1/models/{name}/updates"]["post"]
    assert set(update["requestBody"]["content"]["application/json"]["examples"]) == {"lon_lat", "pixels"}


def test_examples_of_the_documentation_are_valid() -> None:
    from services.serving.requests import (
        PREDICTION_EXAMPLES,
        UPDATE_EXAMPLES,
        PredictionRequest,
        UpdateRequest,
    )

    for example in UPDATE_EXAMPLES.values():
        update = UpdateRequest.model_validate(example["value"])
        assert update.new_class.name == "building"
        classes = [feature["properties"]["class"] for feature in update.clicks["features"]]
        assert "building" in classes
    for example in PREDICTION_EXAMPLES.values():
        prediction = PredictionRequest.model_validate(example["value"])
        assert prediction.model_dump(mode="json", exclude_unset=True) == example["value"]


def _unresolved(node: Any, document: dict[str, Any]) -> list[str]:
    """References of the document that lead nowhere."""
    if isinstance(node, list):
        return [ref for item in node for ref in _unresolved(item, document)]
    if not isinstance(node, dict):
        return []
    found = [ref for value in node.values() for ref in _unresolved(value, document)]
    if isinstance(node.get("$ref"), str):
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target.get(part) if isinstance(target, dict) else None
        found += [node["$ref"]] if target is None else []
    return found


def test_models_are_warm_before_the_first_request(service: Service, town: str) -> None:
    cache = ModelCache(service.registry, lambda network: network)
    assert town in cache.warm_up()
    assert cache.get(town, 1) is cache.get(town, 1)


def test_cache_keeps_the_versions_last_used(service: Service, updated: UpdateStatus, town: str) -> None:
    assert updated.result_version is not None
    cache = ModelCache(service.registry, lambda network: network, size=1)
    first = cache.get(town, 1)
    assert cache.get(town, updated.result_version).card.label_space.names[-1] == "building"
    assert cache.get(town, 1) is not first


def test_a_head_over_all_levels_needs_no_training_and_versions_hand_their_examples_on(
    client: IcssClient, service: Service, town: str
) -> None:
    first = client.wait(
        client.add_class(
            town, "shed", image=SCENE, clicks=building_clicks("shed"), crs="pixel", preset="icss-fast"
        ).id
    )
    assert first.result_version is not None
    assert service.tracking.metric_history(first.id, "loss") == []
    kept = load_artefact(service.registry.fetch(town, first.result_version), REPLAY_ARTEFACT)
    assert kept is not None
    assert torch.bincount(kept["classes"]).tolist() == [6, 0, 6]
    clicks = building_clicks("pool")
    second = client.wait(
        client.add_class(
            town,
            "pool",
            image=SCENE,
            clicks=clicks,
            crs="pixel",
            preset="icss-fast",
            base=first.result_version,
        ).id
    )
    assert second.result_version is not None
    again = load_artefact(service.registry.fetch(town, second.result_version), REPLAY_ARTEFACT)
    assert again is not None
    assert torch.bincount(again["classes"]).tolist() == [12, 0, 6, 6], "those of the shed are there still"
    assert sorted(set(again["known"].tolist())) == [3, 4]
    card = service.registry.resolve(town, second.result_version).card
    assert [info.name for info in card.label_space.classes] == ["background", "road", "shed", "pool"]
    assert card.architecture.hypercolumn == 512, "each update adds its units"
