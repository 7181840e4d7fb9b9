"""Classes may be called what people call things: the whole way over HTTP with such names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tiny_model import SHORT, at, building_clicks

from icss_core.metrics.forgetting import ForgettingReport

if TYPE_CHECKING:
    from conftest import Service

    from services.client import IcssClient

NAMES = ["trees, shrubs", "d'eau", "forêt", "🌳 [bold]"]


def test_class_of_any_name_goes_the_whole_way(service: Service, client: IcssClient, town: str) -> None:
    scene, base = at("town")["uri"], 1
    for number, name in enumerate(NAMES):
        clicks = building_clicks(name)
        if number:  # clicks of an old class with such a name, too
            clicks["features"][0]["properties"]["class"] = NAMES[number - 1]
        status = client.add_class(
            town, name, image=scene, clicks=clicks, crs="pixel", base=base, overrides=SHORT
        )
        done = client.wait(status.id, timeout=120, poll_seconds=0.1)
        assert done.new_class.name == name
        assert done.clicks[name] == 6 - bool(number)
        assert list(done.clicks) == ["background", *NAMES[:number][-1:], name]
        assert isinstance(done.forgetting, ForgettingReport)
        assert list(done.forgetting.classes) == ["background", "road", *NAMES[: number + 1]]
        assert client.updates(model=town, limit=1)[0].clicks == done.clicks
        assert done.result_version is not None
        base = done.result_version
    run = service.tracking.get(done.id)
    assert run is not None
    assert run.params["click_counts.5.name"] == NAMES[-1], "names are values, indices are keys"

    detail = client.model(town)
    assert [info.name for info in detail.versions[0].classes][2:] == NAMES
    with service.http() as http:
        body = {"model": town, "version": base, "image": at("town"), "format": "geojson"}
        response = http.post("/v1/predictions", json=body | {"delivery": "inline"})
    assert response.status_code == 200
    found = {feature["properties"]["class"] for feature in json.loads(response.content)["features"]}
    assert found <= {"road", *NAMES}
    prediction = client.predict(town, base, scene)
    assert [info.name for info in prediction.classes][2:] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_runs_are_found_by_such_values(service: Service, name: str) -> None:
    run_id = service.tracking.create_run("icss-sweeps", name=name, tags={"icss.class": name})
    assert [run.run_id for run in service.tracking.find("icss-sweeps", tags={"icss.class": name})] == [run_id]


def test_injected_filter_finds_nothing(service: Service) -> None:
    service.tracking.create_run("icss-sweeps", name="x", tags={"icss.class": "x"})
    for value in ("y' or tags.`icss.class` = 'x", "x' --", "x`"):
        assert service.tracking.find("icss-sweeps", tags={"icss.class": value}) == []
