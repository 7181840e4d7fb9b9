"""Statistics of features against NumPy over every pixel, and what a classifier learns from draws."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from icss_core.continual import first_task_of
from icss_core.continual.prototype_replay import (
    STATISTICS_ARTEFACT,
    FeatureStatistics,
    PrototypeReplay,
    feature_statistics,
)
from icss_core.data.batch import Batch
from icss_core.data.labelled_scene import LabelledScene
from icss_core.data.random_crops import RandomCrops
from icss_core.errors import InvalidParameterError
from icss_core.labels import IGNORE, ClassInfo, LabelSpace
from icss_core.learners import LearnerContext, MemoryVersion
from icss_core.learners.continual import CONTINUAL, ContinualLearner
from icss_core.methods import get_dense_preset
from icss_core.networks import Architecture, ModelCard, Segmenter, identity
from icss_core.raster.reader import ArraySource
from icss_core.raster.windows import Window
from icss_core.training import Fit, Optimisation

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Segmenter(Architecture(encoder="tu-test_resnet", n_classes=4), identity(3)).eval()


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 3, (2, 4)), np.ones((32, 32))).astype(np.uint8)
    mask[:, :10] = IGNORE
    image = ArraySource(rng.normal(size=(3, 64, 128)).astype(np.float32))
    return LabelledScene(image=image, mask=ArraySource(mask[None]), lookup=np.arange(256, dtype=np.uint8))


def test_statistics_are_those_of_all_pixels_of_a_class(network, scene):
    found = feature_statistics(network, [scene], size=64, device=CPU, precision="float32")
    rows: dict[int, list[np.ndarray]] = {1: [], 2: []}
    for col in (0, 64):
        pixels, labels = scene.crop(Window(0, col, 64, 64))
        with torch.no_grad():
            features = network(torch.from_numpy(pixels)[None]).decoder_features[0].numpy()
        stride = 64 // features.shape[1]
        for place in zip(*np.nonzero((labels != 0) & (labels != IGNORE)), strict=True):
            rows[int(labels[place])].append(features[:, place[0] // stride, place[1] // stride])
    for label, some in rows.items():
        values = np.array(some, np.float64)
        np.testing.assert_allclose(found.means[label], values.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.deviations[label], values.std(axis=0), rtol=1e-2, atol=1e-3)
        assert found.counts[label] == len(some)
    assert found.counts[[0, 3]].tolist() == [0, 0]


def test_a_class_that_no_scene_shows_keeps_its_statistics(network, scene):
    width = network.classifier.in_channels
    known = FeatureStatistics(
        torch.full((4, width), 2.0), torch.full((4, width), 0.5), torch.tensor([0.0, 5, 5, 7])
    )
    found = feature_statistics(network, [scene], size=64, device=CPU, previous=known)
    torch.testing.assert_close(found.means[3], known.means[3])
    torch.testing.assert_close(found.deviations[3], known.deviations[3])
    assert found.counts[3] == 7
    assert not torch.allclose(found.means[1], known.means[1]), "shown: measured anew"


def statistics(width: int) -> FeatureStatistics:
    means = torch.arange(3.0 * width).reshape(3, width)
    return FeatureStatistics(means, torch.full((3, width), 0.5), torch.tensor([0.0, 10, 1000]))


def test_draws_have_the_means_and_deviations_that_were_kept():
    features, classes = statistics(5).drawn(torch.Generator().manual_seed(0), of_each=20_000)
    assert torch.bincount(classes).tolist() == [0, 20_000, 20_000], "none of a class without pixels"
    for label in (1, 2):
        own = features[classes == label]
        torch.testing.assert_close(own.mean(dim=0), statistics(5).means[label], rtol=0, atol=0.02)
        torch.testing.assert_close(own.std(dim=0), torch.full((5,), 0.5), rtol=0, atol=0.02)


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_term_is_the_cross_entropy_of_maps_of_one_drawn_feature_each(kernel):
    torch.manual_seed(0)
    classifier = torch.nn.Conv2d(5, 4, kernel, padding=kernel // 2)
    replay = PrototypeReplay(statistics(5), weight=0.3, seed=7)
    replay.draw(3)
    maps = replay.features[:, :, None, None].expand(-1, -1, 3, 3)
    expected = functional.cross_entropy(classifier(maps)[:, :, 1, 1], replay.classes)
    torch.testing.assert_close(replay.term(classifier), 0.3 * expected)


def context(memory: MemoryVersion | None, scene: LabelledScene, *, n_classes: int) -> LearnerContext:
    """As a training job makes it."""
    architecture = Architecture(encoder="tu-test_resnet", n_classes=n_classes)
    classes = [ClassInfo(name=f"class {label}", colour=(label, 0, 0)) for label in range(n_classes)]
    return LearnerContext(
        card=ModelCard(
            architecture=architecture,
            normalisation=identity(3),
            label_space=LabelSpace(classes=tuple(classes)),
            method="",
            parameters={},
        ),
        memory=memory,
        scenes=lambda _: [scene],
        crops=lambda scenes, **_: RandomCrops(scenes, size=64, batch=1, seed=0),
        crop=64,
        optimisation=Optimisation(iterations=4, lr=0.01, precision="float32"),
        device=CPU,
        seed=0,
        new_network=lambda: Segmenter(architecture, identity(3)),
    )


def learner_of(
    *args: object, overrides: dict[str, object] | None = None, **kwargs: object
) -> ContinualLearner:
    torch.manual_seed(0)
    preset = get_dense_preset("star-like/mib-replay", {"epochs": None, "crop": 64, **(overrides or {})})
    return CONTINUAL.build(CONTINUAL.parameters(preset=preset), context(*args, **kwargs))


@pytest.fixture(scope="module")
def first_task(scene):
    learner = learner_of(None, scene, n_classes=3)
    terms: list[set[str]] = []
    fit = Fit(learner, learner_optimisation())
    fit.run(on_iteration=lambda report: terms.append(set(report.terms)))
    assert terms[-1] == {"cross_entropy"}, "a first task has nothing to replay"
    kept = learner.artefacts()
    return MemoryVersion(network=learner.network.eval(), artefact=kept.get)


def learner_optimisation() -> Optimisation:
    return Optimisation(iterations=4, lr=0.01, precision="float32")


def later(scene: LabelledScene) -> LabelledScene:
    """The same image with masks of a second task: class 3 where class 1 was, the rest background."""
    lookup = np.zeros(256, np.uint8)
    lookup[1], lookup[IGNORE] = 3, IGNORE
    return LabelledScene(image=scene.image, mask=scene.mask, lookup=lookup)


def test_what_a_task_keeps_the_next_one_draws_from_and_hands_on(first_task, scene):
    before = FeatureStatistics(**first_task.artefact(STATISTICS_ARTEFACT))
    assert before.counts.nonzero().flatten().tolist() == [1, 2]
    learner = learner_of(first_task, later(scene), n_classes=4)
    terms: list[set[str]] = []
    Fit(learner, learner_optimisation()).run(on_iteration=lambda report: terms.append(set(report.terms)))
    assert terms[-1] == {"cross_entropy", "distillation", "replay"}
    after = FeatureStatistics(**learner.artefacts()[STATISTICS_ARTEFACT])
    assert after.counts.nonzero().flatten().tolist() == [1, 2, 3]
    torch.testing.assert_close(after.means[1:3], before.means[1:3])
    assert after.counts[3] == before.counts[1], "the same pixels under a new label"


def test_each_iteration_draws_anew_and_a_resumed_training_draws_the_same(first_task, scene):
    def fit() -> Fit:
        return Fit(learner_of(first_task, later(scene), n_classes=4), learner_optimisation())

    whole, values = fit(), []
    whole.run(on_iteration=lambda report: values.append(report.terms["replay"]))
    stopped = fit()
    stopped.run(until=2)
    resumed, again = fit(), []
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    resumed.run(on_iteration=lambda report: again.append(report.terms["replay"]))
    assert again == values[2:]
    still = PrototypeReplay(FeatureStatistics(**first_task.artefact(STATISTICS_ARTEFACT)), weight=1, seed=0)
    still.draw(0)
    first = still.features
    still.draw(1)
    assert not torch.equal(still.features, first)


def test_versions_that_keep_no_statistics_are_refused(first_task, scene):
    bare = MemoryVersion(network=first_task.network, artefact=lambda _: None)
    with pytest.raises(InvalidParameterError, match="keeps no statistics"):
        learner_of(bare, later(scene), n_classes=4)
    learner_of(bare, later(scene), n_classes=4, overrides={"replay": 0})
    with pytest.raises(InvalidParameterError, match="each is decided by itself"):
        get_dense_preset("mib-paper/lwf-mc", {"replay": 1})


def test_first_tasks_keep_statistics_whatever_the_weight():
    firsts = {
        first_task_of(get_dense_preset("star-like/mib-replay", {"replay": one})).model_dump_json()
        for one in (1, 9)
    }
    assert len(firsts) == 1
    assert '"replay":0.0' in firsts.pop()


def test_a_classifier_that_never_sees_an_old_class_keeps_it_by_its_draws(network):
    """Batches show the background alone, so without draws old features become background."""
    width = network.classifier.in_channels
    kept = FeatureStatistics(
        torch.stack([torch.zeros(width), torch.ones(width), -torch.ones(width), torch.zeros(width)]),
        torch.full((4, width), 0.1),
        torch.tensor([0.0, 9, 9, 0]),
    )
    told = {}
    for replay in (None, PrototypeReplay(kept, weight=1.0, seed=0)):
        torch.manual_seed(0)
        learner = ContinualLearner(
            network.extend(1),
            lambda output, batch: {"cross_entropy": functional.cross_entropy(output.logits, batch.labels)},
            lambda iteration: Batch(
                pixels=torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(iteration)),
                labels=torch.zeros(1, 64, 64, dtype=torch.int64),
            ),
            anchor=None,
            prototypes=None,
            fused_with=None,
            replay=replay,
        )
        Fit(learner, Optimisation(iterations=30, lr=0.03, precision="float32")).run()
        logits = learner.network.classifier(kept.means[[1, 2], :, None, None])[:, :, 0, 0]
        told[replay is not None] = logits.argmax(dim=1).tolist()
    assert 0 in told[False]
    assert told[True] == [1, 2]
