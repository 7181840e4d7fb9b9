"""The update as a whole, on a made-up image whose classes are colours."""

import math

import numpy as np
import pytest
import torch
from bars_and_blocks import BUILDING, CPU, OLD, picture, pretrained
from same_weights import same_weights

from icss_core.clicks import ClickSet, simulate_clicks
from icss_core.continual.replay import replay_of_scenes
from icss_core.data.labelled_scene import LabelledScene
from icss_core.errors import (
    BandMismatchError,
    CancelledError,
    ClassExistsError,
    ClickError,
    DtypeMismatchError,
    InvalidParameterError,
)
from icss_core.labels import ClassInfo
from icss_core.methods import REGULARISERS, get_preset, preset_names
from icss_core.networks import Segmenter
from icss_core.raster.source import ArraySource
from icss_core.updating import Runtime, update
from icss_core.updating.kept_columns import KeptColumns

ON_CPU = Runtime(device=CPU)


@pytest.fixture(scope="module")
def memory() -> Segmenter:
    return pretrained()


@pytest.fixture(scope="module")
def image():
    return picture(77)


@pytest.fixture(scope="module")
def clicks(image):
    return simulate_clicks(image[1], classes=[0, 2], per_class=60, seed=0)


def quick(name: str = "icss", iterations: int = 30, **more):
    overrides = {
        "optimisation.iterations": iterations, "optimisation.precision": "float32", "crops.size": 64, **more
    }  # fmt: skip
    return get_preset(name, overrides)


def iou(labels: np.ndarray, truth: np.ndarray, label: int) -> float:
    return ((labels == label) & (truth == label)).sum() / ((labels == label) | (truth == label)).sum()


def predict(network: Segmenter, source: ArraySource) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(source._values)[None]).logits[0].argmax(0).numpy()


@pytest.mark.parametrize(("name", "iterations", "lost"), [("icss", 30, 0.05), ("icss-fast", 0, 0.05)])
def test_new_class_is_learnt_and_the_old_one_kept(name, iterations, lost, memory, image, clicks):
    source, truth = image
    before = predict(memory, source)
    weights = {name: value.clone() for name, value in memory.state_dict().items()}
    result = update(memory, OLD, source, clicks, [BUILDING], quick(name), runtime=ON_CPU)
    after = predict(result.network, source)
    assert result.label_space.names == ("background", "road", "building")
    assert iou(after, truth, 2) > 0.6
    assert iou(after, truth, 1) > iou(before, truth, 1) - lost
    assert all(torch.equal(value, weights[name]) for name, value in memory.state_dict().items())
    report = result.forgetting
    assert report.pixels == truth.size
    assert not report.sampled
    assert report.clicked_accuracy > 0.8
    changed = (before != after).mean()
    assert report.changed_share_of_image == pytest.approx(changed, abs=0.01)
    assert len(result.history) == iterations
    assert set(result.findings.pseudo_labels) == {"road"}


# objectness comes with the scenes of a data set: `get_preset` refuses it for clicks (tests/methods)
@pytest.mark.parametrize("name", [name for name in REGULARISERS if name != "objectness"])
def test_an_update_provides_what_each_regulariser_needs(name, memory, image, clicks):
    changes = {f"regularisers.{name}": {"weight": 1.0}, "crops.size": 128}  # four cells of the deepest level
    preset = quick("icss-paper/baseline", iterations=2, **changes)
    result = update(memory, OLD, image[0], clicks, [BUILDING], preset, runtime=ON_CPU)
    assert len(result.history[-1].terms) > 1
    assert all(math.isfinite(value) for value in result.history[-1].terms.values())


