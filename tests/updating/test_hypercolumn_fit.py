"""The fit of the hypercolumn head, against loops, NumPy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier
from torch.nn import functional

from icss_core.methods import HypercolumnRule
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.updating.column_samples import ColumnCollector, ColumnSamples
from icss_core.updating.hypercolumn_fit import _Batches, fit_hypercolumn

RULE = HypercolumnRule(iterations=60, units=32, members=4)


def network(units: int = 32, n_classes: int = 3) -> Segmenter:
    torch.manual_seed(0)
    architecture = Architecture(encoder="tu-test_resnet", n_classes=n_classes)
    return Segmenter(architecture, identity(3)).eval().with_hypercolumn(units)


def rings(seed: int, number: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes by the distance from a centre in a plane that features see: no line separates them."""
    rng = np.random.default_rng(seed)
    places = rng.normal(0, 1, (number, 2))
    seen = places @ np.random.default_rng(99).normal(0, 1, (2, width)) + rng.normal(0, 0.5, (number, width))
    radius = np.hypot(places[:, 0], places[:, 1])
    return torch.from_numpy(seen * 5 + 100).float(), torch.from_numpy(np.digitize(radius, [0.8, 1.5]))


def samples_of(
    columns: torch.Tensor, classes: torch.Tensor, n_classes: int = 3, logits: torch.Tensor | None = None
) -> ColumnSamples:
    before = torch.zeros(len(classes), n_classes) if logits is None else logits
    clicked = torch.ones(len(classes), dtype=torch.bool)
    return ColumnSamples(columns, before, classes, columns.mean(0), columns.std(0), clicked)


@torch.no_grad()
def added_at(fitted: Segmenter, columns: torch.Tensor) -> torch.Tensor:
    """What the fitted head adds for columns, place by place."""
    head = fitted.hypercolumn
    matrix = torch.cat([one.weight[:, :, 0, 0] for one in head.projections], dim=1)
    units = functional.gelu(columns @ matrix.T + head.bias)
    return units @ head.classifier.weight[:, :, 0, 0].T + head.classifier.bias


def test_it_learns_what_an_mlp_of_scikit_learn_learns() -> None:
    rule = HypercolumnRule(iterations=300)
    fitted = network(rule.units)
    width = sum(fitted.hypercolumn.channels)
    columns, classes = rings(0, 400, width)
    fit_hypercolumn(fitted, samples_of(columns, classes), rule, seed=1)
    seen, truth = rings(1, 2000, width)
    ours = float((added_at(fitted, seen).argmax(1) == truth).float().mean())
    scaled = (columns - columns.mean(0)) / columns.std(0)
    theirs = MLPClassifier((32,), max_iter=2000, random_state=0).fit(scaled.numpy(), classes.numpy())
    score = theirs.score(((seen - columns.mean(0)) / columns.std(0)).numpy(), truth.numpy())
    assert ours > max(score - 0.03, 0.5), f"{ours:.2f} against {score:.2f}"


def test_the_network_gives_what_was_fitted() -> None:
    fitted = network()
    torch.manual_seed(3)
    pixels = torch.rand(1, 3, 64, 64)
    labels = torch.full((1, 64, 64), 255)
    labels[0, 10:20, 10:20], labels[0, 40:50, 40:50], labels[0, 5, 5:60] = 0, 1, 2
    collector = ColumnCollector()
    with torch.inference_mode():
        output = fitted(pixels, with_levels=True)
    collector.add(output.columns, output.logits, labels, labels != 255)
    samples = collector.samples()
    torch.testing.assert_close(samples.logits, output.logits[0][:, labels[0] != 255].T)
    before = float(functional.cross_entropy(samples.logits, samples.classes))
    loss = fit_hypercolumn(fitted, samples, RULE, seed=0).loss
    assert loss < 0.4 < before
    right = (samples.logits + added_at(fitted, samples.columns)).argmax(1) == samples.classes
    assert right.float().mean() > 0.95
    with torch.inference_mode():
        mapped = fitted(pixels).logits.argmax(1)
    assert (mapped[labels != 255] == labels[labels != 255]).float().mean() > 0.8


