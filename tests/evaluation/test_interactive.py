"""The protocol of ICSS: one image, one session, scored on all of the image."""

import time
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from bars_and_blocks import BUILDING, CPU, OLD, picture, pretrained

from icss_core.clicks import simulate_clicks
from icss_core.data.labelled_scene import LabelledScene
from icss_core.errors import ClickError, InvalidParameterError
from icss_core.evaluation import TrueImage, map_image, run_session, score_map
from icss_core.methods import get_preset
from icss_core.raster.source import ArraySource
from icss_core.updating import Runtime, update

NAMES = [*OLD.names, BUILDING.name]
QUICK = {"optimisation.precision": "float32", "crops.size": 64, "optimisation.iterations": 12}


@pytest.fixture(scope="module")
def memory():
    return pretrained()


@pytest.fixture(scope="module")
def image():
    source, truth = picture(77)
    return TrueImage(name="blocks", source=source, truth=truth)


def run(memory, image, preset, **more):
    return run_session(memory, OLD, image, [BUILDING], preset, annotations=60, device=CPU, **more)


def test_a_session_is_an_update_on_clicks_of_the_truth_scored_on_the_whole_image(memory, image):
    preset = get_preset("icss", QUICK)
    scores, labels = run(memory, image, preset, seed=3)
    clicks = simulate_clicks(image.truth, classes=[0, 2], per_class=60, seed=3)
    network = update(
        memory, OLD, image.source, clicks, [BUILDING], preset, seed=3, runtime=Runtime(device=CPU)
    ).network
    assert np.array_equal(labels, map_image(network, image.source))
    for label, name in enumerate(NAMES):
        both = ((labels == label) & (image.truth == label)).sum()
        either = ((labels == label) | (image.truth == label)).sum()
        assert scores.last.iou[name] == pytest.approx(both / either)
    assert scores.last.mean == pytest.approx(np.mean(list(scores.last.iou.values())))
    assert scores.clicks == {"background": 60, "building": 60}
    assert (scores.rounds, scores.best_of_last_half, scores.iterations) == ({}, None, 12)
    assert type(scores).model_validate_json(scores.model_dump_json()) == scores


def test_looks_fall_into_the_last_half_and_the_best_is_one_of_them_or_the_result(memory, image):
    preset = get_preset("icss", QUICK | {"rounds": 6})
    plain, _ = run(memory, image, preset)
    scores, _ = run(memory, image, preset, look_every=2)
    assert list(scores.rounds) == [4], "counted back from the result, which is the sixth"
    assert scores.last == plain.last, "looking changes nothing"
    assert scores.best_of_last_half.mean == max(scores.rounds[4].mean, scores.last.mean)


class OneThreadAtATime(ArraySource):
    """Fails where two threads read at once, as GDAL may."""

    busy = False

    def read(self, window):
        assert not self.busy, "two threads read one raster"
        self.busy = True
        time.sleep(0.002)
        self.busy = False
        return super().read(window)


def test_nobody_reads_the_image_in_the_background_while_it_is_looked_at(memory, image):
    single = OneThreadAtATime(image.source._values)
    preset = get_preset("icss", QUICK | {"rounds": 6})
    with patch("icss_core.updating.prepare.CachedSource", lambda source, **_: source):
        scores, _ = run(memory, replace(image, source=single), preset, look_every=1)
    assert {4, 5} <= set(scores.rounds)


def test_a_memory_network_that_never_saw_the_class_scores_zero_on_it(memory, image):
    score = score_map(map_image(memory, image.source), image.truth, NAMES)
    assert score.iou["building"] == 0
    assert score.mean == pytest.approx((score.iou["background"] + score.iou["road"]) / 3)


def test_truth_of_a_scene_is_its_mask_by_the_lookup():
    source, mask = picture(1)
    lookup = np.full(256, 255, np.uint8)
    lookup[:2] = [0, 1]  # buildings are unknown
    scene = LabelledScene(image=source, mask=ArraySource(mask[None]), lookup=lookup)
    image = TrueImage.of("one", scene)
    assert np.array_equal(image.truth, np.where(mask == 2, 255, mask))
    assert image.shows([0, 1])
    assert not image.shows([2])


def test_what_cannot_be_asked_is_refused(memory, image):
    nothing = TrueImage(name="empty", source=image.source, truth=np.zeros_like(image.truth))
    with pytest.raises(ClickError, match="no click of the new class 'building'"):
        run(memory, nothing, get_preset("icss", QUICK))
    with pytest.raises(InvalidParameterError, match="at least 1"):
        run(memory, image, get_preset("icss", QUICK), look_every=0)
