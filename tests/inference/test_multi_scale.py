from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import torch
from small_networks import Convolutions, lived_in_segmenter
from torch import Tensor, nn
from torch.nn.functional import interpolate

from icss_core.errors import BandMismatchError, InvalidParameterError
from icss_core.evaluation import map_image
from icss_core.inference import (
    ArraySink,
    MultiScale,
    Tiling,
    predict,
    predict_raster,
    prepare_for_inference,
)
from icss_core.inference.prepare import logits_of
from icss_core.inference.sliding_window import windows_per_call
from icss_core.labels import ClassInfo, LabelSpace
from icss_core.raster.reader import ArraySource

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DEEPLAB = (0.5, 0.75, 1.0, 1.25, 1.5)


def image(height: int, width: int, bands: int = 3) -> NDArray[np.uint8]:
    """Blocks of colour with noise: something that looks different at different scales."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 200, (bands, -(-height // 16), -(-width // 16)))
    pixels = blocks.repeat(16, 1).repeat(16, 2)[:, :height, :width]
    return (pixels + rng.integers(0, 56, pixels.shape)).astype(np.uint8)


def voted(network: nn.Module, pixels: NDArray[np.uint8], sizes: list[tuple[int, int]]) -> Tensor:
    """Highest logits (N, H, W) over some sizes, pixel by pixel and class by class, by plain calls."""
    batch = torch.from_numpy(pixels)[None].float()
    found = []
    with torch.no_grad():
        for size in sizes:
            smaller = interpolate(batch, size=size, mode="bilinear", align_corners=False)
            logits = logits_of(network(smaller))
            found.append(interpolate(logits, size=batch.shape[2:], mode="bilinear", align_corners=False)[0])
    return torch.from_numpy(np.maximum.reduce([logits.numpy() for logits in found]))


def multi_scale(network: nn.Module, pixels: NDArray[np.uint8], scales: tuple[float, ...]) -> Tensor:
    with torch.no_grad():
        found: Tensor = MultiScale(network, scales)(torch.from_numpy(pixels)[None])[0]
    return found


def labels_of(network: nn.Module, pixels: NDArray[np.uint8], n_classes: int, **options: object) -> ArraySink:
    sink = ArraySink(*pixels.shape[1:])
    predict(network, ArraySource(pixels), sink, n_classes=n_classes, precision="float32", **options)
    return sink


def test_one_scale_of_1_is_the_network() -> None:
    network, pixels = lived_in_segmenter(), image(96, 160)
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels)[None]).logits[0]
    assert torch.equal(multi_scale(network, pixels, (1,)), expected)
    plain = labels_of(network, pixels, 4, confidence=True)
    once = labels_of(network, pixels, 4, confidence=True, scales=(1,))
    np.testing.assert_array_equal(once.labels, plain.labels)
    np.testing.assert_array_equal(once.confidence, plain.confidence)


@pytest.mark.parametrize("network", [Convolutions().eval(), lived_in_segmenter()], ids=["logits", "output"])
def test_scales_are_predicted_one_by_one_and_the_highest_score_kept(network: nn.Module) -> None:
    pixels = image(128, 256)
    sizes = [(64, 128), (96, 192), (128, 256), (160, 320), (192, 384)]
    expected = voted(network, pixels, sizes)
    found = multi_scale(network, pixels, DEEPLAB)
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found.argmax(0), multi_scale(network, pixels, (1,)).argmax(0))
    torch.testing.assert_close(found, multi_scale(network, pixels, DEEPLAB[::-1]), msg="order is no matter")


def test_sizes_are_what_an_encoder_takes() -> None:
    network, pixels = lived_in_segmenter(), image(96, 160)
    # 48 x 80, 72 x 120 and 120 x 200, to multiples of 32
    for scale, size in {0.5: (64, 96), 0.75: (64, 128), 1.25: (128, 192)}.items():
        torch.testing.assert_close(
            multi_scale(network, pixels, (scale,)), voted(network, pixels, [size])
        )  # fmt: skip
    small = image(32, 32)
    expected = voted(network, small, [(32, 32), (64, 64)])
    torch.testing.assert_close(multi_scale(network, small, (0.25, 0.5, 1, 2)), expected)


def test_scales_of_one_size_are_looked_at_once() -> None:
    calls: list[tuple[int, ...]] = []
    network = Convolutions().eval()
    network.register_forward_pre_hook(lambda _, inputs: calls.append(tuple(inputs[0].shape[2:])))
    multi_scale(network, image(32, 32), (0.25, 0.5, 1, 1.25))
    assert calls == [(32, 32)]


def test_one_window_is_the_whole_raster_at_all_scales() -> None:
    network, pixels = lived_in_segmenter(), image(128, 256)
    sizes = [(64, 128), (128, 256), (192, 384)]
    expected = voted(prepare_for_inference(network, "float32"), pixels, sizes).argmax(0).numpy()
    found = labels_of(network, pixels, 4, tiling=Tiling(window=256), scales=(0.5, 1, 1.5)).labels
    assert (found == expected).mean() > 0.9999


def test_each_window_is_predicted_at_all_scales() -> None:
    network, pixels = Convolutions().eval(), image(128, 192)
    tiling = Tiling(window=64, overlap=0, blend="constant")
    found = labels_of(network, pixels, 5, tiling=tiling, scales=(0.5, 1, 1.5)).labels
    for row in (0, 64):
        for col in (0, 64, 128):
            part = np.s_[row : row + 64, col : col + 64]
            logits = voted(network, pixels[(slice(None), *part)], [(32, 32), (64, 64), (96, 96)])
            assert (found[part] == logits.argmax(0).numpy()).mean() > 0.999


def test_the_network_at_scales_is_a_network_like_any() -> None:
    network, pixels = lived_in_segmenter(), image(150, 210)
    tiling = Tiling(window=96, overlap=32)
    option = labels_of(network, pixels, 4, tiling=tiling, confidence=True, scales=(0.5, 1))
    wrapped = labels_of(MultiScale(network, (0.5, 1)), pixels, 4, tiling=tiling, confidence=True)
    np.testing.assert_array_equal(option.labels, wrapped.labels)
    np.testing.assert_allclose(option.confidence, wrapped.confidence, atol=1e-6)
    prepared = prepare_for_inference(network, "float32")
    again = labels_of(prepared, pixels, 4, tiling=tiling, scales=(0.5, 1))
    np.testing.assert_array_equal(again.labels, option.labels)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_it_is_prepared_as_the_network_alone(precision: str, dtype: torch.dtype) -> None:
    network, pixels = lived_in_segmenter(), image(96, 160)
    prepared = prepare_for_inference(MultiScale(network, (0.5, 1)), precision)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared.modules())
    convolutions = [module for module in prepared.modules() if isinstance(module, nn.Conv2d)]
    assert {module.weight.dtype for module in convolutions} == {prepared.dtype} == {dtype}
    expected = multi_scale(network, pixels, (0.5, 1))
    with torch.inference_mode():
        found = logits_of(prepared(torch.from_numpy(pixels)[None]))[0]
    assert found.dtype == torch.float32
    far = float((found - expected).abs().mean() / expected.abs().max())
    assert far < (1e-4 if precision == "float32" else 0.03)


def test_larger_windows_go_through_the_network_in_smaller_groups() -> None:
    layout = Tiling(window=128, overlap=0).layout(4096, 4096)
    device = torch.device("cpu")
    plain = windows_per_call(layout, device, torch.float32)
    assert windows_per_call(layout, device, torch.float32, enlargement=4.0) == plain // 4
    assert MultiScale(nn.Identity(), (0.5, 2)).enlargement == 4
    assert MultiScale(nn.Identity(), (0.5, 0.75)).enlargement == 1, "the scores have the window's size"
    assert windows_per_call(layout, device, torch.float32, enlargement=1e9) == 1


@pytest.mark.parametrize(
    ("scales", "says"),
    [
        ((), "at least 1 item"),
        ((0.2, 1), "greater than or equal to 0.25"),
        ((1, 4.5), "less than or equal to 4"),
        ((float("nan"), 1), "less than or equal to 4"),
        ((1, 0.5, 1.0), "named twice"),
        (tuple(1 + i / 8 for i in range(9)), "at most 8 items"),
    ],
)
def test_other_scales_are_refused(scales: tuple[float, ...], says: str) -> None:
    with pytest.raises(InvalidParameterError, match=says):
        MultiScale(Convolutions(), scales)
    with pytest.raises(InvalidParameterError, match=says):
        labels_of(Convolutions(), image(32, 32), 5, scales=scales)


def test_files_and_validation_images_take_scales(tmp_path: Path) -> None:
    network, pixels = lived_in_segmenter(), image(96, 160)
    scene = tmp_path / "scene.tif"
    with rasterio.open(
        scene, "w", driver="GTiff", height=96, width=160, count=3, dtype="uint8", crs="EPSG:32632",
        transform=rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_300_000),
    ) as file:  # fmt: skip
        file.write(pixels)
    labels = LabelSpace(
        classes=tuple(ClassInfo(name=name, colour=(9, 9, 9)) for name in ("background", *"abc"))
    )
    predict_raster(network, scene, tmp_path / "map.tif", label_space=labels, scales=(0.5, 1.5))
    with rasterio.open(tmp_path / "map.tif") as file:
        on_disk = file.read(1)
    in_memory = map_image(network, ArraySource(pixels), scales=(0.5, 1.5))
    np.testing.assert_array_equal(on_disk, in_memory)
    assert not np.array_equal(in_memory, map_image(network, ArraySource(pixels)))
    four_bands = MultiScale(lived_in_segmenter(bands=4), (0.5, 1))
    with pytest.raises(BandMismatchError, match="the network takes 4"):
        predict_raster(four_bands, scene, tmp_path / "none.tif", label_space=labels)
