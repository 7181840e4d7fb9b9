from __future__ import annotations

import pytest
import torch
from golden_cases import GoldenCase, golden_cases

from icss_core.errors import InvalidParameterError
from icss_core.regularisation.importance import FISHER, SCORE
from icss_core.regularisation.weight_anchor import WeightAnchor

PARTS = {"ewc": (FISHER,), "pi": (SCORE,), "rw": (FISHER, SCORE)}


def stored(case: GoldenCase, prefix: str) -> dict[str, torch.Tensor]:
    """All outputs below a prefix by the rest of their names."""
    start = f"out.{prefix}."
    return {
        key.removeprefix(start): torch.from_numpy(value)
        for key, value in case.arrays.items()
        if key.startswith(start)
    }


def parameters(case: GoldenCase, where: str) -> dict[str, torch.Tensor]:
    """Weights before an iteration, with the gradients of the data's loss."""
    found = {}
    for name, value in stored(case, f"{where}.param").items():
        found[name] = torch.nn.Parameter(value)
        found[name].grad = stored(case, f"{where}.grad")[name]
    return found


@pytest.mark.parametrize("kind", ["ewc", "pi", "rw"])
def test_two_steps_match_reference_values(kind):
    """The published classes, driven through two trainings, say what each iteration saw and what came out."""
    for case in golden_cases("mib", f"penalty_{kind}"):
        numbers = {key: case.constants[key] for key in ("every",)} | {"decay": case.constants["alpha"]}
        numbers["normalise"] = "not normalised" not in case.entry["variant"]
        first = WeightAnchor(
            kind, weight=1.0, anchors={}, importances={}, start=parameters(case, "first.0"), **numbers
        )
        for step in range(case.constants["steps_first"]):
            assert first.add_gradients(parameters(case, f"first.{step}")).item() == 0
        memory = stored(case, "first.final")
        gathered = first.gatherer.result(memory)
        for part in PARTS[kind]:
            check(case, f"first.{part}", gathered[part])

        weight = case.constants["penalty_weight_second"]
        second = WeightAnchor(
            kind,
            weight=weight,
            anchors=memory,
            importances=gathered,
            start=parameters(case, "second.0"),
            **numbers,
        )
        for step in range(case.constants["steps_second"]):
            now = parameters(case, f"second.{step}")
            before = {name: one.grad.clone() for name, one in now.items()}
            penalty = second.add_gradients(now)
            expected = float(case.arrays[f"out.second.{step}.penalty"])
            assert penalty.item() == pytest.approx(weight * expected, rel=1e-8, abs=1e-14)
            added = {name: (one.grad - before[name]) / weight for name, one in now.items()}
            check(case, f"second.{step}.penalty_grad", added)
        gathered = second.gatherer.result(stored(case, "second.final"))
        for part in PARTS[kind]:
            check(case, f"second.{part}", gathered[part])


def check(case: GoldenCase, prefix: str, found: dict[str, torch.Tensor]) -> None:
    for name in stored(case, prefix):
        case.check(f"{prefix}.{name}", found[name], torch.float64)


def start(value: float = 0.0) -> dict[str, torch.Tensor]:
    return {"body": torch.full((3, 2), value), "head": torch.full((2, 3), value)}


def with_gradient(values: dict[str, torch.Tensor], gradient: float) -> dict[str, torch.nn.Parameter]:
    made = {name: torch.nn.Parameter(one.clone()) for name, one in values.items()}
    for one in made.values():
        one.grad = torch.full_like(one, gradient)
    return made


@pytest.mark.parametrize("kind", ["ewc", "pi", "rw"])
class TestEveryKind:
    def test_the_added_gradient_is_that_of_the_penalty(self, kind):
        """Against autograd on the penalty written out, with a head that has grown by two rows."""
        generator = torch.Generator().manual_seed(0)
        anchors = {name: torch.randn(one.shape, generator=generator) for name, one in start().items()}
        importances = {
            part: {name: torch.rand(one.shape, generator=generator) for name, one in start().items()}
            for part in PARTS[kind]
        }
        grown = {"body": anchors["body"] + 0.3, "head": torch.cat([anchors["head"] - 0.2, torch.ones(2, 3)])}
        anchor = WeightAnchor(
            kind, weight=0.7, anchors=anchors, importances=importances, start=grown, normalise=False
        )
        now = with_gradient(grown, 0.25)
        value = anchor.add_gradients(now)
        written = {name: one.clone().requires_grad_() for name, one in grown.items()}
        expected = sum(
            0.7 * (importances[part][name] * (written[name][: len(old)] - old) ** 2).sum()
            for part in PARTS[kind]
            for name, old in anchors.items()
        )
        expected.backward()
        torch.testing.assert_close(value, expected.detach())
        for name, one in now.items():
            torch.testing.assert_close(one.grad, written[name].grad + 0.25)

    def test_a_training_that_goes_on_from_its_state_gathers_the_same(self, kind):
        def run(restart: bool) -> dict[str, dict[str, torch.Tensor]]:
            def make() -> WeightAnchor:
                return WeightAnchor(kind, weight=1.0, anchors={}, importances={}, start=start(), every=2)

            anchor, values = make(), start()
            for step in range(6):
                if restart and step == 3:
                    state = anchor.gatherer.state_dict()
                    anchor = make()
                    anchor.gatherer.load_state_dict(state)
                gradient = 0.1 * (step + 1)
                anchor.add_gradients(with_gradient(values, gradient))
                values = {name: one - 0.5 * gradient for name, one in values.items()}
            return anchor.gatherer.result(values)

        whole, parted = run(restart=False), run(restart=True)
        for part, tensors in whole.items():
            for name, one in tensors.items():
                assert one.abs().sum() > 0
                assert torch.equal(one, parted[part][name])

    def test_a_memory_network_without_importances_is_refused(self, kind):
        with pytest.raises(InvalidParameterError, match="train it with the same method"):
            WeightAnchor(kind, weight=1.0, anchors=start(), importances={}, start=start())


def test_an_unknown_kind_is_named():
    with pytest.raises(InvalidParameterError, match="unknown importance 'mas'"):
        WeightAnchor("mas", weight=1.0, anchors={}, importances={}, start={})
