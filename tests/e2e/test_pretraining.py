"""Pretraining with every real part: S3, Ray Train, MLflow; one of the workers is killed on the way."""

from __future__ import annotations

import filecmp
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from jobs import in_cluster
from living import command_of

from icss_core.dataset import BACKGROUND_CLASS, Dataset, Scene
from icss_core.errors import ImageNotFoundError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.networks.model_folder import load_artefact, load_model
from services.data.dataset import read_dataset
from services.errors import TrainingError
from services.local.supervisor import descendants
from services.registry import MEMORY, Registry
from services.storage import Storage
from services.submission import submit_pretraining
from services.tracking import PRETRAINING, RunRecord, Tracking
from services.training import TrainingConfig
from services.training.job import pretrain

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from services.local import LocalStack

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]
ITERATIONS = 200
WARMUP = 10
NUMBERS = json.dumps({"warmup": WARMUP})
CHECKPOINT_EVERY = 40
DTYPES = ("uint8", "uint16", "float32")


def paint(seed: int, *, size: int = 160) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """A noisy grey ground with bright red blocks (class 1) and dark strips (class 2): pixels and mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((size, size), np.uint8)
    for _ in range(8):
        row, col = rng.integers(0, size - 40, 2)
        mask[row : row + 32, col : col + 32] = 1
    mask[:, 70:86] = 2
    colours = np.array([[110, 110, 110], [220, 60, 60], [30, 30, 30]], np.float64)
    pixels = colours[mask].transpose(2, 0, 1) + rng.normal(0, 8, (3, size, size))
    return pixels.clip(0, 255), mask


@pytest.fixture(scope="module")
def dataset_uri(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Scenes of three dtypes in one data set on S3."""
    folder = tmp_path_factory.mktemp("scenes")
    storage = Storage(stack.settings)
    base = f"{stack.settings.data_prefix}/blocks"
    scenes: list[Scene] = []
    for index, (split, dtype) in enumerate([("train", d) for d in DTYPES] + [("val", d) for d in DTYPES]):
        pixels, mask = paint(index)
        name = f"scene{index}"
        for suffix, values in (("image", pixels.astype(dtype)), ("mask", mask[None])):
            path = folder / f"{name}_{suffix}.tif"
            profile = {
                "driver": "GTiff",
                "count": values.shape[0],
                "height": values.shape[1],
                "width": values.shape[2],
                "dtype": values.dtype,
                "crs": "EPSG:32640",
                "transform": Affine(0.5, 0, 300000, 0, -0.5, 2800000),
                "tiled": True,
                "blockxsize": 64,
                "blockysize": 64,
                "compress": "deflate",
            }
            with rasterio.open(path, "w", **profile) as target:
                target.write(values)
            storage.upload(path, f"{base}/{path.name}")
        scenes.append(Scene(name=name, image=f"{name}_image.tif", mask=f"{name}_mask.tif", split=split))
    scenes.append(Scene(name="unlabelled", image="scene0_image.tif", split="train"))
    classes = LabelSpace(
        classes=(
            BACKGROUND_CLASS,
            ClassInfo(name="roof", colour=(220, 60, 60)),
            ClassInfo(name="road", colour=(30, 30, 30)),
        )
    )
    dataset = Dataset(name="blocks", classes=classes, scenes=tuple(scenes))
    return storage.write_bytes(f"{base}/dataset.yaml", dataset.to_yaml().encode())


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code with one more kind of training: its file, and its entry in the registry."""
    folder = tmp_path_factory.mktemp("overlay")
    for package in ("icss_core", "services"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / package, folder / package, ignore=ignored)
    learners = folder / "icss_core" / "learners"
    shutil.copy(REPOSITORY / "tests" / "services" / "training" / "two_streams.py", learners)
    registry = (learners / "registry.py").read_text()
    entered = registry.replace("(SUPERVISED, CONTINUAL)", "(SUPERVISED, CONTINUAL, TWO_STREAMS)").replace(
        "import SUPERVISED\n", "import SUPERVISED\nfrom icss_core.learners.two_streams import TWO_STREAMS\n"
    )
    assert len(entered.splitlines()) == len(registry.splitlines()) + 1
    (learners / "registry.py").write_text(entered)
    return folder


def submit(stack: LocalStack, dataset_uri: str, code: Path) -> subprocess.Popen[str]:
    """The job as a user submits it, with other code and the kind of training that is there alone."""
    command = (
        f"ray job submit --runtime-env-json {shlex.quote(_environment_of(code))} -- "
        f"python -m services.training --dataset {dataset_uri} --model blocks "
        f"--classes roof,road --encoder tu-test_resnet --crop 64 --batch 2 --iterations {ITERATIONS} "
        f"--lr 0.002 --validate-every 100 --checkpoint-every {CHECKPOINT_EVERY} "
        f"--workers 2 --job blocks-1 --no-gpu "
        f"--learner two-streams --learner-parameters {shlex.quote(NUMBERS)}"
    )
    return subprocess.Popen(
        shlex.split(command),
        env=stack.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _environment_of(code: Path) -> str:
    return json.dumps({"env_vars": {"PYTHONPATH": str(code)}})


def wait_for_checkpoint(stack: LocalStack, job: subprocess.Popen[str], *, seconds: float) -> None:
    """Until the record says that Ray Train has one: a folder in the store alone may still be growing."""
    tracking = Tracking(stack.settings)
    deadline = time.monotonic() + seconds
    while not any(
        "icss.checkpoint_iteration" in record.tags
        for record in tracking.find(PRETRAINING, tags={"icss.job": "blocks-1"})
    ):
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.2)


def train_workers(stack: LocalStack) -> list[int]:
    """Process ids of the Ray Train workers of this stack."""
    everything = [pid for part in stack.processes for pid in descendants(part.pid)]
    return [pid for pid in everything if "RayTrainWorker" in command_of(pid)]


@pytest.fixture(scope="module")
def finished(stack: LocalStack, dataset_uri: str, overlay: Path) -> tuple[str, RunRecord]:
    """The job's log and its record, after a worker was killed and the job went on to its end."""
    with submit(stack, dataset_uri, overlay) as job:
        wait_for_checkpoint(stack, job, seconds=240)
        workers = train_workers(stack)
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        log, _ = job.communicate(timeout=300)
    assert job.returncode == 0, log
    (record,) = Tracking(stack.settings).find(PRETRAINING, tags={"icss.job": "blocks-1"})
    return log, record


