"""One battery for every preset: its loss of a batch is finite, reaches the network, and is what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icss_core.data.batch import Batch
from icss_core.errors import InvalidParameterError
from icss_core.losses import (
    Prototypes,
    complete_background,
    completed_cross_entropy,
    draw_anchors,
    feature_distillation,
    festa_terms,
    image_level_loss,
    local_pod,
    memory_label_cross_entropy,
    merge_into_background,
    objectness_loss,
    partial_cross_entropy,
    plain_distillation,
    point_triplet_loss,
    pooled_distillation,
    possible_classes_cross_entropy,
    sdr_terms,
    sigmoid_cross_entropy,
    sigmoid_distillation,
    sparsity,
    unbiased_cross_entropy,
    unbiased_distillation,
)
from icss_core.methods import (
    REGULARISERS,
    ClickTask,
    Method,
    TaskContext,
    build_objective,
    get_dense_preset,
    get_preset,
    needs_of,
    preset_names,
    provide_from_clicks,
)
from icss_core.methods.memory_needs import MEMORY_LOGITS, PROTOTYPES, THRESHOLDS
from icss_core.methods.objectness import OBJECTNESS_MAP
from icss_core.networks.segmenter import SegmenterOutput

ALL = {name: {} for name in REGULARISERS if name != "objectness"}
"""All that an interactive preset may have."""
MEMORY_FEATURES = torch.rand(2, 8, 2, 2, generator=torch.Generator().manual_seed(3))

MEMORY_LEVELS = tuple(torch.ones(2, 5, side, side) for side in (64, 32, 16, 8, 4))


@pytest.fixture
def context():
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(3, 8, generator=generator)
    task = ClickTask(
        prototypes=Prototypes(means, torch.tensor([5.0, 5.0, 0.0])),
        memory_features=lambda _: MEMORY_FEATURES,
        memory_output=lambda one: SegmenterOutput(
            one.named("memory_logits").float(), MEMORY_FEATURES, torch.zeros(2, 4, 64, 64), MEMORY_LEVELS
        ),
    )
    needs = {need for one in REGULARISERS.values() for need in one.needs if need.from_clicks is not None}
    provided = provide_from_clicks(needs, task)
    return TaskContext(n_classes=3, n_old=2, iterations=300, rounds=30, provided=provided)


@pytest.fixture
def output():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 64, 64, generator=generator, requires_grad=True)
    features = torch.rand(2, 8, 2, 2, generator=generator, requires_grad=True)
    levels = tuple(torch.rand(one.shape, generator=generator) for one in MEMORY_LEVELS)
    decoded = torch.rand(2, 4, 64, 64, generator=generator)
    return SegmenterOutput(logits, features, decoded, levels)


def batch(labelled: bool = True, iteration: int = 0) -> Batch:
    labels = torch.full((2, 64, 64), 255)
    if labelled:
        labels[0, 1, 1], labels[0, 40, 40], labels[1, 9, 50], labels[1, 9, 51] = 0, 1, 2, 2
    generator = torch.Generator().manual_seed(2)
    memory = torch.randn(2, 2, 64, 64, generator=generator).bfloat16()
    return Batch(
        pixels=torch.zeros(2, 3, 64, 64),
        labels=labels,
        extras={
            "memory_logits": memory,
            "memory_labels": memory.argmax(dim=1),
            "possible": torch.tensor([[True, True, True], [True, False, True]]),
        },
        iteration=iteration,
    )


def with_extras(one: Batch, **extras: torch.Tensor) -> Batch:
    return replace(one, extras={**one.extras, **extras})


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("labelled", [True, False])
class TestEveryPreset:
    def test_loss_is_finite_with_a_gradient(self, name, labelled, context, output):
        preset = get_preset(name)
        total = sum(build_objective(preset, context)(output, batch(labelled)).values())
        assert torch.isfinite(total)
        total.backward()
        assert torch.isfinite(output.logits.grad).all()
        dense = preset.regularisers.keys() & {"distillation", "disca", "festa"}
        assert (output.logits.grad.abs().sum() > 0) == (labelled or bool(dense))

    def test_a_new_objective_keeps_nothing_of_the_one_before(self, name, labelled, context, output):
        preset = get_preset(name)
        first = build_objective(preset, context)(output, batch(labelled))
        second = build_objective(preset, context)(output, batch(labelled))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[term], second[term]) for term in first)


def naive_sdr(features, one, means):
    """SDR's own terms, pixel by pixel: features where the pixel lies, no mean for the background."""
    stride = one.labels.shape[1] // features.shape[2]
    rows, old = {}, {}
    for image, row, col in np.ndindex(*one.labels.shape):
        feature = features[image, :, row // stride, col // stride]
        label, seen = int(one.labels[image, row, col]), int(one.named("memory_labels")[image, row, col])
        if label not in (0, 255):
            rows.setdefault(label, []).append(feature)
        if label == 0 and seen not in (0, 255):
            old.setdefault(seen, []).append(feature)
    found = {label: torch.stack(some) for label, some in rows.items()}
    own = {label: some.mean(0) for label, some in found.items()}
    spread = [((some - own[label]) ** 2).mean() for label, some in found.items()]
    apart = [1 / (own[a] - own[b]).norm() for a in own for b in own if a != b]
    match = [((torch.stack(some).mean(0) - means[label]) ** 2).mean() for label, some in old.items()]
    zero = features.sum() * 0
    coarse = one.labels[:, ::stride, ::stride]
    return {
        "sdr_match": sum(match) / len(match) if match else zero,
        "sdr_attract": 1e-3 * sum(spread) / max(len(spread), 1) if spread else zero,
        "sdr_separate": 1e-3 * sum(apart) / len(apart) if apart else zero,
        "sdr_sparse": 1e-3 * sparsity(features, coarse),
    }


def test_sdr_matches_each_old_class_with_its_own_mean(context, output):
    one = batch()
    seen = torch.randint(0, 3, one.labels.shape, generator=torch.Generator().manual_seed(4))
    one = with_extras(replace(one, labels=torch.zeros_like(one.labels)), memory_labels=seen)
    means = torch.rand(4, output.features.shape[1], generator=torch.Generator().manual_seed(5))
    provided = {**context.provided, "prototypes": Prototypes(means, torch.ones(4))}
    several = replace(context, n_classes=4, n_old=3, provided=provided)
    preset = get_dense_preset(
        "sdr-paper/sdr", {"regularisers": {"sdr-match": {"weight": 1}}, "cross_entropy.weight": 0}
    )
    found = build_objective(preset, several)(output, one)["sdr_match"]
    expected = naive_sdr(output.features, one, means)["sdr_match"]
    assert len(seen.unique()) == 3
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_terms_are_the_losses_times_their_weights(context, output):
    one = batch()
    preset = get_preset(
        "icss-paper/sdr",
        {
            "regularisers": ALL,
            "regularisers.sdr": {"weight": 3, "match": 2, "attract": 0, "repulse": 0.5},
            "regularisers.distillation": {"weight": 5, "alpha": 2},
            "regularisers.podnet.weight": 0.25,
            "regularisers.disca.weight": 7,
            "regularisers.lwf.weight": 100,
            "regularisers.lwf-mc.weight": 10,
            "regularisers.features.weight": 3,
            "regularisers.local-pod.weight": 2,
            "regularisers.point-metric": {"weight": 4, "margin": 0.5, "per_class": 3},
        },
    )
    terms = build_objective(preset, context)(output, one)
    prototypes, memory_logits = context.of(PROTOTYPES), one.named("memory_logits").float()
    plain = sdr_terms(output.features, one.labels, prototypes.means, prototypes.valid, assignment="pooled")
    expected = {
        "cross_entropy": partial_cross_entropy(output.logits, one.labels),
        "match": 6 * plain.match,
        "attract": 0 * plain.attract,
        "repulse": 1.5 * plain.repulse,
        "distillation": 5 * unbiased_distillation(output.logits, memory_logits, alpha=2),
        "podnet": 0.25 * pooled_distillation(output.features, MEMORY_FEATURES),
        "disca": 7 * memory_label_cross_entropy(output.logits, one.named("memory_labels")),
        "lwf": 100 * plain_distillation(output.logits, memory_logits, alpha=1),
        "lwf_mc": 10 * sigmoid_distillation(output.logits, memory_logits),
        "features": 3 * feature_distillation(output.features, MEMORY_FEATURES),
        **naive_sdr(output.features, one, prototypes.means),
        "point_metric": 4 * point_triplet_loss(output.decoder_features, one.labels, margin=0.5, per_class=3),
        "possible": 0.1 * possible_classes_cross_entropy(output.logits, one.labels, one.named("possible")),
        "image_level": image_level_loss(output.logits, one.named("possible")),
        "local_pod": 2
        * 3**0.5
        * local_pod(
            [*output.levels[-4:], output.decoder_features, merge_into_background(output.logits, 2)],
            [*MEMORY_LEVELS[-4:], torch.zeros(2, 4, 64, 64), memory_logits],
            [0.01] * 5 + [0.0005],
        ),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)
    assert terms["point_metric"] > 0
    others = {"feature_neighbour", "spatial_neighbour", "far"}
    others |= {f"published_{term}" for term in ("match", "attract", "repulse")}
    assert terms.keys() == expected.keys() | others


@pytest.mark.parametrize("over", ["all", "labelled"])
def test_each_kind_of_cross_entropy_is_its_loss(over, context, output):
    one = batch()
    thresholds = torch.tensor([0.4, 0.4])
    completed = complete_background(one.labels, one.named("memory_logits"), thresholds, n_classes=3)
    mean = partial_cross_entropy(output.logits, one.labels)
    knowing = replace(context, provided={**context.provided, "thresholds": thresholds})
    expected = {
        "mean": mean * 4 / (2 * 64 * 64) if over == "all" else mean,
        "unbiased": unbiased_cross_entropy(output.logits, one.labels, n_old=2, over=over),
        "sigmoid": sigmoid_cross_entropy(output.logits, one.labels, over=over),
        "completed": completed_cross_entropy(output.logits, completed),
    }
    for kind, value in expected.items():
        method = Method(name="x", method="x", cross_entropy={"kind": kind, "over": over})
        terms = build_objective(method, knowing)(output, one)
        assert terms.keys() == {"cross_entropy"}
        torch.testing.assert_close(terms["cross_entropy"], value, msg=kind)
        assert needs_of(method) == ({MEMORY_LOGITS, THRESHOLDS} if kind == "completed" else set())


def test_objectness_is_its_loss_where_it_is_known(context, output):
    likely = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(4))
    regularisers = {"objectness": {"weight": 0.5}}
    method = Method(name="x", method="x", cross_entropy={"weight": 0}, regularisers=regularisers)
    assert needs_of(method) == {OBJECTNESS_MAP}
    with pytest.raises(AssertionError, match="provided no objectness"):
        build_objective(method, context)
    task = replace(context, provided={"objectness": lambda one: one.named("objectness")})
    objective = build_objective(method, task)
    found = objective(output, with_extras(batch(), objectness=likely))
    assert found.keys() == {"objectness"}
    torch.testing.assert_close(found["objectness"], 0.5 * objectness_loss(output.logits, likely))
    rows = torch.arange(64) < 40
    partly = objective(output, with_extras(batch(), objectness=likely.masked_fill(~rows[:, None], torch.nan)))
    expected = 0.5 * objectness_loss(output.logits[:, :, :40], likely[:, :40])
    torch.testing.assert_close(partly["objectness"], expected)
    with pytest.raises(AssertionError, match="has no objectness"):
        objective(output, batch())


