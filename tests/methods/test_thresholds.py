"""Against the exact medians of everything the memory network says about the scenes."""

import numpy as np
import torch

from icss_core.data.labelled_scene import LabelledScene
from icss_core.losses.plop_labels import _entropy
from icss_core.methods.thresholds import entropy_thresholds
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.raster.source import ArraySource

CPU = torch.device("cpu")


def scene(seed: int) -> LabelledScene:
    rng = np.random.default_rng(seed)
    image = ArraySource(rng.random((3, 64, 128), np.float32))
    mask = ArraySource(rng.integers(0, 4, (1, 64, 128)).astype(np.uint8))
    lookup = np.full(256, 255, np.uint8)
    lookup[:4] = [0, 0, 2, 255]
    return LabelledScene(image=image, mask=mask, lookup=lookup)


def test_thresholds_are_the_medians_of_background_pixels_by_predicted_class():
    torch.manual_seed(0)
    memory = Segmenter(Architecture(encoder="tu-test_resnet", n_classes=2), identity(3)).eval()
    scenes = [scene(1), scene(2)]
    with torch.no_grad():  # both classes occur, more and less surely
        memory.classifier.weight.mul_(60)
        logits = memory(torch.from_numpy(scenes[0].image._values[None, :, :, :64].copy())).logits
        memory.classifier.bias[1] += (logits[:, 0] - logits[:, 1]).median()
    found = entropy_thresholds(memory, scenes, n_classes=3, size=64, device=CPU, precision="float32")
    entropies, classes = [], []
    for one in scenes:
        for col in (0, 64):
            pixels = torch.from_numpy(one.image._values[None, :, :, col : col + 64].copy())
            background = torch.from_numpy(one.lookup[one.mask._values[:, :, col : col + 64]] == 0)
            with torch.inference_mode():
                logits = memory(pixels).logits
            entropies.append(_entropy(logits, 3)[background])
            classes.append(logits.argmax(dim=1)[background])
    entropy, label = torch.cat(entropies), torch.cat(classes)
    for index in range(2):
        mine = entropy[label == index]
        assert mine.std() > 0.01
        assert abs(float(found[index]) - float(mine.median())) < 0.001
    fewer = entropy_thresholds(
        memory, scenes, n_classes=3, size=64, device=CPU, precision="float32", max_windows=1
    )
    assert not torch.equal(found, fewer)
