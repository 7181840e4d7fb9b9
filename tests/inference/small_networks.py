"""Networks small enough for tests, from plain convolutions to a real segmenter with lived-in batch norms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icss_core.networks.normalisation import Normalisation
from icss_core.networks.segmenter import Architecture, Segmenter
from tests.batch_norms import batch_norms_of


class Convolutions(nn.Module):
    """Raw pixels (B, C, h, w) to logits (B, K, h, w) with a receptive field of 7 pixels."""

    def __init__(self, bands: int = 3, n_classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(bands, 16, 5, padding=2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, n_classes, 3, padding=1),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.layers(pixels.float() / 255)
        return logits


def lived_in_segmenter(
    n_classes: int = 4, *, bands: int = 3, decoder: str = "linknet", encoder: str = "tu-test_resnet"
) -> Segmenter:
    """A segmenter whose batch-norm statistics and scales are no longer the initial ones; in eval mode."""
    torch.manual_seed(0)
    network = Segmenter(
        Architecture(decoder=decoder, encoder=encoder, in_channels=bands, n_classes=n_classes),
        Normalisation(mean=(120.0,) * bands, std=(60.0,) * bands),
    ).train()
    for norm in batch_norms_of(network):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.2, 0.2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(2):
            network(torch.randint(0, 256, (2, bands, 128, 128), generator=generator, dtype=torch.uint8))
        noise = torch.randint(0, 256, (2, bands, 128, 128), generator=generator, dtype=torch.uint8)
        # every class occurs in what it predicts
        network.classifier.bias -= network.eval()(noise).logits.mean(dim=(0, 2, 3))
    return network