def test_labels_may_be_left_out_and_missing_ones_taken_for_background(context, output):
    one = batch()
    regularisers = {"image-level": {}}
    without = Method(name="x", method="x", cross_entropy={"weight": 0}, regularisers=regularisers)
    assert build_objective(without, context)(output, one).keys() == {"image_level"}
    with pytest.raises(InvalidParameterError, match="nothing to learn"):
        build_objective(Method(name="x", method="x", cross_entropy={"weight": 0}), context)
    filled = Method(name="x", method="x", cross_entropy={"unlabelled": "background", "weight": 0.5})
    expected = 0.5 * partial_cross_entropy(output.logits, torch.where(one.labels == 255, 0, one.labels))
    torch.testing.assert_close(build_objective(filled, context)(output, one)["cross_entropy"], expected)


def test_festa_draws_new_anchors_each_iteration_and_weighs_each_distance(context, output):
    objective = build_objective(get_preset("icss-paper/festa"), context)
    first, again, later = (objective(output, batch(iteration=iteration)) for iteration in (0, 0, 1))
    assert torch.equal(first["far"], again["far"])
    assert not torch.equal(first["far"], later["far"])
    everywhere = festa_terms(output.logits, draw_anchors(64, 64, fraction=1))
    assert first["far"].item() == pytest.approx(everywhere.far.mean().item(), rel=0.1)
    assert first["feature_neighbour"].item() == pytest.approx(
        0.5 * everywhere.feature_neighbour.mean().item(), rel=0.3
    )
    assert first["spatial_neighbour"].item() == pytest.approx(
        1.5 * everywhere.spatial_neighbour.mean().item(), rel=0.3
    )


