"""Requests that come again, and updates that are carried out later, after the world has moved on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tiny_model import LONG, SHORT, building_clicks, write_scene, write_tiny_model

from icss_core.errors import ClassExistsError
from icss_core.methods import Preset, get_preset, regularisers_of, written_out
from icss_core.methods.presets import PRESETS
from services.client import UpdateFailedError
from services.errors import ConflictError, OutdatedRecordError
from services.serving.orders import fingerprint_of
from services.serving.requests import UpdateRequest
from services.serving.update_records import UpdateRecords

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Service

    from services.client import IcssClient

SCENE = "s3://icss/data/scenes/repeats.tif"


@pytest.fixture(scope="module")
def model(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of this module, with its scene in the store."""
    folder = tmp_path_factory.mktemp("repeats")
    run = service.tracking.create_run("icss-pretraining", name="repeats", tags={})
    version = service.registry.register("repeats", write_tiny_model(folder / "model"), run_id=run)
    service.registry.set_alias("repeats", "memory", version)
    service.storage.upload(write_scene(folder / "scene.tif"), SCENE)
    return "repeats"


def ask(client: IcssClient, model: str, name: str, **more: Any) -> str:
    arguments = {"image": SCENE, "clicks": building_clicks(name), "crs": "pixel", "overrides": SHORT} | more
    return client.add_class(model, name, **arguments).id


def test_retry_after_memory_has_moved_gives_the_same_update(client: IcssClient, model: str) -> None:
    first = ask(client, model, "shed", request_id="retry-1")
    done = client.wait(first, timeout=120, poll_seconds=0.1)
    assert done.result_version is not None
    client.accept(model, done.result_version, expected=done.base_version)
    try:
        assert ask(client, model, "shed", request_id="retry-1") == first
        with pytest.raises(ConflictError, match=f"belongs to update {first}"):
            ask(client, model, "shed", request_id="retry-1", seed=1)
        with pytest.raises(ClassExistsError):
            ask(client, model, "shed", request_id="retry-2")
    finally:
        client.accept(model, done.base_version, expected=done.result_version)


def test_fingerprint_is_of_what_was_sent() -> None:
    body = {"image": {"uri": "s3://a/b.tif"}, "new_class": {"name": "x"}, "clicks": {"a": 1, "b": [2]}}
    same = {"clicks": {"b": [2], "a": 1}, "new_class": {"name": "x"}, "image": {"uri": "s3://a/b.tif"}}
    first = fingerprint_of("m", UpdateRequest.model_validate(body))
    assert fingerprint_of("m", UpdateRequest.model_validate(same)) == first
    others = [
        fingerprint_of("other", UpdateRequest.model_validate(body)),
        *(
            fingerprint_of("m", UpdateRequest.model_validate(body | change))
            for change in ({"seed": 1}, {"base": 1}, {"clicks": {"a": 1}}, {"preset": "icss-paper/sdr"})
        ),
    ]
    assert len({first, *others}) == 6


@pytest.mark.parametrize("name", PRESETS)
def test_written_out_preset_is_the_preset_with_every_number(name: str) -> None:
    preset = get_preset(name)
    read = Preset.model_validate_json(written_out(preset).model_dump_json())
    assert read.model_copy(update={"regularisers": {}}) == preset.model_copy(update={"regularisers": {}})
    assert [numbers for _, numbers in regularisers_of(read)] == [
        numbers for _, numbers in regularisers_of(preset)
    ]
    for regulariser, numbers in regularisers_of(read):
        assert set(read.regularisers[regulariser.name]) == set(type(numbers).model_fields)


def test_update_runs_the_preset_that_was_recorded(
    client: IcssClient, service: Service, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy between acceptance and run changes what the name of a preset means."""
    blocker = ask(client, model, "blocker", overrides=LONG)
    waiting = ask(client, model, "hut")
    changed = {**PRESETS, "icss": PRESETS["icss"].model_copy(update={"regularisers": {}, "rounds": 2})}
    monkeypatch.setattr("icss_core.methods.registry.PRESETS", changed)
    client.cancel(blocker)
    done = client.wait(waiting, timeout=120, poll_seconds=0.1)
    assert done.result_version is not None
    card = service.registry.resolve(model, done.result_version).card
    assert card.parameters["rounds"] == 1
    assert card.parameters["regularisers"]["distillation"]["weight"] == 1.0
    losses = service.tracking.get(done.id)
    assert losses is not None
    assert any("distillation" in term for term in losses.metrics)


def test_image_that_was_overwritten_before_its_turn_is_refused(
    client: IcssClient, service: Service, model: str, tmp_path: Path
) -> None:
    scene = "s3://icss/data/scenes/overwritten.tif"
    service.storage.upload(write_scene(tmp_path / "first.tif"), scene)
    blocker = ask(client, model, "blocker", overrides=LONG)
    waiting = ask(client, model, "hut", image=scene)
    service.storage.upload(write_scene(tmp_path / "second.tif", height=128), scene)
    client.cancel(blocker)
    with pytest.raises(UpdateFailedError, match=r"ImageChangedError: s3://icss/data/scenes/overwritten\.tif"):
        client.wait(waiting, timeout=120, poll_seconds=0.1)


def test_image_that_is_overwritten_meanwhile_is_noticed(
    client: IcssClient, service: Service, model: str, tmp_path: Path
) -> None:
    scene = "s3://icss/data/scenes/overwritten-meanwhile.tif"
    service.storage.upload(write_scene(tmp_path / "first.tif"), scene)
    running = ask(client, model, "hut", image=scene, overrides=SHORT | {"optimisation.iterations": 10})
    replaced = []

    def replace(status: Any) -> None:
        if status.step is not None and not replaced:
            replaced.append(service.storage.upload(write_scene(tmp_path / "second.tif", height=128), scene))

    before = len(client.model(model).versions)
    with pytest.raises(UpdateFailedError, match="has been overwritten"):
        client.wait(running, on_progress=replace, timeout=120, poll_seconds=0.02)
    assert len(client.model(model).versions) == before


def test_order_of_another_version_of_the_service_is_refused_by_name(service: Service, updated: Any) -> None:
    records = UpdateRecords(service.tracking, lease_seconds=service.settings.lease_seconds)
    content = service.tracking.read_json(updated.id, "order.json")
    assert records.order(updated.id).model_dump(mode="json") == content
    run = service.tracking.create_run("icss-updates", name="old", tags={})
    service.tracking.write_text(run, "order.json", json.dumps({**content, "preset": "icss"}))
    with pytest.raises(OutdatedRecordError, match="accepted by another version of the service"):
        records.order(run)


def test_result_of_another_version_of_the_service_is_not_shown_but_named(
    service: Service, updated: Any, client: IcssClient
) -> None:
    content = service.tracking.read_bytes(updated.id, "result.json").decode()
    service.tracking.write_text(updated.id, "result.json", json.dumps({"forgetting": {}}))
    try:
        status = client.update(updated.id)
    finally:
        service.tracking.write_text(updated.id, "result.json", content)
    assert (status.status, status.forgetting) == ("successful", None)
    assert "result.json" in status.warnings[0]


def test_cancelled_waiting_update_answers_at_once(client: IcssClient, model: str) -> None:
    blocker = ask(client, model, "blocker", overrides=LONG)
    waiting = [ask(client, model, "hut", seed=seed) for seed in range(3)]
    states = [client.cancel(one).status for one in waiting]
    assert states == ["dismissed"] * 3
    again = ask(client, model, "hut", seed=9)  # their places in the queue are free
    for one in (again, blocker):
        client.cancel(one)
