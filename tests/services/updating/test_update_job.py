"""An update from several images as a job, with a real store and a real MLflow server."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import torch
from clicked_images import BUILDING, HEIGHTS, register_memory, request_for, store_images
from same_weights import same_weights
from tiny_model import building_clicks, write_scene, write_tiny_model

from icss_core.clicks import clicks_from_geojson
from icss_core.continual.replay import Replay
from icss_core.errors import (
    BandMismatchError,
    ClassExistsError,
    ClickError,
    ImageUnreadableError,
    InvalidParameterError,
    UnknownClassError,
)
from icss_core.methods import get_preset
from icss_core.networks import load_model
from icss_core.raster.reader import open_raster
from icss_core.updating import ClickedImage, Runtime, update_from_images
from icss_core.updating.findings import UpdateFindings
from services.errors import ImageChangedError, TrainingError
from services.ownership import STATUS
from services.registry import UPDATED, Registry
from services.settings import environment_of
from services.storage import Storage
from services.tracking import UPDATES, Tracking
from services.training import finished_training, in_process
from services.training.finished_training import TRAINING_FOLDER
from services.updating.job import run_update_job
from services.updating.plan import make_update_plan
from services.updating.request import Spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from icss_core.updating import UpdateResult
    from services.settings import Settings
    from services.updating.plan import UpdatePlan
    from services.updating.request import UpdateJobRequest


@pytest.fixture
def settings(mlflow_environment: Settings) -> Settings:
    return mlflow_environment


def asked(settings: Settings, folder: Path, model: str, **changes: Any) -> UpdateJobRequest:
    """A request for a model of its own, whose version 1 and images are there."""
    base = f"{settings.data_prefix}/{model}"
    register_memory(settings, folder, model)
    store_images(settings, folder, base)
    return request_for(model, base, **changes)


def planned(request: UpdateJobRequest, settings: Settings) -> UpdatePlan:
    memory = Registry(settings).resolve(request.model, request.version)
    return make_update_plan(request, memory, Storage(settings))


class KilledError(Exception):
    """The process dies here."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> UpdateResult:
    """What the core makes of the same local files."""
    folder = tmp_path_factory.mktemp("alone")
    memory, card = load_model(write_tiny_model(folder / "model"))
    extended = card.label_space.extend(BUILDING)
    with ExitStack() as closing:
        images = []
        for name, height in HEIGHTS.items():
            raster = closing.enter_context(open_raster(write_scene(folder / f"{name}.tif", height=height)))
            collection = building_clicks()
            clicks = (
                [] if name == "context" else [clicks_from_geojson(collection, raster, extended, crs="pixel")]
            )
            images.append(ClickedImage(raster, *clicks, name=name))
        preset = request_for("alone", "s3://icss").preset
        runtime = Runtime(device=torch.device("cpu"))
        return update_from_images(
            memory, card.label_space, images, [BUILDING], preset, dtype=card.dtype, runtime=runtime
        )


def test_the_version_is_the_one_that_the_core_makes(
    settings: Settings, tmp_path: Path, alone: UpdateResult
) -> None:
    request = asked(settings, tmp_path, "taught")
    version = run_update_job(request, settings)
    registry, tracking = Registry(settings), Tracking(settings)
    made, card = load_model(registry.fetch("taught", version))
    assert same_weights(made, alone.network)
    assert card.label_space == alone.label_space
    assert (card.parent, card.preset) == ("taught:1", "icss")
    assert registry.aliases("taught") == {"memory": 1, UPDATED: version}
    (record,) = tracking.find(UPDATES, tags={"icss.model": "taught"})
    assert record.tags[STATUS] == "successful"
    findings = UpdateFindings.model_validate(tracking.read_json(record.run_id, "findings.json"))
    assert findings.forgetting == alone.forgetting
    assert findings.held_out == alone.findings.held_out
    assert findings.elsewhere is not None, "the context image is judged"
    for number in (1, 2):
        assert tracking.read_bytes(record.run_id, f"pictures/{number}-after.png").startswith(b"\x89PNG")
    assert [step for step, _ in tracking.metric_history(record.run_id, "loss")] == [1, 2, 3]
    assert record.params["images.clicked"] == "2"
    job = record.tags["icss.job"]
    assert list(Storage(settings).list(f"{settings.data_prefix}/{TRAINING_FOLDER}/{job}")) == []
    assert run_update_job(request, settings) == version, "and is not made again"


