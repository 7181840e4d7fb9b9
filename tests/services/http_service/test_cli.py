"""The program `icss` against the real service, in the same process."""

import json
import re
from datetime import UTC, datetime

import pytest
import rasterio
from tiny_model import SHORT, building_clicks, write_scene, write_tiny_model
from typer.testing import CliRunner

from services.cli import app
from services.cli.models import expected_memory
from services.serving.responses import ModelDetail, VersionDetail
from services.settings import environment_of

SCENE = "s3://icss/data/scenes/cli.tif"


@pytest.fixture(scope="module")
def model(service, tmp_path_factory):
    """A model of this module, with its scene in the store."""
    folder = tmp_path_factory.mktemp("cli")
    run = service.tracking.create_run("icss-pretraining", name="cli", tags={})
    version = service.registry.register("cli", write_tiny_model(folder / "model"), run_id=run)
    service.registry.set_alias("cli", "memory", version)
    service.storage.upload(write_scene(folder / "scene.tif"), SCENE)
    return "cli"


@pytest.fixture
def icss(service, model):
    """Runs the program; a failure it did not announce fails the test."""
    variables = {
        "ICSS_API_URL": service.url,
        "ICSS_API_TOKEN": service.settings.api_token.get_secret_value(),
        "COLUMNS": "200",
    }

    def run(*arguments, expect=0, env=None):
        result = CliRunner(env=variables | (env or {})).invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == expect, result.output
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def clicks(tmp_path):
    path = tmp_path / "clicks.geojson"
    path.write_text(json.dumps(building_clicks()))
    return path


def short():
    return [part for name, value in SHORT.items() for part in ("--set", f"{name}={value}")]


def test_a_class_is_added_accepted_and_mapped(icss, clicks, model, tmp_path):
    added = icss(
        "add-class", model, "building", "--image", SCENE, "--clicks", clicks, "--crs", "pixel", *short()
    )
    assert "knows 'building'" in added.output
    assert "building (new)" in added.output
    version = int(added.output.partition("accept it: icss accept cli ")[2].partition(")")[0])
    listed = icss("models", model).output
    assert "background, road, building" in listed
    assert model in icss("models").output
    assert "successful" in icss("status", "--model", model).output
    mapped = tmp_path / "map.tif"
    icss("predict", model, SCENE, "--version", "updated", "-o", mapped)
    with rasterio.open(mapped) as raster:
        assert (raster.count, raster.dtypes[0], raster.nodata) == (1, "uint8", 255)
        assert raster.crs.to_epsg() == 32631
        plain = raster.read(1)
    at_scales = tmp_path / "scales.tif"
    icss("predict", model, SCENE, "--version", "updated", "--scales", "0.5, 1,1.5", "-o", at_scales)
    with rasterio.open(at_scales) as raster:
        assert raster.shape == plain.shape
        assert (raster.read(1) != plain).any()
    polygons = tmp_path / "map.geojson"
    icss("predict", model, SCENE, "--version", version, "--polygons", "-o", polygons)
    assert json.loads(polygons.read_text())["type"] == "FeatureCollection"
    assert f"memory is version {version}" in icss("accept", model, version).output
    refused = icss("accept", model, version, "--expected", 1, expect=1).output
    assert f"'memory' of 'cli' is version {version} by now, not 1" in refused
    assert "memory is version 1" in icss("accept", model, 1).output


def lineage(memory, **parents):
    versions = [
        VersionDetail(
            version=int(version[1:]),
            parent=parent,
            created=datetime(2026, 11, 21, tzinfo=UTC),
            run_id=None,
            aliases=[],
            classes=[],
            method=None,
            preset=None,
            bands=3,
        )
        for version, parent in parents.items()
    ]
    return ModelDetail(name="town", aliases={} if memory is None else {"memory": memory}, versions=versions)


def test_accepting_expects_the_memory_that_the_version_was_made_from():
    chain = {"v1": None, "v2": 1, "v3": 2, "v4": 2}
    assert expected_memory(lineage(2, **chain), 3) == 2
    assert expected_memory(lineage(3, **chain), 4) == 2, "somebody accepted 3 meanwhile: refused"
    assert expected_memory(lineage(3, **chain), 1) == 3, "going back"
    assert expected_memory(lineage(3, **chain), 3) == 3
    assert expected_memory(lineage(None, **chain), 1) is None


