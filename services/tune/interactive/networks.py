"""The memory and control networks of a sweep: pretrained once, then used by other sweeps too."""

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
    """The training of the network that knows the old classes only.

    Raises:
        InvalidParameterError: a number is unknown or out of its bounds.
    """
    return _config(pair, pair.old, "memory", address, numbers)


def control_config(pair: Pair, address: str, numbers: Mapping[str, Any]) -> TrainingConfig:
    """The training of the network that learns old and new classes from dense masks."""
    return _config(pair, (*pair.old, pair.new), "control", address, numbers)


def network_of(config: TrainingConfig, settings: Settings) -> tuple[str, int]:
    """Name and version of a registered network, which is trained first if it is not there yet.

    Raises:
        IcssError: see `pretrain`.
    """
    return config.model, pretrain(config, settings)


def _config(
    pair: Pair, classes: tuple[str, ...], what: str, address: str, numbers: Mapping[str, Any]
) -> TrainingConfig:
    """A training under a name that only sweeps use: the alias `memory` of a user's model never moves."""
    words = plain_name("-".join((pair.dataset, *classes)))
    # the digest tells names apart that differ in a replaced character or after the 40th
    digest = hashlib.sha256(json.dumps([pair.dataset, *classes]).encode()).hexdigest()[:6]
    return pretraining_config(f"sweep-{what}-{words[:40]}-{digest}", classes, address, numbers)