def test_same_seed_same_network(memory, image, clicks):
    first, again, other = (
        update(
            memory, OLD, image[0], clicks, [BUILDING], quick(iterations=4), seed=seed, runtime=ON_CPU
        ).network
        for seed in (0, 0, 1)
    )
    assert same_weights(first, again)
    assert not same_weights(first, other)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_runs(name, memory, image, clicks):
    preset = quick(name, iterations=2, sweeps=None)
    reports = []
    result = update(
        memory,
        OLD,
        image[0],
        clicks,
        [BUILDING],
        preset,
        runtime=Runtime(device=CPU, on_iteration=reports.append),
    )
    assert len(reports) == (0 if name == "icss-fast" else 2)
    assert all(math.isfinite(term) for report in reports for term in report.terms.values())
    assert result.network.n_classes == 3
    assert (preset.warning is not None) == (preset.warning in result.warnings)


def test_combined_regularisers_run_on_swept_crops(memory, image, clicks):
    everything = {name: {} for name in ("distillation", "disca", "festa", "podnet", "sdr")}
    preset = quick("icss-paper/baseline", iterations=2, regularisers=everything, **{"crops.flips": True})
    result = update(memory, OLD, image[0], clicks, [BUILDING], preset, runtime=ON_CPU)
    assert result.history[0].terms.keys() > {"distillation", "disca", "far", "podnet", "repulse"}
    assert result.history[0].terms["podnet"] == 0, "nothing has changed before the first iteration"
    assert result.history[1].terms["podnet"] > 0


def test_the_network_is_shown_after_each_round_and_goes_on_unharmed(memory, image, clicks):
    preset = quick(iterations=6, rounds=3)
    seen = []

    def look(number: int, network: Segmenter) -> None:
        assert not network.training
        seen.append((number, predict(network, image[0])))

    shown = update(
        memory, OLD, image[0], clicks, [BUILDING], preset, runtime=Runtime(device=CPU, on_round=look)
    )
    assert [number for number, _ in seen] == [1, 2], "the third is the result"
    assert not np.array_equal(seen[0][1], seen[1][1])
    alone = update(memory, OLD, image[0], clicks, [BUILDING], preset, runtime=ON_CPU)
    assert same_weights(shown.network, alone.network)


def test_a_threshold_of_zero_takes_any_pixel_of_an_old_class(memory, image, clicks):
    anything = {
        "pseudo_labels.kind": "threshold",
        "pseudo_labels.threshold": 0.0,
        "pseudo_labels.multiple": 90,
    }
    nearly_sure = {**anything, "pseudo_labels.threshold": 0.999}
    found, sure = (
        update(
            memory, OLD, image[0], clicks, [BUILDING], quick(iterations=0, **rule), runtime=ON_CPU
        ).findings.pseudo_labels
        for rule in (anything, nearly_sure)
    )
    roads = (predict(memory, image[0]) == 1).sum()
    assert sure["road"] < found["road"]
    assert found["road"] == pytest.approx(min(roads, 90 * 60), rel=0.02)


def test_sweeps_are_turned_into_iterations(memory, image, clicks):
    preset = get_preset("icss-code/baseline", {"sweeps": 2, "crops.size": 64, "crops.batch": 3})
    result = update(memory, OLD, image[0], clicks, [BUILDING], preset, runtime=ON_CPU)
    assert len(result.history) == 2 * 3 * 3 // 3


def test_progress_goes_through_all_stages(memory, image, clicks):
    seen = []
    update(
        memory,
        OLD,
        image[0],
        clicks,
        [BUILDING],
        quick(iterations=3),
        runtime=Runtime(device=CPU, on_progress=seen.append),
    )
    assert [p.stage for p in seen] == ["memory", "head", "head", *["training"] * 3, "report"]
    training = [p for p in seen if p.stage == "training"]
    assert [(p.step, p.steps) for p in training] == [(1, 3), (2, 3), (3, 3)]
    assert training[0].seconds_left > training[-1].seconds_left >= 0
    assert seen[-1].seconds_left == 0


def test_one_click_is_enough_to_run(memory, image):
    row, col = np.argwhere(image[1] == 2)[0]
    clicks = ClickSet(np.array([row]), np.array([col]), np.array([2]))
    result = update(memory, OLD, image[0], clicks, [BUILDING], quick(iterations=2), runtime=ON_CPU)
    assert result.network.n_classes == 3


