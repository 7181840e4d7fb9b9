"""The memory and control networks of a sweep: pretrained once, and found again by other sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from icss_core.errors import InvalidParameterError, faults_of
from services.training.config import PretrainingConfig
from services.training.job import pretrain
from services.training.presets import DEFAULT_PRETRAINING, PRETRAINING_PRESETS

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


def pretraining_config(
    model: str, classes: tuple[str, ...], address: str, numbers: Mapping[str, Any]
) -> PretrainingConfig:
    """The configuration that a sweep's `pretraining` describes.

    Args:
        model: name to register.
        classes: to learn.
        address: of the dataset.yaml.
        numbers: `preset`, and fields of a PretrainingConfig, those of its parts by dotted path.

    Raises:
        InvalidParameterError: a field is unknown or out of its bounds.
    """
    given = dict(numbers)
    content: dict[str, Any] = dict(PRETRAINING_PRESETS[given.pop("preset", DEFAULT_PRETRAINING)])
    optimisation = content["optimisation"].model_dump()
    for path, value in given.items():
        if path.startswith("optimisation."):
            optimisation[path.removeprefix("optimisation.")] = value
        else:
            content[path] = value
    content |= {"optimisation": optimisation, "dataset": address, "model": model, "classes": classes}
    try:
        return PretrainingConfig.model_validate(content)
    except ValidationError as error:
        raise InvalidParameterError(f"pretraining of {model!r}: {faults_of(error)}") from error


def _network(
    model: str, classes: tuple[str, ...], address: str, numbers: Mapping[str, Any], settings: Settings
) -> tuple[str, int]:
    return model, pretrain(pretraining_config(model, classes, address, numbers), settings)
