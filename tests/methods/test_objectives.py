"""One battery for every preset: its loss of a batch is finite, reaches the network, and is what it says."""

import pytest
import torch

from icss_core.losses import (
    Prototypes,
    draw_anchors,
    festa_terms,
    memory_label_cross_entropy,
    partial_cross_entropy,
    pooled_distillation,
    sdr_terms,
    unbiased_distillation,
)
from icss_core.methods import REGULARISERS, StepContext, build_objective, get_preset, preset_names
from icss_core.networks.segmenter import SegmenterOutput
from icss_core.sampling import Batch

ALL = {name: {} for name in REGULARISERS}
MEMORY_FEATURES = torch.rand(2, 8, 2, 2, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def context():
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(3, 8, generator=generator)
    return StepContext(
        n_classes=3,
        iterations=300,
        learning_steps=30,
        prototypes=Prototypes(means, torch.tensor([5.0, 5.0, 0.0])),
        memory_features=lambda _: MEMORY_FEATURES,
    )


@pytest.fixture
def output():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 64, 64, generator=generator, requires_grad=True)
    features = torch.rand(2, 8, 2, 2, generator=generator, requires_grad=True)
    return SegmenterOutput(logits, features, logits)


def batch(labelled: bool = True, step: int = 0) -> Batch:
    labels = torch.full((2, 64, 64), 255)
    if labelled:
        labels[0, 1, 1], labels[0, 40, 40], labels[1, 9, 50], labels[1, 9, 51] = 0, 1, 2, 2
    generator = torch.Generator().manual_seed(2)
    memory = torch.randn(2, 2, 64, 64, generator=generator).bfloat16()
    return Batch(
        pixels=torch.zeros(2, 3, 64, 64),
        labels=labels,
        memory_logits=memory,
        memory_labels=memory.argmax(dim=1),
        step=step,
    )


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

    def test_a_new_step_keeps_nothing_of_the_one_before(self, name, labelled, context, output):
        preset = get_preset(name)
        first = build_objective(preset, context)(output, batch(labelled))
        second = build_objective(preset, context)(output, batch(labelled))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[term], second[term]) for term in first)


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
        },
    )
    terms = build_objective(preset, context)(output, one)
    plain = sdr_terms(
        output.features, one.labels, context.prototypes.means, context.prototypes.valid, assignment="pooled"
    )
    expected = {
        "cross_entropy": partial_cross_entropy(output.logits, one.labels),
        "match": 6 * plain.match,
        "attract": 0 * plain.attract,
        "repulse": 1.5 * plain.repulse,
        "distillation": 5 * unbiased_distillation(output.logits, one.memory_logits.float(), alpha=2),
        "podnet": 0.25 * pooled_distillation(output.features, MEMORY_FEATURES),
        "disca": 7 * memory_label_cross_entropy(output.logits, one.memory_labels),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)
    others = {"feature_neighbour", "spatial_neighbour", "far"}
    others |= {f"published_{term}" for term in ("match", "attract", "repulse")}
    assert terms.keys() == expected.keys() | others


def test_festa_draws_new_anchors_each_iteration_and_weighs_each_distance(context, output):
    objective = build_objective(get_preset("icss-paper/festa"), context)
    first, again, later = (objective(output, batch(step=step)) for step in (0, 0, 1))
    assert torch.equal(first["far"], again["far"])
    assert not torch.equal(first["far"], later["far"])
    everywhere = festa_terms(output.logits, draw_anchors(64, 64, share=1))
    assert first["far"].item() == pytest.approx(everywhere.far.mean().item(), rel=0.1)
    assert first["feature_neighbour"].item() == pytest.approx(
        0.5 * everywhere.feature_neighbour.mean().item(), rel=0.3
    )
    assert first["spatial_neighbour"].item() == pytest.approx(
        1.5 * everywhere.spatial_neighbour.mean().item(), rel=0.3
    )


def test_published_disca_fades_with_the_learning_steps(context, output):
    paper = build_objective(get_preset("icss-paper/disca"), context)
    code = build_objective(get_preset("icss-code/disca"), context)
    for step, divisor in ((0, 1), (9, 1), (10, 2), (299, 30)):
        faded, constant = (objective(output, batch(step=step))["disca"] for objective in (code, paper))
        torch.testing.assert_close(faded, constant / divisor)


def test_published_sdr_compares_with_the_batch_before(context, output):
    objective = build_objective(
        get_preset("icss-code/sdr", {"regularisers.sdr_published.every_label": True}), context
    )
    first, second = objective(output, batch()), objective(output, batch())
    assert first["published_match"] > 0  # the prototypes before the first batch are zeros
    assert second["published_match"] == 0
    assert torch.equal(first["published_repulse"], second["published_repulse"])


def test_learning_steps_divide_the_iterations_as_evenly_as_they_can():
    context = StepContext(n_classes=3, iterations=44, learning_steps=30)
    numbers = [context.learning_step(step) for step in range(44)]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 31))
    assert StepContext(n_classes=3, iterations=4, learning_steps=30).learning_step(3) <= 30


def test_scores_that_are_not_finite_reach_the_loss_and_not_an_index(context, output):
    broken = output._replace(logits=torch.full_like(output.logits, torch.nan))
    terms = build_objective(get_preset("icss-paper/festa"), context)(broken, batch())
    assert not torch.isfinite(terms["feature_neighbour"])
