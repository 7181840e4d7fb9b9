"""Statistics of features against NumPy over every pixel, and what a classifier learns from draws."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from icss_core.continual.feature_replay import FeatureReplay, FeatureStatistics, feature_statistics
from icss_core.data.batch import Batch
from icss_core.data.labelled_scene import LabelledScene
from icss_core.labels import IGNORE
from icss_core.learners.continual import ContinualLearner
from icss_core.networks import Architecture, Segmenter, identity
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
    replay = FeatureReplay(statistics(5), weight=0.3, seed=7)
    replay.draw(3)
    features, classes = replay.features, replay.classes
    maps = features[:, :, None, None].expand(-1, -1, 3, 3)
    expected = functional.cross_entropy(classifier(maps)[:, :, 1, 1], classes)
    torch.testing.assert_close(replay(classifier), 0.3 * expected)


def test_draws_follow_from_seed_and_iteration_so_a_resumed_training_sees_the_same():
    one, two = (FeatureReplay(statistics(5), weight=1, seed=7) for _ in range(2))
    one.draw(1)
    first = one.features
    one.draw(2)
    two.draw(2)
    assert torch.equal(one.features, two.features)
    assert not torch.equal(one.features, first)


def test_a_classifier_that_never_sees_an_old_class_keeps_it_by_its_draws(network):
    """Batches show the background alone, so without draws old features become background."""
    width = network.classifier.in_channels
    kept = FeatureStatistics(
        torch.stack([torch.zeros(width), torch.ones(width), -torch.ones(width), torch.zeros(width)]),
        torch.full((4, width), 0.1),
        torch.tensor([0.0, 9, 9, 0]),
    )
    told = {}
    for replay in (None, FeatureReplay(kept, weight=1.0, seed=0)):
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
        terms = []
        plan = Optimisation(iterations=30, lr=0.03, precision="float32")
        Fit(learner, plan).run(on_iteration=lambda report, terms=terms: terms.append(report.terms))
        assert ("replay" in terms[-1]) == (replay is not None)
        logits = learner.network.classifier(kept.means[[1, 2], :, None, None])[:, :, 0, 0]
        told[replay is not None] = logits.argmax(dim=1).tolist()
    assert 0 in told[False]
    assert told[True] == [1, 2]
