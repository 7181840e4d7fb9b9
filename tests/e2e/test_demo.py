"""The main job at small scale, on real services; and that it leaves nothing behind."""

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

SMALL = {
    "known": ("road",),
    "scenes": 6,
    "size": 192,
    "crop": 64,
    "batch": 2,
    "backbone": "resnet18",
    "iterations": 6,
    "minutes": 1.0,
    "clicks": 10,
    "overrides": {
        "optimisation.iterations": 3,
        "crops.size": 64,
        "crops.batch": 1,
        "head_fit.iterations": 2,
    },
}


@pytest.fixture(scope="module")
def job(stack, tmp_path_factory):
    options = DemoOptions(out=tmp_path_factory.mktemp("demo") / "out", control=True, **SMALL)
    with MainJob(options, stack, Stages(Console(quiet=True))) as job:
        yield job


@pytest.fixture(scope="module")
def report(job):
    return job.run()


def test_main_job_scores_memory_updated_and_control(report):
    assert report.classes == ["background", "road", "building"]
    assert list(report.scores) == ["memory", "updated", "control"]
    assert report.scores["memory"].classes["building"].iou_image_wise == 0.0
    (session,) = report.sessions.values()
    assert session.clicks == {"background": 10, "building": 10}
    assert session.version == report.versions["memory"] + 1
    assert session.forgetting is not None


def test_main_job_leaves_pictures_maps_and_a_report(report, job):
    out = job.options.out
    scene = next(iter(report.sessions))
    kept = DemoReport.model_validate_json((out / "report.json").read_text())
    assert kept == report
    for picture in ("steps", "changes"):
        with Image.open(out / f"{scene}-{picture}.png") as image:
            assert image.width > 500
    with rasterio.open(out / f"{scene}-updated.tif") as raster:
        assert raster.crs.to_epsg() == 32632
        assert (raster.nodata, raster.dtypes[0], raster.shape) == (255, "uint8", (192, 192))
        assert raster.colormap(1)[2][:3] == (226, 72, 52)
    points = json.loads((out / f"{scene}-clicks.geojson").read_text())
    assert len(points["features"]) == 20


def test_main_job_registers_with_lineage(report, stack):
    registry = Registry(stack.settings)
    (session,) = report.sessions.values()
    updated = registry.resolve("town", session.version)
    assert updated.parent == report.versions["memory"]
    assert registry.resolve("town", "updated").version == session.version
    assert registry.resolve("town", "memory").version == report.versions["memory"]


def image_address(job, name):
    base = f"{job.stack.settings.data_prefix}/scenes/town"
    dataset = Dataset.from_yaml(job.storage.read_bytes(f"{base}/dataset.yaml"), base=base)
    (image,) = [scene.image for scene in dataset.scenes if scene.name == name]
    return dataset.address(image)


def test_printed_commands_work_as_pasted(report, job):
    scene = next(iter(report.sessions))
    clicks = job.options.out / f"{scene}-clicks.geojson"
    printed = dict(commands(job, image_address(job, scene), clicks, pixel=False))
    add = printed["Add the class 'building'"]
    quick = " ".join(f"--set {name}={value}" for name, value in SMALL["overrides"].items())
    added = subprocess.run(["bash", "-c", f"{add} {quick}"], capture_output=True, text=True, check=False)
    assert added.returncode == 0, added.stdout + added.stderr
    assert "knows 'building'" in added.stdout
    mapped = subprocess.run(
        ["bash", "-c", printed["Predict with it"]], capture_output=True, text=True, check=False
    )
    assert mapped.returncode == 0, mapped.stdout + mapped.stderr
    with rasterio.open(job.options.out / "map.tif") as raster:
        assert raster.shape == (192, 192)


def test_tour_of_the_readme_works_as_pasted(report, job, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("the tour uses curl, which this machine lacks")
    (tmp_path / "out").symlink_to(job.options.out)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    settings = job.stack.settings
    variables = {
        "ICSS_API_URL": job.stack.addresses["API"],
        "ICSS_API_TOKEN": settings.api_token.get_secret_value(),
        "image": image_address(job, "town-06"),
    }
    # the pauses of a reader between the commands are not needed: each waits for its own end
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", tour()],
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
        assert _processes_of(out / "stack")
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 130
        watchdog.cancel()
    assert "all services are down again" in rest
    assert _processes_of(out / "stack") == []


def _processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that mention a folder or have it in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                texts = [(entry / name).read_bytes() for name in ("cmdline", "environ")]
            except OSError:  # it ended while we looked, or is somebody else's
                continue
            if any(os.fsencode(folder) in text for text in texts) and texts[0]:
                found.append(texts[0].replace(b"\0", b" ").decode(errors="replace"))
    return found
