"""Weight fusion against the sum written out, tensor by tensor."""

import math

import pytest
import torch

from icss_core.networks import Architecture, Segmenter, identity
from icss_core.regularisation.weight_fusion import fuse_weights, fusion_share


def two_networks() -> tuple[Segmenter, Segmenter]:
    torch.manual_seed(0)
    before = Segmenter(Architecture(encoder="tu-test_resnet", n_classes=3), identity(3))
    before = before.with_hypercolumn(16)
    after = before.extend(2)
    with torch.no_grad():
        for value in after.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value))
    return before, after


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_shared_weights_are_mixed_and_new_rows_kept(share) -> None:
    before, after = two_networks()
    old, new = ({k: v.clone() for k, v in one.state_dict().items()} for one in (before, after))
    fuse_weights(after, before, share=share)
    grown = set()
    for name, found in after.state_dict().items():
        expected = new[name].clone()
        if found.is_floating_point():
            if old[name].shape == new[name].shape:
                expected = share * new[name] + (1 - share) * old[name]
            else:
                grown.add(name)
                expected[:3] = share * new[name][:3] + (1 - share) * old[name]
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(before.state_dict()[name], old[name], rtol=0, atol=0)
    assert grown == {
        f"{head}.{part}"
        for head in ("body.segmentation_head.0", "hypercolumn.classifier")
        for part in ("weight", "bias")
    }


def test_the_share_falls_with_the_classes_known() -> None:
    assert fusion_share(16, 5) == math.sqrt(5 / 21)
    assert fusion_share(20, 1) < fusion_share(16, 1) < fusion_share(2, 1) < 1
