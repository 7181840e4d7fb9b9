"""`/v1/maps` without a cluster: what is refused, and what is said of jobs; see also e2e/test_mapping.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tiny_model import at

from icss_core import errors as core
from services import errors as services
from services.mapping.job import maps_run
from services.mapping.map_jobs import MapJobs
from services.mapping.request import MapRequest
from services.mapping.run import CANCEL
from services.ownership import STATUS, acquire, work_on
from services.serving.requests import MapsRequest

if TYPE_CHECKING:
    from conftest import Service

    from services.client import IcssClient

SCENE = at("town")["uri"]
REGION = SCENE.rpartition("/")[0]


@pytest.mark.parametrize(
    ("changes", "status", "kind", "message"),
    [
        ({"images": [f"{REGION}/missing.tif"]}, 422, "ImageNotFoundError", "missing.tif"),
        ({"images": ["s3://icss/data/empty/"]}, 422, "ImageNotFoundError", "empty"),
        ({"images": ["s3://other/region/"]}, 403, "UriNotAllowedError", "s3://other"),
        ({"images": ["/etc/passwd"]}, 422, "MalformedUriError", "s3://"),
        ({"images": []}, 422, "InvalidRequest", "images"),
        ({"out": "s3://other/maps"}, 403, "UriNotAllowedError", "s3://other"),
        ({"out": "s3://icss"}, 422, "MalformedUriError", "bucket"),
        ({"version": 99_999}, 404, "VersionNotFoundError", "99999"),
        ({"model": "nowhere"}, 404, "ModelNotFoundError", "nowhere"),
        ({"outlines": "shp"}, 422, "InvalidRequest", "gpkg"),
        ({}, 501, "NoJobsError", "ICSS_JOBS_ADDRESS"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refusals(
    service: Service, town: str, changes: dict[str, Any], status: int, kind: str, message: str
) -> None:
    with service.http() as http:
        answer = http.post("/v1/maps", json={"model": town, "images": [f"{REGION}/"]} | changes)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["type"] == kind
    assert message in answer.json()["error"]["message"]


def test_job_that_nobody_asked_for_is_not_found(client: IcssClient) -> None:
    with pytest.raises(services.MapsNotFoundError):
        client.maps("0" * 32)
    with pytest.raises(services.MapsNotFoundError):
        client.cancel_maps("0" * 32)


@pytest.fixture
def job(service: Service, town: str, request: pytest.FixtureRequest) -> str:
    """A job that was written down as accepted."""
    asked = MapRequest(model=town, version=1, images=(REGION,), out=f"s3://icss/data/{request.node.name}")
    run_id = maps_run(asked, service.tracking)
    service.tracking.set_tags(run_id, {STATUS: "accepted"})
    return run_id


def test_waiting_job_is_cancelled_at_once(service: Service, client: IcssClient, job: str) -> None:
    assert client.maps(job).message == "waiting for the cluster"
    assert client.cancel_maps(job).status == "dismissed"
    assert client.cancel_maps(job).status == "dismissed", "twice is no error"
    assert service.tracking.get(job).status == "KILLED"


def test_running_job_is_asked_to_stop(service: Service, client: IcssClient, job: str) -> None:
    with work_on(service.tracking, acquire(service.tracking, job)) as work:
        service.tracking.log_metrics(job, [(0, 1.0, {"scenes": 8.0, "done": 2.0, "failed": 1.0, "km2": 0.5})])
        status = client.cancel_maps(job)
        assert (status.status, status.scenes, status.done, status.progress) == ("running", 8, 2, 37)
        assert status.message == "2 of 8 scenes are mapped"
        assert service.tracking.get(job).tags[CANCEL] == "requested"
        service.tracking.write_json(job, "totals.json", {"square_kilometres": {"road": 0.25}})
        work.succeed()
    status = client.maps(job)
    assert (status.status, status.square_kilometres) == ("successful", {"road": 0.25})
    assert status.links[1].href.endswith("/collection.json")
    assert job in {one.id for one in client.all_maps(model=status.model)}
    with pytest.raises(services.ConflictError, match="ended: successful"):
        client.cancel_maps(job)


def test_cluster_that_is_away_is_said_and_nothing_is_lost(service: Service, job: str) -> None:
    settings = service.settings.model_copy(update={"jobs_address": "http://127.0.0.1:9"})
    jobs = MapJobs(settings, service.tracking)
    asked = MapRequest.model_validate_json(service.tracking.read_bytes(job, "request.json"))
    with pytest.raises(services.UnavailableError, match="does not answer"):
        jobs.start(asked)
    service.tracking.set_tags(job, {"icss.submission": "1 raysubmit_before"})
    assert jobs.keep() == []
    assert service.tracking.get(job).tags[STATUS] == "accepted"


def test_options_of_the_command_mean_the_request() -> None:
    """What a service submits is read back by the command as the same request."""
    import typer
    from typer.testing import CliRunner

    from services.mapping import __main__ as command

    asked = MapRequest(
        model="town", version=3, images=("s3://icss/a b/", "s3://icss/c.tif"), pattern="x/*.tif",
        out="s3://icss/out", bands=(3, 2, 1), confidence=True, outlines="gpkg", min_area=2.5,
        tiling={"window": 256, "overlap": 32, "blend": "constant"}, workers=4, cpus_per_worker=2, gpu=False,
        part_pixels=1000,
    )  # fmt: skip
    found: list[MapRequest] = []

    class Version:
        version = 3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "load_settings", lambda: None)
        patch.setattr(command.ray, "init", lambda: None)
        patch.setattr(command, "Registry", lambda _: type("R", (), {"resolve": lambda *_: Version})())
        patch.setattr(command, "run_maps", lambda request, _: found.append(request) or _raise())
        program = typer.Typer()
        program.command()(command.main)
        CliRunner().invoke(program, asked.options())
    assert found == [asked]


def _raise() -> None:
    raise core.CancelledError("enough")


def test_example_of_the_document_is_a_request() -> None:
    (example,) = MapsRequest.model_config["json_schema_extra"]["examples"]
    assert MapsRequest.model_validate(example).images == ["s3://icss/region/"]
