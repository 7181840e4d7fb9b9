"""The memory network's output of a batch: its own, asked for once, without gradient."""

from __future__ import annotations

import pytest
import torch

from icss_core.data.batch import Batch
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.training.online_memory import OnlineMemory

CPU = torch.device("cpu")


@pytest.fixture
def memory() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(Architecture(encoder="tu-test_resnet", n_classes=3), identity(3))


def batch(seed: int) -> Batch:
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    return Batch(pixels=pixels, labels=torch.zeros(2, 64, 64, dtype=torch.long))


def test_each_batch_is_computed_once_for_all_who_ask(memory) -> None:
    online, asked = OnlineMemory(memory, device=CPU, precision="float32"), []
    memory.register_forward_hook(lambda *_: asked.append(1))
    one, two = batch(1), batch(2)
    first = online(one)
    assert online(one) is first
    second = online(two)
    assert second is not first
    assert len(asked) == 2
    assert not torch.equal(first.logits, second.logits)
    assert online(batch(1)).logits.equal(first.logits), "pixels that are equal, but a batch of its own"
    assert len(asked) == 3


def test_it_is_the_network_as_it_predicts_without_gradient(memory) -> None:
    memory.train()
    statistics = {name: value.clone() for name, value in memory.named_buffers()}
    output = OnlineMemory(memory, device=CPU, precision="float32")(batch(1))
    assert not output.logits.requires_grad
    assert output.levels == ()
    assert all(torch.equal(value, statistics[name]) for name, value in memory.named_buffers())
    with torch.no_grad():
        expected = memory.eval()(batch(1).pixels)
    torch.testing.assert_close(output.logits, expected.logits)
    torch.testing.assert_close(output.features, expected.features)


def test_losses_of_another_network_can_be_taken_against_it(memory) -> None:
    network = memory.extend(1)
    one = batch(1)
    target = OnlineMemory(memory, device=CPU, precision="float32")(one).features
    (network(one.pixels).features - target).square().sum().backward()
    assert all(weight.grad is None for weight in memory.parameters())


def test_levels_are_given_where_they_are_wanted(memory) -> None:
    output = OnlineMemory(memory, device=CPU, precision="float32", with_levels=True)(batch(1))
    with torch.no_grad():
        expected = memory(batch(1).pixels, with_levels=True).levels
    assert len(output.levels) == len(expected) > 1
    for one, other in zip(output.levels, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_it_computes_in_the_trainings_precision(memory) -> None:
    exact = OnlineMemory(memory, device=CPU, precision="float32")(batch(1))
    narrow = OnlineMemory(memory, device=CPU, precision="bfloat16")(batch(1))
    assert exact.features.dtype == torch.float32
    assert narrow.features.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.features.float(), exact.features, rtol=0.1, atol=0.05)
