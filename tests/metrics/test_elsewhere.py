"""The verdict on images that nobody clicked, from maps painted by hand."""

import numpy as np
import pytest

from icss_core.labels import ClassInfo, LabelSpace
from icss_core.metrics.elsewhere import ElsewhereLimits, elsewhere_report
from icss_core.metrics.forgetting import ForgettingAccumulator, ForgettingReport

SPACE = LabelSpace(
    classes=tuple(
        ClassInfo(name=name, colour=(number, 0, 0))
        for number, name in enumerate(("background", "road", "building"))
    )
)
MEMORY = np.zeros((100, 100), np.uint8)
MEMORY[:20] = 1  # a fifth is road
NO_CLICKS = np.full((100, 100), 255, np.uint8)


def report(*, road: int, building: int, memory: np.ndarray = MEMORY) -> ForgettingReport:
    """Of a map whose first rows stay road, and whose last rows become building."""
    updated = np.zeros((100, 100), np.uint8)
    updated[:road] = 1
    updated[100 - building :] = 2
    accumulator = ForgettingAccumulator(SPACE, 2)
    accumulator.update(memory, updated, NO_CLICKS)
    return accumulator.report()


CLICKED = report(road=20, building=20)


def test_a_sound_update_has_no_harm_and_its_images_are_in_order() -> None:
    found = elsewhere_report(CLICKED, {"b": report(road=18, building=10), "a": report(road=15, building=25)})
    assert (found.harmed, found.warnings) == ((), [])
    assert found.clicked_new_share == pytest.approx(0.2)
    assert [(image.name, image.lost, image.new_share) for image in found.images] == [
        ("a", pytest.approx(0.25), pytest.approx(0.25)),
        ("b", pytest.approx(0.1), pytest.approx(0.1)),
    ]


@pytest.mark.parametrize(
    ("road", "building", "said"),
    [
        (9, 10, ["'road' lost 55% of its pixels"]),
        (20, 45, ["new classes cover 45% of it, and 20% of what was clicked"]),
        (9, 45, ["'road' lost 55%", "new classes cover 45%"]),
        (15, 40, []),
    ],
)
def test_what_counts_as_harm(road, building, said) -> None:
    found = elsewhere_report(
        CLICKED, {"sound": report(road=20, building=1), "other": report(road=road, building=building)}
    )
    (other,) = [image for image in found.images if image.name == "other"]
    assert len(other.harm) == len(said)
    assert all(sentence.startswith(words) for sentence, words in zip(other.harm, said, strict=True))
    if said:
        assert (found.harmed, found.images[0].name) == (("other",), "other")
        (warning,) = found.warnings
        assert "1 of 2 images" in warning
        assert all(words in warning for words in said)


def test_a_trace_of_an_old_class_is_not_judged() -> None:
    trace = np.zeros((100, 100), np.uint8)
    trace[0, :50] = 1  # half a per cent
    gone = report(road=0, building=5, memory=trace)
    assert elsewhere_report(CLICKED, {"trace": gone}).harmed == ()
    strict = ElsewhereLimits(smallest_fraction=0.001)
    assert elsewhere_report(CLICKED, {"trace": gone}, limits=strict).harmed == ("trace",)
