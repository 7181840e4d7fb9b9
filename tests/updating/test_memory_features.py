"""The memory network's features of a batch: those of the network, each distinct crop once."""

import pytest
import torch

from icss_core.data.batch import Batch, Crop
from icss_core.networks import Architecture, Normalisation, Segmenter
from icss_core.updating.memory_features import MemoryFeatures

CPU = torch.device("cpu")
A, B, C = Crop(0, 0), Crop(0, 0, (1,)), Crop(64, 32)


@pytest.fixture
def network():
    torch.manual_seed(0)
    statistics = Normalisation(mean=(100.0,) * 3, std=(40.0,) * 3)
    return Segmenter(Architecture(encoder="tu-test_resnet", n_classes=2), statistics)


def batch(*crops: Crop) -> Batch:
    """Pixels that depend on the crop alone."""
    generator = torch.Generator()
    pixels = [
        torch.randint(0, 255, (3, 64, 64), generator=generator.manual_seed(hash(crop) % 2**31))
        for crop in crops
    ]
    return Batch(pixels=torch.stack(pixels), labels=torch.zeros(len(crops), 64, 64).long(), crops=crops)


def count_forwards(network: Segmenter, counted: list[int]) -> None:
    network.body.encoder.register_forward_pre_hook(lambda _, inputs: counted.append(len(inputs[0])))


def test_features_are_the_networks_own_and_distinct_crops_are_computed_once(network):
    features = MemoryFeatures(network, device=CPU, precision="float32")
    batches = [batch(A, B), batch(B, C), batch(C, A), batch(A, A)]
    with torch.no_grad():
        expected = [network(one.pixels).features for one in batches]
    counted: list[int] = []
    count_forwards(network, counted)
    for one, wanted in zip(batches, expected, strict=True):
        found = features(one)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        assert not found.requires_grad
    assert counted == [2, 1]


def test_beyond_the_limit_crops_are_computed_each_time(network):
    one_crop = network.body.encoder.out_channels[-1] * 2 * 2 * 4
    features = MemoryFeatures(network, device=CPU, precision="float32", limit=one_crop)
    expected = features(batch(A, C))
    counted: list[int] = []
    count_forwards(network, counted)
    torch.testing.assert_close(features(batch(A, C)), expected, rtol=1e-4, atol=1e-4)
    assert counted == [1]
