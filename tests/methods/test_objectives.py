"""One battery for every method: its loss of a batch is finite and reaches the network."""

import pytest
import torch

from icss_core.losses import Prototypes, partial_cross_entropy, sdr_terms, unbiased_distillation
from icss_core.methods import METHODS, StepContext
from icss_core.networks.segmenter import SegmenterOutput
from icss_core.sampling import Batch


@pytest.fixture
def context():
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(3, 8, generator=generator)
    return StepContext(n_old=2, n_classes=3, prototypes=Prototypes(means, torch.tensor([5.0, 5.0, 0.0])))


@pytest.fixture
def output():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 64, 64, generator=generator, requires_grad=True)
    features = torch.rand(2, 8, 2, 2, generator=generator, requires_grad=True)
    return SegmenterOutput(logits, features, logits)


def batch(labelled: bool) -> Batch:
    labels = torch.full((2, 64, 64), 255)
    if labelled:
        labels[0, 1, 1], labels[0, 40, 40], labels[1, 9, 50], labels[1, 9, 51] = 0, 1, 2, 2
    generator = torch.Generator().manual_seed(2)
    memory = torch.randn(2, 2, 64, 64, generator=generator).bfloat16()
    return Batch(pixels=torch.zeros(2, 3, 64, 64), labels=labels, memory_logits=memory)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("labelled", [True, False])
class TestEveryMethod:
    def test_loss_is_finite_with_a_gradient(self, name, labelled, context, output):
        method = METHODS[name]
        terms = method.objective(method.parameters(), context)(output, batch(labelled))
        total = sum(terms.values())
        assert torch.isfinite(total)
        total.backward()
        assert torch.isfinite(output.logits.grad).all()
        assert (output.logits.grad.abs().sum() > 0) == (labelled or name == "icss")

    def test_objective_keeps_no_state(self, name, labelled, context, output):
        method = METHODS[name]
        objective = method.objective(method.parameters(), context)
        first, second = objective(output, batch(labelled)), objective(output, batch(labelled))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[term], second[term]) for term in first)


def test_terms_are_the_losses_times_their_weights(context, output):
    one = batch(labelled=True)
    sdr = METHODS["sdr"]
    weighted = sdr.objective(sdr.parameters(match=2, attract=0, repulse=0.5), context)(output, one)
    plain = sdr_terms(
        output.features,
        one.labels,
        context.prototypes.means,
        context.prototypes.valid,
        assignment="pooled",
    )
    torch.testing.assert_close(weighted["match"], 2 * plain.match)
    assert weighted["attract"] == 0
    torch.testing.assert_close(weighted["repulse"], 0.5 * plain.repulse)
    torch.testing.assert_close(weighted["cross_entropy"], partial_cross_entropy(output.logits, one.labels))

    icss = METHODS["icss"]
    terms = icss.objective(icss.parameters(distillation=3), context)(output, one)
    expected = 3 * unbiased_distillation(output.logits, one.memory_logits.float())
    torch.testing.assert_close(terms["distillation"], expected)