def test_columns_and_statistics_are_those_of_numpy() -> None:
    torch.manual_seed(0)
    fine, coarse = torch.randn(1, 3, 64, 64), torch.randn(1, 2, 32, 32) * 7 + 3
    labels = torch.full((1, 64, 64), 255)
    labels[0, 3, 4], labels[0, 60, 9], labels[0, 31, 31] = 2, 0, 1
    collector = ColumnCollector()
    logits = torch.randn(1, 3, 64, 64)
    for _ in range(2):
        collector.add([fine, coarse], logits, labels, labels == 1)
    samples = collector.samples()
    assert samples.classes.tolist() == [2, 1, 0, 2, 1, 0]
    assert samples.clicked.tolist() == [False, True, False] * 2
    kept = samples.clicks(torch.tensor([1.0, 2.0, 3.0]))
    expected = logits[0, :, 31, 31] - torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(kept.logits[0], expected.half())
    assert (kept.classes.tolist(), kept.known.tolist()) == ([1, 1], [3, 3])
    torch.testing.assert_close(kept.columns, samples.columns[[1, 4]].half())
    up = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    for row, (i, j) in zip(samples.columns, ((3, 4), (31, 31), (60, 9)), strict=False):
        torch.testing.assert_close(row, torch.cat([fine[0, :, i, j], up[0, :, i, j]]))
    np.testing.assert_allclose(samples.mean[:3], fine[0].numpy().mean((1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(samples.std[:3], fine[0].numpy().std((1, 2)), rtol=1e-4)
    np.testing.assert_allclose(samples.mean[3:], coarse[0].numpy().mean((1, 2)), rtol=1e-4)


def test_a_rare_class_is_not_drowned() -> None:
    fitted = network(n_classes=2)
    rng = np.random.default_rng(0)
    columns = torch.from_numpy(rng.normal(0, 1, (303, sum(fitted.hypercolumn.channels)))).float()
    classes = torch.zeros(303, dtype=torch.int64)
    classes[300:] = 1
    columns[300:, ::4] += 1
    fit_hypercolumn(fitted, samples_of(columns, classes, 2), RULE, seed=0)
    seen = torch.from_numpy(rng.normal(0, 1, (200, columns.shape[1]))).float()
    seen[100:, ::4] += 1
    found = added_at(fitted, seen).argmax(1)
    assert found[:100].float().mean() < 0.1
    assert found[100:].float().mean() > 0.5, "three labels against three hundred"


def test_a_feature_that_never_changes_does_no_harm() -> None:
    fitted = network(n_classes=2)
    columns, classes = rings(0, 100, sum(fitted.hypercolumn.channels))
    columns[:, 5] = 4.0
    std = torch.where(columns.std(0) > 0, columns.std(0), 1.0)
    collected = samples_of(columns, classes.clamp(max=1), 2)._replace(std=std)
    fit_hypercolumn(fitted, collected, RULE, seed=0)
    assert torch.isfinite(added_at(fitted, columns)).all()


def test_what_the_network_knows_need_not_be_learnt() -> None:
    """Logits that are right already leave nothing to add; wrong ones are corrected."""
    columns, classes = rings(0, 200, sum(network().hypercolumn.channels))
    sure = functional.one_hot(classes, 3).float() * 20
    sizes = []
    for logits in (sure, sure.roll(1, dims=1)):
        fitted = network()
        fit_hypercolumn(fitted, samples_of(columns, classes, logits=logits), RULE, seed=0)
        sizes.append(float(added_at(fitted, columns).abs().mean()))
    assert sizes[0] < 0.05 * sizes[1], sizes


def test_held_out_samples_foretell_what_new_ones_will_be() -> None:
    fitted = network(256)
    rule = HypercolumnRule(iterations=100)
    width = sum(fitted.hypercolumn.channels)
    columns, classes = rings(0, 300, width)
    found = fit_hypercolumn(fitted, samples_of(columns, classes), rule, seed=1).held_out
    judged = found >= 0
    assert judged.float().mean() > 0.9
    foretold = float((found == classes)[judged].float().mean())
    seen, truth = rings(1, 2000, width)
    came = float((added_at(fitted, seen).argmax(1) == truth).float().mean())
    learnt = float((added_at(fitted, columns).argmax(1) == classes).float().mean())
    assert abs(foretold - came) < 0.08 < learnt - foretold, (foretold, came, learnt)


def test_a_class_without_labels_is_told_from_the_background_as_before() -> None:
    fitted = network(n_classes=4)
    columns, classes = rings(0, 200, sum(fitted.hypercolumn.channels))
    without = torch.where(classes == 2, 3, classes)  # none of class 2
    fit_hypercolumn(fitted, samples_of(columns, without, 4), RULE, seed=0)
    added = added_at(fitted, columns)
    torch.testing.assert_close(added[:, 2], added[:, 0])
    assert (added[:, 1] - added[:, 0]).abs().mean() > 0.5


def test_a_second_fit_adds_to_the_first() -> None:
    columns, classes = rings(0, 200, sum(network().hypercolumn.channels))
    first = network()
    rule = RULE.model_copy(update={"iterations": 200})
    fit_hypercolumn(first, samples_of(columns, classes), rule, seed=0)
    second = first.with_hypercolumn(RULE.units)
    before = added_at(first, columns)
    fit_hypercolumn(second, samples_of(columns, 2 - classes, logits=before), rule, seed=0)
    for mine, theirs in zip(first.hypercolumn.projections, second.hypercolumn.projections, strict=True):
        assert torch.equal(mine.weight, theirs.weight[: RULE.units])
    assert torch.equal(
        first.hypercolumn.classifier.weight, second.hypercolumn.classifier.weight[:, : RULE.units]
    )
    right = [(one.argmax(1) == 2 - classes).float().mean() for one in (before, added_at(second, columns))]
    assert right[0] < 0.45 < 0.65 < right[1], right


def test_the_same_seed_gives_the_same_head() -> None:
    columns, classes = rings(0, 100, sum(network().hypercolumn.channels))
    found = []
    for seed in (4, 4, 5):
        fitted = network()
        fit_hypercolumn(fitted, samples_of(columns, classes), RULE, seed=seed)
        found.append(added_at(fitted, columns))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_members_share_the_units() -> None:
    with pytest.raises(ValueError, match="32 units are not 5 members"):
        HypercolumnRule(units=32, members=5)


def test_an_iteration_sees_a_part_of_many_labels_and_few_ones_whole() -> None:
    classes = torch.tensor([0] * 500 + [1] * 500 + [2] * 40)
    drawn: list[torch.Tensor] = []
    batches = _Batches(functional.one_hot(classes, 3).bool(), 240, torch.Generator().manual_seed(1))
    for _ in range(200):
        batch = batches.draw()
        drawn.append(batch.rows)
        assert torch.bincount(classes[batch.rows]).tolist() == [100, 100, 40]
        assert len(batch.rows.unique()) == 240, "without replacement"
        # in expectation the sum over a batch is that over all
        assert torch.bincount(classes[batch.rows], weights=batch.scale).tolist() == [500, 500, 40]
    often = torch.bincount(torch.cat(drawn))
    assert (often[classes == 2] == 200).all()
    assert abs(often[:1000].float() - 40).max() < 5 * (200 * 0.2 * 0.8) ** 0.5


def test_small_batches_learn_what_all_labels_teach() -> None:
    width = sum(network().hypercolumn.channels)
    columns, classes = rings(0, 2000, width)
    seen, truth = rings(1, 2000, width)
    right = {}
    for size in (128, 10**6):
        head = network(256)
        rule = HypercolumnRule(iterations=100, batch=size)
        fit_hypercolumn(head, samples_of(columns, classes), rule, seed=1)
        right[size] = float((added_at(head, seen).argmax(1) == truth).float().mean())
    assert right[128] > right[10**6] - 0.03 > 0.5, right