def test_a_job_that_was_killed_goes_on_with_its_last_checkpoint(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: UpdateResult
) -> None:
    request = asked(settings, tmp_path, "killed")

    class Dying(in_process.OnlyRank):
        def report(self, report: Any) -> None:
            super().report(report)
            if report.checkpoint and report.iteration == 2:
                raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(in_process, "OnlyRank", Dying)
        with pytest.raises(TrainingError, match="KilledError"):
            run_update_job(request, settings)
    version = run_update_job(request, settings)
    (record,) = Tracking(settings).find(UPDATES, tags={"icss.model": "killed"})
    assert record.tags["icss.resumed_at"] == "2"
    history = Tracking(settings).metric_history(record.run_id, "loss")
    assert [step for step, _ in history] == [1, 2, 3]
    made, _ = load_model(Registry(settings).fetch("killed", version))
    assert same_weights(made, alone.network)


def test_an_image_that_is_overwritten_meanwhile_makes_no_version(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(settings, tmp_path, "overwritten")
    original = finished_training.train_in_process

    def overwrite(*arguments: Any, **named: Any) -> None:
        original(*arguments, **named)
        other = write_scene(tmp_path / "other.tif", height=200)
        Storage(settings).upload(other, f"{settings.data_prefix}/overwritten/b.tif")

    monkeypatch.setattr(finished_training, "train_in_process", overwrite)
    with pytest.raises(ImageChangedError, match=r"b\.tif has been overwritten"):
        run_update_job(request, settings)
    assert [one.version for one in Registry(settings).describe("overwritten").versions] == [1]
    monkeypatch.undo()
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    Storage(settings).upload(tmp_path / "b.tif", f"{settings.data_prefix}/overwritten/b.tif")
    trainings = []

    def counted(*arguments: Any, **named: Any) -> None:
        trainings.append(arguments)
        original(*arguments, **named)

    monkeypatch.setattr(finished_training, "train_in_process", counted)
    run_update_job(request, settings)
    assert len(trainings) == 1, "what was learnt from the other image is forgotten"


def test_whatever_goes_wrong_because_an_image_changed_is_said_to_be_that(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(settings, tmp_path, "replaced")

    def fail(*_: Any, **__: Any) -> None:
        other = write_scene(tmp_path / "other.tif", height=200)
        Storage(settings).upload(other, f"{settings.data_prefix}/replaced/a.tif")
        raise ImageUnreadableError("the image ends in the middle")

    monkeypatch.setattr(finished_training, "train_in_process", fail)
    with pytest.raises(ImageChangedError, match=r"a\.tif has been overwritten"):
        run_update_job(request, settings)


def test_heads_alone_are_a_job_too(settings: Settings, tmp_path: Path) -> None:
    quick = get_preset("icss-fast", {"hypercolumn.iterations": 5, "optimisation.precision": "float32"})
    request = asked(settings, tmp_path, "heads", preset=quick)
    version = run_update_job(request, settings)
    folder = Registry(settings).fetch("heads", version)
    kept = Replay.of_version(folder, load_model(folder)[0])
    assert kept is not None
    assert {0, 2} <= set(kept.classes.tolist()), "the next update learns from these"
    many = request.model_copy(update={"spread": Spread(workers=3)})
    assert planned(many, settings).spread.workers == 1, "each would do the same"
    trained = many.model_copy(update={"preset": get_preset("icss")})
    assert planned(trained, settings).spread.workers == 3


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_ranks_share_the_crops_of_one_process(settings: Settings, tmp_path: Path, closing: ExitStack) -> None:
    plan = planned(asked(settings, tmp_path, "ranks"), settings)
    storage = Storage(settings)
    closing.enter_context(storage.raster_environment())

    class Rank(in_process.OnlyRank):
        def __init__(self, number: int, world: int) -> None:
            super().__init__()
            self.number, self.world = number, world

    alone, *two = (
        plan.on_rank(Rank(number, world), storage, closing).learner
        for number, world in ((0, 1), (0, 2), (1, 2))
    )
    for iteration in range(3):
        for rank, learner in enumerate(two):
            found, expected = learner.batch(iteration), alone.batch(2 * iteration + rank)
            assert found.crops == expected.crops
            torch.testing.assert_close(found.pixels, expected.pixels, rtol=0, atol=0)
            torch.testing.assert_close(found.labels, expected.labels, rtol=0, atol=0)


@pytest.fixture(scope="module")
def base(mlflow_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("refused")
    register_memory(mlflow_settings, folder, "refused")
    base = f"{mlflow_settings.data_prefix}/refused"
    store_images(mlflow_settings, folder, base)
    storage = Storage(mlflow_settings)
    storage.upload(write_scene(folder / "two.tif", bands=2), f"{base}/two.tif")
    storage.write_bytes(f"{base}/list.geojson", b"[1, 2]")
    storage.write_bytes(f"{base}/cut.geojson", b'{"type": "Feat')
    water = json.dumps(building_clicks("water")).encode()
    storage.write_bytes(f"{base}/water.geojson", water)
    storage.write_bytes(f"{base}/road.geojson", json.dumps(building_clicks("road")).encode())
    return base


class TestRefusals:
    """Said before anything is begun."""

    @pytest.mark.parametrize(
        ("pairs", "error", "said"),
        [
            ([("a.tif", "a.geojson"), ("a.tif", "b.geojson")], InvalidParameterError, "named twice"),
            ([("two.tif", "a.geojson")], BandMismatchError, "2 bands"),
            ([("a.tif", "list.geojson")], ClickError, r"list\.geojson must be GeoJSON"),
            ([("a.tif", "cut.geojson")], ClickError, "is not JSON"),
            ([("a.tif", "road.geojson")], ClickError, "no click of the new class 'building'"),
        ],
    )
    def test_of_images_and_clicks(
        self,
        settings: Settings,
        base: str,
        pairs: list[tuple[str, str]],
        error: type[Exception],
        said: str,
    ) -> None:
        clicked = [{"image": f"{base}/{image}", "clicks": f"{base}/{clicks}"} for image, clicks in pairs]
        with pytest.raises(error, match=said):
            planned(request_for("refused", base, clicked=clicked), settings)

    def test_of_a_class_that_is_known(self, settings: Settings, base: str) -> None:
        with pytest.raises(ClassExistsError):
            planned(request_for("refused", base, new_class={"name": "Road", "colour": "#ffffff"}), settings)

    def test_of_a_context_without_images(self, settings: Settings, base: str) -> None:
        with pytest.raises(InvalidParameterError, match=r"no images at .*/contxt/"):
            planned(request_for("refused", base, context=[f"{base}/contxt/"]), settings)

    def test_of_clicks_on_more_tiles_than_the_preset_takes(self, settings: Settings, base: str) -> None:
        with pytest.raises(InvalidParameterError, match=r"on 2 tiles .* takes 1 .*'\{\"tiles\": 2\}'"):
            planned(request_for("refused", base, overrides={"tiles": 1}), settings)

    def test_of_an_unknown_class(self, settings: Settings, base: str) -> None:
        clicked = [{"image": f"{base}/a.tif", "clicks": f"{base}/water.geojson"}]
        with pytest.raises(UnknownClassError, match=r"water\.geojson: .*water"):
            planned(request_for("refused", base, clicked=clicked), settings)


def test_its_name_tells_what_decides_the_network(settings: Settings, tmp_path: Path) -> None:
    request = asked(settings, tmp_path, "named")
    plan = planned(request, settings)
    assert plan.job.startswith("named-update-")
    spread = {"workers": 1, "cpus_per_worker": 2, "gpu": False, "max_failures": 0, "checkpoint_every": 7}
    elsewhere = request.model_validate(request.model_dump() | {"spread": spread})
    assert planned(elsewhere, settings).job == plan.job
    two = request.model_validate(request.model_dump() | {"spread": spread | {"workers": 2}})
    assert planned(two, settings).job != plan.job, "each worker has a batch of its own"
    assert planned(request.model_copy(update={"seed": 1}), settings).job != plan.job
    Storage(settings).upload(
        write_scene(tmp_path / "new.tif", height=110), f"{settings.data_prefix}/named/context/new.tif"
    )
    assert planned(request, settings).job != plan.job, "one more image"