def test_published_disca_fades_with_the_rounds(context, output):
    paper = build_objective(get_preset("icss-paper/disca"), context)
    code = build_objective(get_preset("icss-code/disca"), context)
    for iteration, divisor in ((0, 1), (9, 1), (10, 2), (299, 30)):
        faded, constant = (
            objective(output, batch(iteration=iteration))["disca"] for objective in (code, paper)
        )
        torch.testing.assert_close(faded, constant / divisor)


def test_published_sdr_compares_with_the_batch_before(context, output):
    objective = build_objective(
        get_preset("icss-code/sdr", {"regularisers.sdr_published.every_label": True}), context
    )
    first, second = objective(output, batch()), objective(output, batch())
    assert first["published_match"] > 0  # the prototypes before the first batch are zeros
    assert second["published_match"] == 0
    assert torch.equal(first["published_repulse"], second["published_repulse"])


def test_rounds_divide_the_iterations_as_evenly_as_they_can():
    context = TaskContext(n_classes=3, n_old=2, iterations=44, rounds=30)
    numbers = [context.round_of(iteration) for iteration in range(44)]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 31))
    assert TaskContext(n_classes=3, n_old=2, iterations=4, rounds=30).round_of(3) <= 30


def test_scores_that_are_not_finite_reach_the_loss_and_not_an_index(context, output):
    broken = output._replace(logits=torch.full_like(output.logits, torch.nan))
    terms = build_objective(get_preset("icss-paper/festa"), context)(broken, batch())
    assert not torch.isfinite(terms["feature_neighbour"])
