from __future__ import annotations

import pytest
from pydantic import ValidationError

from icss_core.continual import IncrementalProtocol, split_tasks
from icss_core.dataset import BACKGROUND_CLASS, Dataset, Scene
from icss_core.errors import InvalidParameterError
from icss_core.labels import ClassInfo
from icss_core.methods import get_dense_preset
from services.continual import ProtocolRun
from services.training.config import LearnerChoice

CLASSES = [BACKGROUND_CLASS, *(ClassInfo(name=name, colour=(i, 0, 0)) for i, name in enumerate("abc"))]
SCENES = [Scene(name=f"s{i}", image="i", mask="m", labels=tuple("abc"[: i % 3 + 1])) for i in range(7)]
DATASET = Dataset(name="toy", classes=CLASSES, scenes=SCENES)
PROTOCOL = IncrementalProtocol(name="p", groups=[["a"], ["b", "c"]])
MANIFEST = split_tasks(DATASET, PROTOCOL, {scene.name: scene.labels for scene in SCENES})


def run(preset: str = "mib-paper/mib", **more) -> ProtocolRun:
    fields = {"dataset": "s3://icss/toy/dataset.yaml", "model": "toy", "protocol": PROTOCOL, **more}
    return ProtocolRun(preset=get_dense_preset(preset, {"epochs": 3, "batch": 4}), **fields)


def test_tasks_train_on_their_classes_and_scenes():
    first, second = run().training_of(0, MANIFEST, None), run(workers=2).training_of(1, MANIFEST, 5)
    assert (first.classes, first.memory) == (("a",), None)
    assert (second.classes, second.memory) == (("a", "b", "c"), 5)
    assert [one.scenes for one in (first, second)] == [MANIFEST.scenes_hash(0), MANIFEST.scenes_hash(1)]
    assert second.learner.resolve()[1].preset == run(workers=2).preset
    assert first.optimisation.iterations == -(-3 * 7 // 4)
    assert second.optimisation.iterations == -(-3 * len(MANIFEST.scenes[1]) // 4)
    assert (first.optimisation.lr, second.optimisation.lr) == (0.01, 0.001)
    assert (first.batch, second.batch) == (4, 2), "the batch is shared out"


def test_methods_that_begin_alike_ask_for_the_same_first_job():
    def job(preset: str, task: int, memory: int | None) -> str:
        return run(preset).training_of(task, MANIFEST, memory).job_name(DATASET.manifest_hash)

    firsts = {job(name, 0, None) for name in ("mib-paper/ft", "mib-paper/mib", "plop-paper/plop")}
    assert len(firsts) == 1
    assert job("mib-paper/ewc", 0, None) not in firsts
    seconds = {job(name, 1, 1) for name in ("mib-paper/ft", "mib-paper/mib", "plop-paper/plop")}
    assert len(seconds) == 3
    assert job("mib-paper/ft", 1, 2) not in seconds


def test_how_the_work_is_spread_does_not_change_a_run():
    assert run().identity(MANIFEST) == run(cpus_per_worker=4, gpu=True).identity(MANIFEST)
    assert run().identity(MANIFEST) == run(workers=0).identity(MANIFEST) != run(workers=2).identity(MANIFEST)
    assert run().identity(MANIFEST) != run(seed=1).identity(MANIFEST)
    other = PROTOCOL.model_copy(update={"setting": "disjoint"})
    labels = {scene.name: scene.labels for scene in SCENES}
    assert run().identity(MANIFEST) != run().identity(split_tasks(DATASET, other, labels))


def test_scales_of_scoring_change_a_run_and_none_of_its_trainings():
    def scored(scales: list[float] | None) -> ProtocolRun:
        preset = get_dense_preset("mib-weak/unl", {} if scales is None else {"test_scales": scales})
        return ProtocolRun(
            preset=preset, dataset="s3://icss/toy/dataset.yaml", model="toy", protocol=PROTOCOL
        )  # fmt: skip

    plain, several = scored(None), scored([0.5, 0.75, 1, 1.25, 1.5])
    assert several.preset.test_scales == (0.5, 0.75, 1, 1.25, 1.5)
    assert plain.identity(MANIFEST) != several.identity(MANIFEST)
    for task, memory in ((0, None), (1, 5)):
        jobs = {asked.training_of(task, MANIFEST, memory).job_name("hash") for asked in (plain, several)}
        assert len(jobs) == 1
    with pytest.raises(InvalidParameterError, match=r"test_scales.*named twice"):
        get_dense_preset("mib-weak/unl", {"test_scales": [1, 1]})


def test_numbers_of_a_kind_of_training_are_checked_by_it():
    with pytest.raises(ValidationError, match="unknown kind of training 'wilson'"):
        LearnerChoice(kind="wilson")
    with pytest.raises(ValidationError, match="preset"):
        LearnerChoice(kind="continual", parameters={"preset": {"name": "x", "method": "x", "crop": 31}})
    with pytest.raises(ValidationError, match="weight"):
        LearnerChoice(kind="supervised", parameters={"weight": 1})


def test_a_crop_too_small_for_plops_cells_is_refused_before_anything_is_trained():
    with pytest.raises(ValidationError, match=r"'local-pod' pools in 4 x 4 cells.* crops of at least 128 px"):
        ProtocolRun(
            preset=get_dense_preset("plop-paper/plop", {"crop": 64}),
            decoder="linknet",
            encoder="resnet18",
            dataset="s3://icss/toy/dataset.yaml",
            model="toy",
            protocol=PROTOCOL,
        )
    fewer = {"crop": 64, "regularisers.local-pod.scales": [1, 2]}
    ProtocolRun(
        preset=get_dense_preset("plop-paper/plop", fewer),
        decoder="linknet",
        encoder="resnet18",
        dataset="s3://icss/toy/dataset.yaml",
        model="toy",
        protocol=PROTOCOL,
    )
