"""The training loop against plain PyTorch, and its promises about resuming."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from icss_core.data.batch import Batch
from icss_core.errors import CancelledError, TrainingDivergedError
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.regularisation.weight_anchor import WeightAnchor
from icss_core.training import Fit, Optimisation, cross_entropy_objective


def network() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(Architecture(encoder="tu-test_resnet", n_classes=3), identity(3))


def batches(step: int) -> Batch:
    rng = np.random.default_rng(step)
    return Batch(
        pixels=torch.from_numpy(rng.random((2, 3, 64, 64), np.float32)),
        labels=torch.from_numpy(rng.integers(0, 3, (2, 64, 64))),
    )


def plan(**changes) -> Optimisation:
    return Optimisation(**{"lr": 1e-3, "iterations": 6, "precision": "float32", **changes})


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_loop_equals_plain_pytorch(optimiser):
    ours, theirs = network(), network()
    # running statistics: those of a batch of two amplify the last bit of a sum, which threads change
    changes = {"optimiser": optimiser, "weight_decay": 1e-3, "batch_norm": "statistics"}
    Fit(ours, cross_entropy_objective, plan(nesterov=optimiser == "sgd", **changes)).run(batches)
    if optimiser == "adam":
        # Adam's first steps are signs of gradients: only the same memory format rounds the same way
        theirs.to(memory_format=torch.channels_last)
        reference = torch.optim.Adam(theirs.parameters(), lr=1e-3, weight_decay=1e-3, fused=True)
    else:
        reference = torch.optim.SGD(
            theirs.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-3
        )
    theirs.eval()
    for step in range(6):
        batch = batches(step)
        loss = nn.functional.cross_entropy(theirs(batch.pixels).logits, batch.labels)
        reference.zero_grad()
        loss.backward()
        reference.step()
    for name, value in theirs.state_dict().items():
        # a tenth of what six steps of this size can move a weight
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-3, atol=6e-4)


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_a_batch_in_parts_is_learnt_like_the_whole(parts):
    """All pixels are labelled, so a mean over the batch is the mean of its parts by their sizes."""

    def four(step: int) -> Batch:
        both = batches(step), batches(step + 100)
        return Batch(
            pixels=torch.cat([one.pixels for one in both]), labels=torch.cat([one.labels for one in both])
        )

    optimisation = plan(optimiser="sgd", lr=0.01, batch_norm="statistics")
    whole, parted, losses = network(), network(), []
    Fit(whole, cross_entropy_objective, optimisation).run(four, on_step=lambda r: losses.append(r.loss))
    Fit(parted, cross_entropy_objective, optimisation.model_copy(update={"parts": parts})).run(
        four, on_step=lambda r: losses.append(r.loss)
    )
    assert losses[:6] == pytest.approx(losses[6:], rel=1e-4)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parted.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["ewc", "pi", "rw"])
def test_an_anchor_pulls_gathers_and_resumes(kind, tmp_path):
    def fit_of(module: Segmenter) -> Fit:
        start = dict(network().named_parameters())
        ones = {name: torch.ones_like(one) for name, one in start.items()}
        anchor = WeightAnchor(
            kind,
            weight=5.0,
            anchors={name: one.detach() for name, one in start.items()},
            importances={"fisher": ones, "score": ones},
            start=start,
            normalise=False,
            every=2,
        )
        return Fit(module, cross_entropy_objective, plan(optimiser="sgd", lr=0.01), anchor=anchor)

    free, held, again = network(), network(), network()
    Fit(free, cross_entropy_objective, plan(optimiser="sgd", lr=0.01)).run(batches)
    reports = []
    whole = fit_of(held)
    whole.run(batches, on_step=reports.append)
    assert reports[0].terms["anchor"] == 0
    assert reports[-1].terms["anchor"] > 0

    def way(module: Segmenter) -> float:
        pairs = zip(module.parameters(), network().parameters(), strict=True)
        return sum(float((one - other).detach().square().sum()) for one, other in pairs)

    assert way(held) < way(free)

    first = fit_of(again)
    first.run(batches, until=3)
    torch.save({"fit": first.state_dict(), "network": again.state_dict()}, tmp_path / "checkpoint")
    state = torch.load(tmp_path / "checkpoint", weights_only=True)
    resumed_network = network()
    resumed = fit_of(resumed_network)
    resumed_network.load_state_dict(state["network"])
    resumed.load_state_dict(state["fit"])
    resumed.run(batches)
    end = {name: one.detach() for name, one in held.named_parameters()}
    expected, found = whole.anchor.gatherer.result(end), resumed.anchor.gatherer.result(end)
    for part, tensors in expected.items():
        for name, one in tensors.items():
            assert torch.equal(one, found[part][name]), (part, name)


@pytest.mark.parametrize("average_last", [0.0, 0.5])
def test_resuming_gives_bit_identical_weights(average_last, tmp_path):
    optimisation = plan(average_last=average_last, schedule="poly")
    whole = network()
    Fit(whole, cross_entropy_objective, optimisation).run(batches)

    first = network()
    fit = Fit(first, cross_entropy_objective, optimisation)
    fit.run(batches, until=4)
    torch.save({"fit": fit.state_dict(), "network": first.state_dict()}, tmp_path / "checkpoint")

    second = network()
    resumed = Fit(second, cross_entropy_objective, optimisation)
    state = torch.load(tmp_path / "checkpoint", weights_only=True)
    second.load_state_dict(state["network"])
    resumed.load_state_dict(state["fit"])
    assert resumed.step == 4
    resumed.run(batches)
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_average_of_last_weights_is_their_mean():
    seen = []
    module = network()
    fit = Fit(module, cross_entropy_objective, plan(average_last=0.5))
    fit.run(batches, on_step=lambda _: seen.append(weights(module)))
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.stack([w[name] for w in seen[3:]]).mean(0))


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({"schedule": "constant"}, lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0)),
        ({"schedule": "poly"}, lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 10, power=0.9)),
        ({"schedule": "cosine"}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10)),
        (
            {"schedule": "multistep", "milestones": (0.5, 0.8)},
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [5, 8]),
        ),
    ],
)
def test_learning_rate_follows_pytorchs_schedulers(changes, reference):
    rates = []
    Fit(network(), cross_entropy_objective, plan(iterations=10, **changes)).run(
        batches, on_step=lambda report: rates.append(report.lr)
    )
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = reference(optimiser)
    expected = []
    for _ in range(10):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("batch_norm", "statistics_move", "scale_moves"),
    [("train", True, True), ("statistics", False, True), ("all", False, False)],
)
def test_batch_norm_modes(batch_norm, statistics_move, scale_moves):
    module = network()
    before = copy.deepcopy(module)
    Fit(module, cross_entropy_objective, plan(batch_norm=batch_norm)).run(batches)
    layer, old = next(module.batch_norms()), next(before.batch_norms())
    assert torch.equal(layer.running_mean, old.running_mean) != statistics_move
    assert torch.equal(layer.weight, old.weight) != scale_moves


def test_reports_name_terms_and_time():
    reports = []
    Fit(network(), cross_entropy_objective, plan(iterations=2)).run(batches, on_step=reports.append)
    assert [report.step for report in reports] == [1, 2]
    for report in reports:
        assert report.terms == {"cross_entropy": pytest.approx(report.loss)}
        assert report.samples == 2
        assert 0 <= report.input_wait <= report.seconds


def test_stop_request_ends_the_loop():
    fit = Fit(network(), cross_entropy_objective, plan())
    with pytest.raises(CancelledError, match="after 2 of 6"):
        fit.run(batches, should_stop=lambda: fit.step == 2)


def test_undefined_loss_is_an_error_and_changes_nothing():
    def broken(step: int) -> Batch:
        batch = batches(step)
        return Batch(pixels=batch.pixels * (float("nan") if step == 1 else 1), labels=batch.labels)

    module = network()
    fit = Fit(module, cross_entropy_objective, plan(batch_norm="statistics"))
    fit.run(broken, until=1)
    before = weights(module)
    with pytest.raises(TrainingDivergedError, match="iteration 2"):
        fit.run(broken)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_errors_of_the_batches_reach_the_caller():
    def failing(step: int) -> Batch:
        if step == 1:
            raise OSError("no such tile")
        return batches(step)

    with pytest.raises(OSError, match="no such tile"):
        Fit(network(), cross_entropy_objective, plan()).run(failing)


def test_bfloat16_learns_like_float32():
    losses = {}
    for precision in ("float32", "bfloat16"):
        history = []
        fit = Fit(network(), cross_entropy_objective, plan(iterations=30, precision=precision))
        fit.run(halves, on_step=lambda report, into=history: into.append(report.loss))
        losses[precision] = history
    assert losses["bfloat16"][-1] < 0.5 * losses["bfloat16"][0]
    assert losses["bfloat16"][-1] == pytest.approx(losses["float32"][-1], abs=0.1)


def halves(step: int) -> Batch:
    """A dark left half of class 0, a bright right half of class 1."""
    labels = torch.zeros(2, 64, 64, dtype=torch.int64)
    labels[:, :, 32:] = 1
    return Batch(pixels=batches(step).pixels * 0.2 + labels[:, None], labels=labels)
