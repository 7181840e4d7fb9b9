"""Class means of a task, against a loop over its pixels."""

import numpy as np
import pytest
import torch

from icss_core.continual import class_prototypes
from icss_core.data.labelled_scene import LabelledScene
from icss_core.labels import IGNORE
from icss_core.losses import Prototypes
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.raster.reader import ArraySource
from icss_core.raster.windows import Window

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Segmenter(Architecture(encoder="tu-test_resnet", n_classes=5), identity(3)).eval()


def scene(seed: int, *, highest: int) -> LabelledScene:
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.integers(0, highest, (4, 6)), np.ones((32, 32))).astype(np.uint8)
    mask[:, :40] = IGNORE
    return LabelledScene(
        image=ArraySource(rng.normal(size=(3, 128, 192)).astype(np.float32)),
        mask=ArraySource(mask[None]),
        lookup=np.arange(256, dtype=np.uint8),
    )


def test_means_are_those_of_a_loop_over_pixels(network):
    scenes = [scene(0, highest=4), scene(1, highest=3)]
    found = class_prototypes(network, scenes, size=64, device=CPU, precision="float32")
    rows: dict[int, list[np.ndarray]] = {}
    for one in scenes:
        for row in range(0, 128, 64):
            for col in range(0, 192, 64):
                pixels, labels = one.crop(Window(row, col, 64, 64))
                with torch.no_grad():
                    features = network.encode(torch.from_numpy(pixels)[None])[0].numpy()
                stride = 64 // features.shape[1]
                for place in np.ndindex(64, 64):
                    if labels[place] not in (0, IGNORE):
                        feature = features[:, place[0] // stride, place[1] // stride]
                        rows.setdefault(int(labels[place]), []).append(feature)
    assert set(rows) == {1, 2, 3}
    for label, some in rows.items():
        np.testing.assert_allclose(found.means[label], np.mean(some, axis=0, dtype=np.float64), rtol=1e-4)
        assert found.counts[label] == len(some)
    assert not found.valid[[0, 4]].any(), "the background has no mean, nor has a class nobody shows"


def test_means_from_before_stay_where_the_task_shows_nothing_of_a_class(network):
    channels = network.body.encoder.out_channels[-1]
    known = Prototypes(torch.full((3, channels), 7.0), torch.tensor([0.0, 10.0, 20.0]))
    scenes = [scene(0, highest=4)]
    scenes[0].lookup[1] = 0  # as a later task's masks have it
    found = class_prototypes(network, scenes, size=64, device=CPU, previous=known)
    assert (found.means[1] == 7).all()
    assert found.counts[1] == 10
    assert not (found.means[2] == 7).any(), "labelled here: measured anew"
    assert found.valid.tolist() == [False, True, True, True, False]
