from __future__ import annotations

import json

import numpy as np
import pytest

from icss_core.errors import InvalidParameterError
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.metrics.forgetting import ForgettingAccumulator, ForgettingLimits, ForgettingReport

SPACE = LabelSpace(
    classes=tuple(
        ClassInfo(name=name, colour=(10 * i, 0, 0))
        for i, name in enumerate(["background", "road", "water", "building"])
    )
)
N_OLD = 3


def maps(seed: int = 0, shape: tuple[int, int] = (40, 30)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Memory labels 0 to 2, updated labels 0 to 3 that mostly agree, clicks; some pixels without data."""
    generator = np.random.default_rng(seed)
    memory = generator.integers(0, N_OLD, shape).astype(np.uint8)
    updated = np.where(generator.random(shape) < 0.8, memory, generator.integers(0, 4, shape)).astype(
        np.uint8
    )
    clicks = np.where(generator.random(shape) < 0.05, generator.integers(0, 4, shape), 255).astype(np.uint8)
    nothing = generator.random(shape) < 0.1
    memory[nothing] = updated[nothing] = 255
    return memory, updated, clicks


def report_of(memory, updated, clicks, **options) -> ForgettingReport:
    accumulator = ForgettingAccumulator(SPACE, N_OLD, **options)
    accumulator.update(*(np.asarray(array, np.uint8) for array in (memory, updated, clicks)))
    return accumulator.report()


def test_report_equals_plain_loops():
    memory, updated, clicks = maps()
    report = report_of(memory, updated, clicks)
    pixels = [
        (int(m), int(u), int(c))
        for m, u, c in zip(memory.flat, updated.flat, clicks.flat, strict=True)
        if m != 255 and u != 255
    ]
    free = [(m, u) for m, u, c in pixels if c == 255]
    clicked = [(m, u, c) for m, u, c in pixels if c != 255]
    assert (report.pixels, report.unclicked_pixels) == (len(pixels), len(free))
    assert report.agreement == pytest.approx(sum(m == u for m, u in free) / len(free))
    interest = [(m, u) for m, u in free if m != 0]
    assert report.agreement_of_interest == pytest.approx(sum(m == u for m, u in interest) / len(interest))
    assert report.taken_by_new == pytest.approx(sum(u == 3 for _, u in free) / len(free))
    assert report.taken_by_old == pytest.approx(sum(u != m and u < 3 for m, u in free) / len(free))
    assert report.changed_share_of_image == pytest.approx(sum(m != u for m, u, _ in pixels) / len(pixels))
    assert report.clicked_accuracy == pytest.approx(sum(u == c for _, u, c in clicked) / len(clicked))
    for index, name in enumerate(SPACE.names):
        scores = report.classes[name]
        own = [u for m, u in free if m == index]
        mine = [(m, u) for m, u, c in clicked if c == index]
        assert scores.new == (index == 3)
        assert scores.memory_pixels == sum(m == index for m, _, _ in pixels)
        assert scores.updated_pixels == sum(u == index for _, u, _ in pixels)
        assert scores.clicks == len(mine)
        assert scores.clicked_accuracy == pytest.approx(sum(u == index for _, u in mine) / len(mine))
        lost = sum(m == index and u != index for m, u, _ in pixels)
        gained = sum(m != index and u == index for m, u, _ in pixels)
        assert scores.lost_share_of_image == pytest.approx(lost / len(pixels))
        assert scores.gained_share_of_image == pytest.approx(gained / len(pixels))
        if scores.new:
            assert scores.agreement is scores.taken_by_new is scores.memory_clicked_accuracy is None
        else:
            assert scores.agreement == pytest.approx(sum(u == index for u in own) / len(own))
            assert scores.taken_by_new == pytest.approx(sum(u == 3 for u in own) / len(own))
            assert scores.agreement + scores.taken_by_new + scores.taken_by_old == pytest.approx(1)
            right = sum(m == index for m, _ in mine) / len(mine)
            assert scores.memory_clicked_accuracy == pytest.approx(right)


def test_windows_add_up_to_the_whole():
    memory, updated, clicks = maps(1)
    accumulator = ForgettingAccumulator(SPACE, N_OLD)
    for rows in (slice(0, 13), slice(13, 40)):
        for cols in (slice(0, 9), slice(9, 30)):
            accumulator.update(memory[rows, cols], updated[rows, cols], clicks[rows, cols])
    assert accumulator.report() == report_of(memory, updated, clicks)


def test_unchanged_old_classes_give_full_agreement_and_no_warning():
    memory = np.repeat([[0, 0, 1, 2]], 50, axis=0)
    updated = memory.copy()
    updated[:, 0] = 3  # the new class, where background was
    clicks = np.full(memory.shape, 255)
    clicks[:10] = updated[:10]
    report = report_of(memory, updated, clicks)
    assert report.agreement_of_interest == 1
    assert report.classes["background"].taken_by_new == pytest.approx(0.5)
    assert report.clicked_accuracy == 1
    assert report.warnings == ()


def test_clicked_pixels_do_not_count_as_forgetting():
    """The user says the memory network was wrong there: the update must follow."""
    memory, updated, clicks = np.ones((1, 10)), np.ones((1, 10)), np.full((1, 10), 255)
    updated[0, :4] = clicks[0, :4] = 3
    report = report_of(memory, updated, clicks)
    assert report.classes["road"].agreement == 1
    assert report.classes["road"].lost_share_of_image == pytest.approx(0.4)


def test_lost_old_class_is_said_with_where_it_went():
    memory = np.ones((10, 10))
    updated = memory.copy()
    updated[:4], updated[4:6] = 3, 2
    (warning,) = report_of(memory, updated, np.full((10, 10), 255)).warnings
    assert "'road' lost 60%" in warning
    assert "40% to new classes and 20% to old ones" in warning
    silent = report_of(memory, updated, np.full((10, 10), 255), limits=ForgettingLimits(lost=0.6))
    assert silent.warnings == ()


def test_small_old_classes_do_not_warn():
    memory = np.zeros((100, 100))
    memory[0, :5] = 1
    updated = np.zeros((100, 100))
    updated[50:] = 3
    assert report_of(memory, updated, np.full((100, 100), 255)).warnings == ()


def test_poor_clicks_are_said():
    memory, updated = np.zeros((10, 10)), np.zeros((10, 10))
    memory[:, 1], updated[:, 3] = 1, 3
    clicks = np.full((10, 10), 255)
    clicks[:, 1] = 1  # the memory network was right on all of them, the updated one on none
    clicks[:, 3] = 3
    clicks[:, 4] = 3  # half of the new class's clicks are missed
    warnings = report_of(memory, updated, clicks).warnings
    assert any("'road' is right on 0% of its 10 clicks" in text and "100%" in text for text in warnings)
    assert any("'building' is right on 50% of its 20 clicks" in text for text in warnings)
    few = np.full((10, 10), 255)
    few[0, 1] = 1
    assert not any("of its" in text for text in report_of(memory, updated, few).warnings)


@pytest.mark.parametrize(("elsewhere", "said"), [(19, True), (21, False)])
def test_a_class_too_rare_for_the_clicks_is_said(elsewhere, said):
    """On 5 of 100 pixels: of 20 clicks elsewhere one would lie on it."""
    memory, clicks = np.zeros((10, 10)), np.full((10, 10), 255)
    updated = memory.copy()
    updated[0, :5] = 3
    clicks[0, :5] = 3
    clicks.reshape(-1)[10 : 10 + elsewhere] = 0
    warnings = report_of(memory, updated, clicks).warnings
    assert any("'building' covers 5 % " in text and "too few" in text for text in warnings) is said


@pytest.mark.parametrize("covered", [5, 100])
def test_that_nothing_but_the_new_class_was_clicked_is_said(covered):
    memory, clicks = np.zeros((10, 10)), np.full((10, 10), 255)
    updated = memory.copy()
    updated.reshape(-1)[:covered] = 3
    clicks[0, :5] = 3
    warnings = report_of(memory, updated, clicks).warnings
    assert any("nothing but new class 'building'" in text for text in warnings)
    clicks[:] = 255
    assert not any("clicked" in text for text in report_of(memory, updated, clicks).warnings)


@pytest.mark.parametrize(("share", "words"), [(0.0, "covers 0%"), (0.97, "covers 97%")])
def test_new_class_everywhere_or_nowhere_is_said(share, words):
    memory, updated = np.zeros((100, 10)), np.zeros((100, 10))
    updated[: int(share * 100)] = 3
    (warning,) = report_of(memory, updated, np.full((100, 10), 255)).warnings
    assert "'building'" in warning
    assert words in warning


def test_image_without_data_is_said():
    report = report_of(np.full((3, 3), 255), np.full((3, 3), 255), np.zeros((3, 3)))
    assert report.agreement is report.clicked_accuracy is None
    assert report.pixels == 0
    assert "no pixel" in report.warnings[0]


def test_report_survives_json():
    report = report_of(*maps(2), sampled=True)
    assert report.sampled
    assert ForgettingReport.model_validate(json.loads(report.model_dump_json())) == report


def test_wrong_arguments_are_named():
    free = np.full((2, 2), 255)
    with pytest.raises(InvalidParameterError, match="n_old"):
        ForgettingAccumulator(SPACE, 5)
    with pytest.raises(InvalidParameterError, match="memory network: label 3"):
        report_of(np.full((2, 2), 3), np.zeros((2, 2)), free)
    with pytest.raises(InvalidParameterError, match="updated network: label 4"):
        report_of(np.zeros((2, 2)), np.full((2, 2), 4), free)
    with pytest.raises(InvalidParameterError, match="clicks: label 9"):
        report_of(np.zeros((2, 2)), np.zeros((2, 2)), np.full((2, 2), 9))
    with pytest.raises(InvalidParameterError, match="one shape"):
        report_of(np.zeros((2, 2)), np.zeros((2, 2)), free[:1])