def test_training_goes_on_from_the_checkpoint_after_a_worker_was_killed(
    stack: LocalStack, finished: tuple[str, RunRecord]
) -> None:
    _, record = finished
    assert record.status == "FINISHED"
    assert record.tags["icss.failures"] == "1"
    resumed_at = int(record.tags["icss.resumed_at"])
    assert resumed_at >= CHECKPOINT_EVERY
    assert resumed_at % CHECKPOINT_EVERY == 0
    history = Tracking(stack.settings).metric_history(record.run_id, "loss")
    iterations = [iteration for iteration, _ in history]
    assert iterations == list(range(1, ITERATIONS + 1)), "each once, and none lost with the worker"


def test_a_kind_of_training_that_nobody_ships_is_one_file_and_an_entry(
    stack: LocalStack, finished: tuple[str, RunRecord], overlay: Path
) -> None:
    """It went through Ray Train, a kill, a resume and registration without another file changed."""
    _, record = finished
    compared = filecmp.dircmp(REPOSITORY / "icss_core" / "learners", overlay / "icss_core" / "learners")
    assert (compared.right_only, compared.diff_files) == (["two_streams.py"], ["registry.py"])
    history = Tracking(stack.settings).metric_history(record.run_id, "loss/reconstruction")
    assert [iteration for iteration, _ in history] == list(range(WARMUP + 1, ITERATIONS + 1))
    folder = Registry(stack.settings).fetch("blocks", 1)
    phases = load_artefact(folder, "phases")
    assert phases is not None
    assert phases["active"].tolist() == [True, True], "saved before the kill, and in the end"
    network, _ = load_model(folder)
    assert not any("reconstruction" in name for name in network.state_dict()), "dropped"