def test_two_classes_at_once(memory, image):
    clicks = simulate_clicks(image[1], classes=[0, 2], per_class=20, seed=0)
    extra = ClickSet(np.array([0, 5]), np.array([0, 9]), np.array([3, 3]))
    new = [BUILDING, ClassInfo(name="tree", colour=(0, 200, 0))]
    result = update(memory, OLD, image[0], clicks.merged(extra), new, quick(iterations=2), runtime=ON_CPU)
    assert result.network.n_classes == 4


def test_wrong_input_is_refused_by_name(memory, image, clicks):
    source = image[0]
    run = lambda *args, **more: update(*args, quick(iterations=1), runtime=ON_CPU, **more)  # noqa: E731
    with pytest.raises(ClickError, match="no click at all"):
        run(memory, OLD, source, ClickSet.empty(), [BUILDING])
    with pytest.raises(ClickError, match="no click of the new class 'building'"):
        run(memory, OLD, source, clicks.of([0]), [BUILDING])
    off = ClickSet(np.array([500]), np.array([1]), np.array([2]))
    with pytest.raises(ClickError, match="off the raster of 192 x 192"):
        run(memory, OLD, source, clicks.merged(off), [BUILDING])
    with pytest.raises(ClassExistsError, match="'Road' is already"):
        run(memory, OLD, source, clicks, [ClassInfo(name="Road", colour=(1, 1, 1))])
    with pytest.raises(BandMismatchError, match="has 1 bands"):
        run(memory, OLD, ArraySource(np.zeros((1, 192, 192), np.uint8)), clicks, [BUILDING])
    with pytest.raises(DtypeMismatchError, match="stores uint8, the network was trained on uint16"):
        run(memory, OLD, source, clicks, [BUILDING], dtype="uint16")
    with pytest.raises(InvalidParameterError, match="at least one new class"):
        run(memory, OLD, source, clicks, [])
    with pytest.raises(InvalidParameterError, match="the network has 3 classes"):
        run(memory.extend(1), OLD, source, clicks, [BUILDING])


@pytest.mark.parametrize("after", [1, 3, 6])
def test_cancelling_stops_in_every_stage(memory, image, clicks, after):
    calls = []

    def stop() -> bool:
        calls.append(1)
        return len(calls) >= after

    with pytest.raises(CancelledError):
        update(
            memory,
            OLD,
            image[0],
            clicks,
            [BUILDING],
            quick(iterations=3),
            runtime=Runtime(device=CPU, should_stop=stop),
        )


