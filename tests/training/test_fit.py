"""The training loop against plain PyTorch, and its promises about resuming."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from icss_core.data.batch import Batch
from icss_core.errors import CancelledError, TrainingDivergedError
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.regularisation.weight_anchor import WeightAnchor
from icss_core.training import Fit, Optimisation, SegmentationLearner, cross_entropy_objective
from tests.batch_norms import batch_norms_of


def network() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(Architecture(encoder="tu-test_resnet", n_classes=3), identity(3))


def batches(step: int) -> Batch:
    rng = np.random.default_rng(step)
    return Batch(
        pixels=torch.from_numpy(rng.random((2, 3, 64, 64), np.float32)),
        labels=torch.from_numpy(rng.integers(0, 3, (2, 64, 64))),
    )


def fit_of(module: Segmenter, optimisation: Optimisation, samples=batches, anchor=None) -> Fit:
    learner = SegmentationLearner(module, cross_entropy_objective, samples, anchor=anchor)
    return Fit(learner, optimisation)


def plan(**changes) -> Optimisation:
    return Optimisation(**{"lr": 1e-3, "iterations": 6, "precision": "float32", **changes})


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_loop_equals_plain_pytorch(optimiser):
    ours, theirs = network(), network()
    # running statistics: those of a batch of two amplify the last bit of a sum, which threads change
    changes = {"optimiser": optimiser, "weight_decay": 1e-3, "batch_norm": "statistics"}
    fit_of(ours, plan(nesterov=optimiser == "sgd", **changes)).run()
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
    fit_of(whole, optimisation, four).run(on_iteration=lambda r: losses.append(r.loss))
    fit_of(parted, optimisation.model_copy(update={"parts": parts}), four).run(
        on_iteration=lambda r: losses.append(r.loss)
    )
    assert losses[:6] == pytest.approx(losses[6:], rel=1e-4)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parted.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["ewc", "pi", "rw"])
def test_an_anchor_pulls_gathers_and_resumes(kind, tmp_path):
    def anchored(module: Segmenter) -> tuple[Fit, WeightAnchor]:
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
        return fit_of(module, plan(optimiser="sgd", lr=0.01), anchor=anchor), anchor

    free, held, again = network(), network(), network()
    fit_of(free, plan(optimiser="sgd", lr=0.01)).run()
    reports = []
    whole, anchor = anchored(held)
    whole.run(on_iteration=reports.append)
    assert reports[0].terms["anchor"] == 0
    assert reports[-1].terms["anchor"] > 0

    def way(module: Segmenter) -> float:
        pairs = zip(module.parameters(), network().parameters(), strict=True)
        return sum(float((one - other).detach().square().sum()) for one, other in pairs)

    assert way(held) < way(free)

    first, _ = anchored(again)
    first.run(until=3)
    torch.save(first.state_dict(), tmp_path / "checkpoint")
    resumed, gathered = anchored(network())
    resumed.load_state_dict(torch.load(tmp_path / "checkpoint", weights_only=True))
    resumed.run()
    end = {name: one.detach() for name, one in held.named_parameters()}
    expected, found = anchor.gatherer.result(end), gathered.gatherer.result(end)
    for part, tensors in expected.items():
        for name, one in tensors.items():
            assert torch.equal(one, found[part][name]), (part, name)


@pytest.mark.parametrize("average_last", [0.0, 0.5])
def test_resuming_gives_bit_identical_weights(average_last, tmp_path):
    optimisation = plan(average_last=average_last, schedule="poly")
    whole = network()
    fit_of(whole, optimisation).run()
    fit = fit_of(network(), optimisation)
    fit.run(until=4)
    torch.save(fit.state_dict(), tmp_path / "checkpoint")

    second = network()
    resumed = fit_of(second, optimisation)
    resumed.load_state_dict(torch.load(tmp_path / "checkpoint", weights_only=True))
    assert resumed.iteration == 4
    resumed.run()
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_average_of_last_weights_is_their_mean():
    seen = []
    module = network()
    fit = fit_of(module, plan(average_last=0.5))
    fit.run(on_iteration=lambda _: seen.append(weights(module)))
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.stack([w[name] for w in seen[3:]]).mean(0))


def test_the_learner_is_told_of_the_end_once_and_after_the_average():
    seen, ends = [], []
    module = network()

    class Told(SegmentationLearner):
        def end(self) -> None:
            ends.append(weights(module))

    fit = Fit(Told(module, cross_entropy_objective, batches), plan(average_last=0.5))
    fit.run(until=4, on_iteration=lambda _: seen.append(weights(module)))
    assert not ends
    stopped = Fit(Told(network(), cross_entropy_objective, batches), plan())
    stopped.run(until=2)
    stopped.finish()
    stopped.finish()
    assert len(ends) == 1
    ends.clear()
    for _ in range(2):
        fit.run(on_iteration=lambda _: seen.append(weights(module)))
    assert len(ends) == 1
    for name, value in ends[0].items():
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
    fit_of(network(), plan(iterations=10, **changes)).run(on_iteration=lambda report: rates.append(report.lr))
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
    fit_of(module, plan(batch_norm=batch_norm)).run()
    layer, old = batch_norms_of(module)[0], batch_norms_of(before)[0]
    assert torch.equal(layer.running_mean, old.running_mean) != statistics_move
    assert torch.equal(layer.weight, old.weight) != scale_moves


def test_reports_name_terms_and_time():
    reports = []
    fit_of(network(), plan(iterations=2)).run(on_iteration=reports.append)
    assert [report.iteration for report in reports] == [1, 2]
    for report in reports:
        assert report.terms == {"cross_entropy": pytest.approx(report.loss)}
        assert report.samples == 2
        assert 0 <= report.input_wait <= report.seconds


def test_stop_request_ends_the_loop():
    fit = fit_of(network(), plan())
    with pytest.raises(CancelledError, match="after 2 of 6"):
        fit.run(should_stop=lambda: fit.iteration == 2)


def test_undefined_loss_is_an_error_and_changes_nothing():
    def broken(step: int) -> Batch:
        batch = batches(step)
        return Batch(pixels=batch.pixels * (float("nan") if step == 1 else 1), labels=batch.labels)

    module = network()
    fit = fit_of(module, plan(batch_norm="statistics"), broken)
    fit.run(until=1)
    before = weights(module)
    with pytest.raises(TrainingDivergedError, match="iteration 2"):
        fit.run()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_errors_of_the_batches_reach_the_caller():
    def failing(step: int) -> Batch:
        if step == 1:
            raise OSError("no such tile")
        return batches(step)

    with pytest.raises(OSError, match="no such tile"):
        fit_of(network(), plan(), failing).run()


def test_bfloat16_learns_like_float32():
    losses = {}
    for precision in ("float32", "bfloat16"):
        history = []
        fit = fit_of(network(), plan(iterations=30, precision=precision), halves)
        fit.run(on_iteration=lambda report, into=history: into.append(report.loss))
        losses[precision] = history
    assert losses["bfloat16"][-1] < 0.5 * losses["bfloat16"][0]
    assert losses["bfloat16"][-1] == pytest.approx(losses["float32"][-1], abs=0.1)


def halves(step: int) -> Batch:
    """A dark left half of class 0, a bright right half of class 1."""
    labels = torch.zeros(2, 64, 64, dtype=torch.int64)
    labels[:, :, 32:] = 1
    return Batch(pixels=batches(step).pixels * 0.2 + labels[:, None], labels=labels)


def test_a_training_that_is_over_frees_its_memory_at_once():
    """Updates run one after another in one process: what waits for the garbage collector adds up."""
    module = network()
    fit = fit_of(module, plan(iterations=1))
    fit.run()
    alive = weakref.ref(module)
    gc.disable()
    try:
        del fit, module
        assert alive() is None
    finally:
        gc.enable()