def test_the_record_says_what_was_trained_on_what(stack: LocalStack, finished: tuple[str, RunRecord]) -> None:
    _, record = finished
    assert {"icss.revision", "icss.manifest_hash", "icss.preset", "icss.dataset"} <= record.tags.keys()
    assert record.params["optimisation.iterations"] == str(ITERATIONS)
    assert {"loss", "lr", "samples_per_second", "input_wait_share", "val_miou"} <= record.metrics.keys()
    assert 0 <= record.metrics["input_wait_share"] <= 1
    assert record.metrics["val_iou/1"] > 0.6
    assert record.metrics["val_iou/2"] > 0.6
    names = Tracking(stack.settings).read_json(record.run_id, "classes.json")
    assert names == {"0": "background", "1": "roof", "2": "road"}


def test_the_network_is_registered_and_normalises_by_the_statistics_of_all_dtypes(
    stack: LocalStack, finished: tuple[str, RunRecord]
) -> None:
    _, record = finished
    registry = Registry(stack.settings)
    version = registry.resolve("blocks", MEMORY)
    assert (version.version, version.run_id, version.parent) == (1, record.run_id, None)
    assert version.card.dtype is None, "scenes had three dtypes"
    network, card = load_model(registry.fetch("blocks", version.version))
    assert card.label_space.names == ("background", "roof", "road")
    scenes = np.concatenate([paint(index)[0].reshape(3, -1) for index in range(3)], axis=1)
    np.testing.assert_allclose(card.normalisation.mean, scenes.mean(axis=1), rtol=0.1)
    np.testing.assert_allclose(card.normalisation.std, scenes.std(axis=1), rtol=0.15)
    pixels, mask = paint(3)
    with torch.inference_mode():
        maps = [
            network(torch.from_numpy(pixels.astype(dtype))[None]).logits.argmax(1)[0].numpy()
            for dtype in DTYPES
        ]
    for found in maps:
        assert (found == mask).mean() > 0.8


def test_a_finished_job_is_not_done_again(
    stack: LocalStack, dataset_uri: str, finished: tuple[str, RunRecord], job_process: Executor
) -> None:
    config = TrainingConfig(dataset=dataset_uri, model="blocks", classes=("roof", "road"), job="blocks-1")
    assert job_process.submit(in_cluster, pretrain, config, stack.settings).result() == 1
    assert len(Registry(stack.settings).describe("blocks").versions) == 1


def test_a_job_that_would_fail_again_is_not_started_again(
    stack: LocalStack, dataset_uri: str, finished: tuple[str, RunRecord], job_process: Executor
) -> None:
    del finished  # one job at a time
    storage = Storage(stack.settings)
    dataset = read_dataset(dataset_uri, storage)
    scenes = [
        one.model_copy(update={"image": "gone.tif"} if one.split == "val" else {}) for one in dataset.scenes
    ]
    broken = dataset.model_copy(update={"scenes": tuple(scenes)})
    uri = storage.write_bytes(f"{dataset.base}/broken.yaml", broken.to_yaml().encode())
    config = TrainingConfig(
        dataset=uri, model="blocks", classes=("roof", "road"), encoder="tu-test_resnet", crop=64, batch=2,
        workers=1, validate_every=2, job="blocks-broken",
    )  # fmt: skip
    with pytest.raises(ImageNotFoundError, match=r"gone\.tif"):
        job_process.submit(in_cluster, pretrain, config, stack.settings).result()
    (record,) = Tracking(stack.settings).find(PRETRAINING, tags={"icss.job": "blocks-broken"})
    assert record.status == "FAILED"
    assert record.tags["icss.error"].startswith("ImageNotFoundError"), "the worker's own error"
    assert record.tags["icss.failures"] == "1", "three restarts are allowed"


def test_a_job_that_fails_is_quoted_to_who_submitted_it(stack: LocalStack, tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(TrainingError, match=r"(?s)ended as FAILED.*s3://icss/nowhere/dataset\.yaml"):
        submit_pretraining(
            ["--dataset", "s3://icss/nowhere/dataset.yaml", "--model", "nothing"],
            address=stack.ray.dashboard,
            token=stack.ray.token,
            log=tmp_path / "job.log",
            on_line=lines.append,
        )
    assert (tmp_path / "job.log").read_text().splitlines() == lines
    with pytest.raises(TrainingError, match="could not be submitted"):
        submit_pretraining([], address=stack.ray.dashboard, token="another")
