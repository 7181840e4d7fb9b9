"""The memory and control networks of a sweep: pretrained once, and found again by other sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.training.job import pretrain
from services.training.presets import pretraining_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.settings import Settings
    from services.tune.spec import Pair


def memory_network(
    pair: Pair, address: str, numbers: Mapping[str, Any], settings: Settings
) -> tuple[str, int]:
    """Name and version of the network that knows the old classes; pretrained if there is none yet.

    Raises:
        IcssError: see `pretrain`.
    """
    return _network(f"{pair.dataset}-{'-'.join(pair.old)}", pair.old, address, numbers, settings)


def control_network(
    pair: Pair, address: str, numbers: Mapping[str, Any], settings: Settings
) -> tuple[str, int]:
    """The same for the network that learnt old and new classes from dense masks, by the same recipe."""
    classes = (*pair.old, pair.new)
    return _network(f"{pair.dataset}-{'-'.join(classes)}-control", classes, address, numbers, settings)


def _network(
    model: str, classes: tuple[str, ...], address: str, numbers: Mapping[str, Any], settings: Settings
) -> tuple[str, int]:
    return model, pretrain(pretraining_config(model, classes, address, numbers), settings)
