"""The memory and control networks of a sweep: pretrained once, and found again by other sweeps."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from services.training.job import pretrain
from services.training.presets import pretraining_config
from services.tune.plain_name import plain_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.settings import Settings
    from services.training.config import TrainingConfig
    from services.tune.interactive.pair import Pair


def memory_config(pair: Pair, address: str, numbers: Mapping[str, Any]) -> TrainingConfig:
    """How the network that knows the old classes is pretrained.

    Raises:
        InvalidParameterError: the numbers are no pretraining.
    """
    return _config(pair, pair.old, "memory", address, numbers)


def control_config(pair: Pair, address: str, numbers: Mapping[str, Any]) -> TrainingConfig:
    """The same for the network that learns old and new classes from dense masks."""
    return _config(pair, (*pair.old, pair.new), "control", address, numbers)


def network_of(config: TrainingConfig, settings: Settings) -> tuple[str, int]:
    """Registered name and version; pretrained if it is not there yet.

    Raises:
        IcssError: see `pretrain`.
    """
    return config.model, pretrain(config, settings)


def _config(
    pair: Pair, classes: tuple[str, ...], what: str, address: str, numbers: Mapping[str, Any]
) -> TrainingConfig:
    """Sweeps register under names of their own: the alias `memory` of a user's model never moves."""
    words = plain_name("-".join((pair.dataset, *classes)))
    # classes that differ in other characters, or beyond the length of a name, are told apart by the digest
    digest = hashlib.sha256(json.dumps([pair.dataset, *classes]).encode()).hexdigest()[:6]
    return pretraining_config(f"sweep-{what}-{words[:40]}-{digest}", classes, address, numbers)