class TestTheHypercolumnHead:
    """It is fitted where the background is clicked, and unlearns no class."""

    def updated(self, memory, image, clicks, **more):
        return update(
            memory,
            OLD,
            image[0],
            clicks,
            [BUILDING],
            quick("icss-fast", iterations=2),
            runtime=ON_CPU,
            **more,
        )

    def test_without_clicks_of_the_background_the_network_is_trained(self, memory, image, clicks):
        result = self.updated(memory, image, clicks.of([2]))
        assert (result.network.architecture.hypercolumn, len(result.history), result.replay) == (0, 2, None)

    def test_a_class_without_labels_is_not_unlearnt(self, memory, image, clicks):
        """A memory network that knows road, on whose image road gets neither clicks nor pseudo-labels."""
        unseen = quick("icss-fast", iterations=2, pseudo_labels={"kind": "none"})
        result = update(memory, OLD, image[0], clicks, [BUILDING], unseen, runtime=ON_CPU)
        assert sum(result.findings.pseudo_labels.values()) == 0
        before, after = (iou(predict(one, image[0]), image[1], 1) for one in (memory, result.network))
        assert after > before - 0.2, (before, after)

    def test_a_class_that_the_memory_network_never_finds_is_learnt_from_what_is_kept(
        self, memory, image, clicks
    ):
        blind = type(memory)(memory.architecture, memory.normalisation).eval()
        blind.load_state_dict(memory.state_dict())
        with torch.no_grad():
            blind.classifier.bias[1] -= 20
        plain = self.updated(blind, image, clicks)
        assert (plain.findings.pseudo_labels["road"], len(plain.history)) == (0, 0)
        scene = LabelledScene(
            image=image[0],
            mask=ArraySource(np.where(image[1] == 2, 0, image[1]).astype(np.uint8)[None]),
            lookup=np.arange(256, dtype=np.uint8),
        )
        kept = replay_of_scenes(blind, [scene], size=64, device=CPU)
        result = self.updated(blind, image, clicks, replay=kept)
        scores = [iou(predict(one.network, image[0]), image[1], 1) for one in (plain, result)]
        assert scores[1] > max(0.5, scores[0] + 0.2), scores
        # clicks of this image, and what was kept before
        assert set(result.replay.classes.tolist()) == {0, 1, 2}
        assert set(result.replay.known[result.replay.classes == 2].tolist()) == {3}

    def test_what_is_kept_is_valid_for_the_updated_network(self, memory, image, clicks):
        result = self.updated(memory, image, clicks)
        kept = result.replay
        rows, cols = (torch.from_numpy(one.astype(np.int64)) for one in (clicks.rows, clicks.cols))
        pixels = torch.from_numpy(image[0]._values)[None]
        with torch.inference_mode():
            expected = result.network(pixels).logits[0][:, rows, cols].T
        # in any order: of each sample the nearest pixel's logits
        distance = torch.cdist(kept.logits_of(result.network), expected).min(dim=1).values
        assert float(distance.median()) < 0.1 * float(expected.std()), distance
        again = update(
            result.network, result.label_space, image[0], ClickSet([3, 9], [4, 9], [0, 3]),
            [ClassInfo(name="pool", colour=(9, 9, 9))], quick("icss-fast"), replay=result.replay,
            runtime=ON_CPU,
        )  # fmt: skip
        assert len(again.history) == 0
        assert again.network.n_classes == 4
        mapped = predict(again.network, image[0])
        assert iou(mapped, image[1], 2) > 0.5, "the class of the first update"

    def test_features_are_computed_once_and_change_nothing(self, memory, monkeypatch):
        """Four looks at four tiles, one pass through encoder and decoder, as far as features are kept."""
        image = picture(77, size=600)
        clicks = simulate_clicks(image[1], classes=[0, 2], per_class=60, seed=0)
        with torch.inference_mode():
            columns = memory.eval()(torch.zeros(1, 3, 512, 512), with_levels=True).columns
        needed = 4 * sum(one.numel() * one.element_size() for one in columns)
        passes = []
        own = type(memory)._levels
        monkeypatch.setattr(
            type(memory), "_levels", lambda self, pixels: passes.append(1) or own(self, pixels)
        )
        results = []
        for share, number in ((0.0, 16), (0.6, 10), (1.0, 4)):
            limit = int(share * needed)
            monkeypatch.setattr(
                "icss_core.updating.prepare.KeptColumns", lambda limit=limit: KeptColumns(limit=limit)
            )
            passes.clear()
            results.append(self.updated(memory, image, clicks))
            assert len(passes) == number
        for other in results[1:]:
            assert same_weights(other.network, results[0].network)
            assert other.forgetting == results[0].forgetting

    def test_too_few_clicks_are_said(self, memory, image, clicks):
        assert not any("too few clicks" in one for one in self.updated(memory, image, clicks).warnings)
        rng = np.random.default_rng(0)  # clicks that mean nothing
        noise = ClickSet(*rng.integers(0, 190, (2, 40)), rng.permutation(np.repeat([0, 2], 20)))
        result = self.updated(memory, image, noise)
        assert result.findings.held_out["building"] < 0.6
        (said,) = (one for one in result.warnings if "'building'" in one and "too few clicks" in one)
        assert f"{result.findings.held_out['building']:.0%}" in said

    def test_a_single_click_is_said_to_be_one(self, memory, image, clicks):
        one = clicks.select(np.r_[np.flatnonzero(clicks.labels == 0), np.flatnonzero(clicks.labels == 2)[:1]])
        result = self.updated(memory, image, one)
        assert set(result.findings.held_out) == {"background"}
        assert any("a single click on 'building'" in said for said in result.warnings)
