"""Where the arithmetic happens."""

from __future__ import annotations

import torch


def default_device() -> torch.device:
    """The first GPU if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
