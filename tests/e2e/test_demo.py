"""The main job at small scale, on real services (see `demo_report`); and that it leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import rasterio
from demo_options import SMALL
from living import processes_of
from PIL import Image
from readme import tour
from rich.console import Console

from icss_core.dataset import Dataset
from icss_core.errors import DatasetError
from services.demo.job import MainJob
from services.demo.options import DemoOptions
from services.demo.progress import Stages
from services.demo.report import DemoReport
from services.demo.up import commands
from services.registry import Registry

pytestmark = pytest.mark.e2e


def test_main_job_scores_memory_updated_and_control(demo_report):
    assert demo_report.classes == ["background", "road", "building"]
    assert list(demo_report.scores) == ["memory", "updated", "control"]
    assert demo_report.scores["memory"].classes["building"].iou_image_wise == 0.0
    (session,) = demo_report.sessions.values()
    assert session.clicks == {"background": 10, "building": 10}
    assert session.version == demo_report.versions["memory"] + 1
    assert session.forgetting is not None


def test_main_job_leaves_pictures_maps_and_a_report(demo_report, demo_job):
    out = demo_job.options.out
    scene = next(iter(demo_report.sessions))
    kept = DemoReport.model_validate_json((out / "report.json").read_text())
    assert kept == demo_report
    for picture in ("steps", "changes"):
        with Image.open(out / f"{scene}-{picture}.png") as image:
            assert image.width > 500
    with rasterio.open(out / f"{scene}-updated.tif") as raster:
        assert raster.crs.to_epsg() == 32632
        assert (raster.nodata, raster.dtypes[0], raster.shape) == (255, "uint8", (192, 192))
        assert raster.colormap(1)[2][:3] == (226, 72, 52)
    points = json.loads((out / f"{scene}-clicks.geojson").read_text())
    assert len(points["features"]) == 20


def test_main_job_registers_with_lineage(demo_report, stack):
    registry = Registry(stack.settings)
    (session,) = demo_report.sessions.values()
    updated = registry.resolve("town", session.version)
    assert updated.parent == demo_report.versions["memory"]
    assert registry.resolve("town", "updated").version == session.version
    assert registry.resolve("town", "memory").version == demo_report.versions["memory"]


def image_address(demo_job, name):
    base = f"{demo_job.stack.settings.data_prefix}/scenes/town"
    dataset = Dataset.from_yaml(demo_job.storage.read_bytes(f"{base}/dataset.yaml"), base=base)
    (image,) = [scene.image for scene in dataset.scenes if scene.name == name]
    return dataset.address(image)


def test_printed_commands_work_as_pasted(demo_report, demo_job):
    scene = next(iter(demo_report.sessions))
    clicks = demo_job.options.out / f"{scene}-clicks.geojson"
    printed = dict(commands(demo_job, image_address(demo_job, scene), clicks, pixel=False))
    add = printed["Add the class 'building'"]
    quick = " ".join(f"--set {name}={value}" for name, value in SMALL["overrides"].items())
    added = subprocess.run(["bash", "-c", f"{add} {quick}"], capture_output=True, text=True, check=False)
    assert added.returncode == 0, added.stdout + added.stderr
    assert "knows 'building'" in added.stdout
    mapped = subprocess.run(
        ["bash", "-c", printed["Predict with it"]], capture_output=True, text=True, check=False
    )
    assert mapped.returncode == 0, mapped.stdout + mapped.stderr
    with rasterio.open(demo_job.options.out / "map.tif") as raster:
        assert raster.shape == (192, 192)


def with_few_iterations(script):
    """The same commands, which teach both classes in seconds instead of a minute."""
    options = " ".join(f"--set {name}={value}" for name, value in SMALL["overrides"].items())
    values = json.dumps(SMALL["overrides"])
    for found, added in (
        ("icss add-class town building", f" {options}"),
        ('"crs": "pixel",', f' "overrides": {values},'),
    ):
        assert script.count(found) == 1
        script = script.replace(found, found + added)
    return script


def test_tour_of_the_readme_works_as_pasted(demo_report, demo_job, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("the tour uses curl, which this machine lacks")
    (tmp_path / "out").symlink_to(demo_job.options.out)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    settings = demo_job.stack.settings
    variables = {
        "ICSS_API_URL": demo_job.stack.addresses["API"],
        "ICSS_API_TOKEN": settings.api_token.get_secret_value(),
        "image": image_address(demo_job, "town-06"),
    }
    # the pauses of a reader between the commands are not needed: each waits for its own end
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", with_few_iterations(tour())],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "knows 'building'" in done.stdout
    assert "knows 'pool'" in done.stdout
    with rasterio.open(tmp_path / "out" / "pool.tif") as raster:
        assert raster.shape == (192, 192)
    assert json.loads((tmp_path / "out" / "buildings.geojson").read_text())["type"] == "FeatureCollection"


def test_a_class_nobody_has_is_an_error_before_any_training(stack, tmp_path):
    options = DemoOptions(new="castle", out=tmp_path, **SMALL)
    with (
        MainJob(options, stack, Stages(Console(quiet=True))) as job,
        pytest.raises(DatasetError, match="unknown class 'castle'"),
    ):
        job.run()


def test_a_folder_that_is_not_there_is_an_error_before_anything_starts(tmp_path):
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "services.demo", "--data", "no/such/folder", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "DatasetError: there is no folder no/such/folder" in done.stdout
    assert time.monotonic() - begun < 60


def test_ctrl_c_stops_everything_that_was_started(tmp_path):
    out = tmp_path / "out"
    # whoever runs the tests in the background ignores Ctrl-C, and so would the program
    program = ["env", "--default-signal=INT", sys.executable, "-m", "services.demo", "--up"]
    options = ["--scenes", "1", "--size", "192", "--out", str(out)]
    with subprocess.Popen(
        [*program, *options], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        watchdog = threading.Timer(300, process.kill)  # a program that does not listen fails the test
        watchdog.start()
        started = next((line for line in process.stdout if "the job starts" in line), None)
        assert started is not None
        assert processes_of(out / "stack")
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 130
        watchdog.cancel()
    assert "all services are down again" in rest
    assert processes_of(out / "stack") == []
