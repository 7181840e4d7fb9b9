"""Every decoder that can be chosen predicts, trains and updates, whatever the size of the image."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

from icss_core.clicks import ClickSet
from icss_core.data.batch import Batch
from icss_core.errors import InvalidParameterError
from icss_core.inference import ArraySink, Tiling, predict
from icss_core.labels import ClassInfo
from icss_core.methods import get_preset
from icss_core.networks.architecture import Decoder
from icss_core.raster.source import ArraySource
from icss_core.training import Fit, Optimisation, SegmentationLearner, cross_entropy_objective
from icss_core.updating import Runtime, update
from tests.batch_norms import batch_norms_of
from tests.inference.small_networks import lived_in_segmenter
from tests.networks.label_spaces import label_space

if TYPE_CHECKING:
    from icss_core.networks import Segmenter

CPU = torch.device("cpu")
SMALLEST = {"pan": 128}
POOL = ClassInfo(name="pool", colour=(0, 200, 255))


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, height, width)).astype(np.uint8)


def plain_logits(network: Segmenter, pixels: torch.Tensor) -> torch.Tensor:
    """What the library's own model gives for normalised pixels."""
    return network.body((pixels.float() - 120) / 60)


@pytest.fixture(scope="module", params=get_args(Decoder))
def network(request) -> Segmenter:
    return lived_in_segmenter(decoder=request.param)


@pytest.mark.parametrize("size", [(1, 1), (31, 64), (64, 31), (97, 97), (256, 256)])
def test_a_prediction_is_the_library_model_on_the_mirrored_image(network, size):
    values = noise(*size)
    smallest = SMALLEST.get(network.architecture.decoder, 32)
    margins = [(0, max(-(-side // 32) * 32, smallest) - side) for side in size]
    padded = torch.from_numpy(np.pad(values, ((0, 0), *margins), mode="symmetric"))
    with torch.inference_mode():
        expected = plain_logits(network, padded[None])[0, :, : size[0], : size[1]].numpy()
    sink = ArraySink(*size)
    predict(network, ArraySource(values), sink, n_classes=4, precision="float32")
    best, second = np.sort(expected, axis=0)[[-1, -2]]
    clear = best - second > 1e-3 * np.abs(expected).max()
    assert clear.mean() > 0.9
    assert (sink.labels == expected.argmax(0))[clear].all()


@pytest.mark.parametrize("number", [1, 2])
def test_a_first_loss_is_the_library_model_with_running_statistics_where_a_norm_has_one_value(
    network, number
):
    side = SMALLEST.get(network.architecture.decoder, 32)
    batch = Batch(
        pixels=torch.from_numpy(noise(number * side, side)).view(3, number, side, side).transpose(0, 1),
        labels=torch.from_numpy(noise(number * side, side)[0].reshape(number, side, side) % 4).long(),
    )
    trained = copy.deepcopy(network)
    for module in trained.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    plain = copy.deepcopy(trained)
    seen = []
    handles = [
        norm.register_forward_pre_hook(lambda norm, inputs: seen.append((norm, inputs[0].shape)))
        for norm in batch_norms_of(plain)
    ]
    with torch.no_grad():
        plain_logits(plain.eval(), batch.pixels)
        plain.train()
        for handle in handles:
            handle.remove()
        for norm, shape in seen:
            if shape[0] * shape[2] * shape[3] == 1:
                norm.eval()
        expected = functional.cross_entropy(plain_logits(plain, batch.pixels), batch.labels)
    numbers = Optimisation(iterations=1, precision="float32")
    fit = Fit(SegmentationLearner(trained, cross_entropy_objective, lambda _: batch), numbers)
    reports = []
    fit.run(on_iteration=reports.append)
    assert reports[0].loss == pytest.approx(float(expected), rel=1e-4)
    assert all(norm.training for norm in batch_norms_of(trained))


@pytest.mark.parametrize("side", [1, 97])
def test_an_update_works_on_an_image_of_any_size(network, side):
    smallest = SMALLEST.get(network.architecture.decoder, 64)
    numbers = {"optimisation.iterations": 1, "crops.size": smallest, "crops.batch": 1}
    clicks = ClickSet([0, side - 1], [0, side - 1], [4, 4])
    result = update(
        network, label_space(4), ArraySource(noise(side, side)), clicks, [POOL], get_preset("icss", numbers),
        runtime=Runtime(device=CPU),
    )  # fmt: skip
    assert result.forgetting.pixels == side * side
    assert np.isfinite(result.history[0].loss)
    assert result.network.n_classes == 5


@pytest.fixture(scope="module")
def pan() -> Segmenter:
    return lived_in_segmenter(decoder="pan")


def test_scales_stay_at_sizes_that_the_network_takes(pan):
    sink = ArraySink(128, 128)
    values = noise(128, 128)
    predict(pan, ArraySource(values), sink, n_classes=4, scales=[0.25, 1], precision="float32")
    with torch.inference_mode():
        # a quarter is 32 pixels, and 128 are the fewest
        expected = plain_logits(pan, torch.from_numpy(values)[None])[0]
    best, second = expected.topk(2, dim=0).values
    clear = (best - second > 1e-2 * expected.abs().max()).numpy()
    assert (sink.labels == expected.argmax(0).numpy())[clear].all()


def test_windows_and_crops_that_are_too_small_are_refused_before_anything_is_read(pan):
    class Unread(ArraySource):
        def read(self, _):
            pytest.fail("was read")

    image = Unread(noise(256, 256))
    with pytest.raises(
        InvalidParameterError, match=r"window is 64 pixels.*16 from 128 on; set window to 128"
    ):
        predict(pan, image, ArraySink(256, 256), n_classes=4, tiling=Tiling(window=64, overlap=0))
    numbers = get_preset("icss", {"crops.size": 96})
    with pytest.raises(InvalidParameterError, match=r"crops.size is 96 pixels.*pan.*set crops.size to 128"):
        update(pan, label_space(4), image, ClickSet([1], [1], [4]), [POOL], numbers)
    with pytest.raises(InvalidParameterError, match="multiples of 16 from 128 on, not 112 x 128"):
        pan(torch.zeros(1, 3, 112, 128))