def test_a_local_image_is_uploaded(icss, clicks, model, tmp_path):
    image = write_scene(tmp_path / "mine.tif")
    added = icss(
        "add-class",
        model,
        "shed",
        "--image",
        image,
        "--clicks",
        _renamed(clicks, "shed"),
        "--crs",
        "pixel",
        *short(),
    )
    assert "knows 'shed'" in added.output
    found = icss("predict", model, image, "--version", "updated")
    assert found.stdout.startswith("s3://")


def test_an_update_can_be_left_alone_and_cancelled(icss, clicks, model):
    started = icss(
        "add-class",
        model,
        "tower",
        "--image",
        SCENE,
        "--clicks",
        _renamed(clicks, "tower"),
        "--crs",
        "pixel",
        "--no-wait",
        "--set",
        "optimisation.iterations=5000",
        "--set",
        "crops.size=64",
    )
    update = re.search("update ([0-9a-f]{32}) accepted", started.output)[1]
    assert update in icss("cancel", update).output
    assert "dismissed" in icss("status", update).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("models", "nowhere"), "ModelNotFoundError: .*nowhere"),
        (("accept", "cli", "99"), "VersionNotFoundError: .*99"),
        (("status", "0" * 32), "UpdateNotFoundError"),
        (("predict", "cli", "s3://icss/data/scenes/none.tif"), "ImageNotFoundError: .*none.tif"),
        (("predict", "cli", "s3://elsewhere/a.tif"), "UriNotAllowedError"),
        (("predict", "cli", "no-such-file.tif"), "no such image.*no-such-file.tif"),
        (
            ("predict", "cli", SCENE, "-o", "no/such/folder/map.tif"),
            "no folder for the result: no/such/folder",
        ),
        (("predict", "cli", SCENE, "--scales", "half"), "--scales takes numbers as 0.5,1,1.5, not 'half'"),
        (("predict", "cli", SCENE, "--scales", "1,nan"), "InvalidParameterError.*less than or equal to 4"),
        (("models", "--token", "wrong"), "UnauthorisedError"),
        (("models", "--token", ""), "ConfigurationError: no token"),
        (("models", "--url", "http://127.0.0.1:9"), "ServiceError: no answer"),
    ],
)
def test_what_goes_wrong_is_one_message(icss, arguments, says):
    output = icss(*arguments, expect=1).output
    assert len(output.strip().splitlines()) == 1
    assert re.search(says, output), output


def test_clicks_that_are_no_geojson_are_refused_here(icss, model, tmp_path):
    path = tmp_path / "clicks.geojson"
    path.write_text("[1, 2")
    arguments = ("add-class", model, "hut", "--image", SCENE, "--clicks", path)
    assert "is not JSON" in icss(*arguments, expect=1).output
    path.write_text("[1, 2]")
    assert "must be a GeoJSON FeatureCollection" in icss(*arguments, expect=1).output
    path.write_text("{}")
    assert "--set takes NAME=VALUE" in icss(*arguments, "--set", "iterations", expect=1).output


def test_ingest_town_writes_a_data_set(icss, service):
    variables = environment_of(service.settings)
    done = icss(
        "ingest", "town", "s3://icss/data/made-up", "--train", 1, "--val", 0, "--size", 64, env=variables
    )
    assert "1 scenes (1 train)" in done.output
    assert service.storage.exists("s3://icss/data/made-up/dataset.yaml")
    refused = icss("ingest", "town", "s3://elsewhere/x", "--size", 64, env=variables, expect=1)
    assert "UriNotAllowedError" in refused.output


def test_ingest_without_settings_names_the_variables(icss):
    empty = {"ICSS_DATA_PREFIX": "", "ICSS_MLFLOW_URI": ""}
    assert "ICSS_DATA_PREFIX" in icss("ingest", "town", "s3://icss/x", env=empty, expect=1).output


def _renamed(clicks, name):
    clicks.write_text(json.dumps(building_clicks(name)))
    return clicks
