"""Presets of pretraining: ours, and those of the ICSS paper and of its code.

Optimiser, learning rates, batch and length are those of paper and code. Deviations: the encoder starts from
random weights unless `encoder_weights` names others (the code copies ImageNet's convolutions), and pixels are
normalised by the data's statistics (the code divides by 255).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from icss_core.errors import InvalidParameterError, faults_of
from icss_core.training import Optimisation
from services.training.config import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PRETRAINING: Final = "icss"

_EPOCHS, _SAMPLES, _BATCH = 10, 10_000, 2

PRETRAINING_PRESETS: Final[Mapping[str, dict[str, Any]]] = MappingProxyType(
    {
        DEFAULT_PRETRAINING: {},  # a TrainingConfig's own defaults
        # the text names neither batch nor schedule; the batch is the code's
        "icss-paper": {
            "batch": _BATCH,
            "workers": 1,
            "optimisation": Optimisation(
                optimiser="adam", lr=1e-4, iterations=_EPOCHS * _SAMPLES // _BATCH, schedule="constant"
            ),
        },
        # the learning rate falls before the 5th and the 8th of ten epochs
        "icss-code": {
            "batch": _BATCH,
            "workers": 1,
            "optimisation": Optimisation(
                optimiser="sgd",
                lr=0.05,
                momentum=0.9,
                weight_decay=5e-4,
                iterations=_EPOCHS * _SAMPLES // _BATCH,
                schedule="multistep",
                milestones=(0.4, 0.7),
            ),
        },
    }
)
"""Fields of a TrainingConfig by name; all crop 256 px and flip."""


def pretraining_config(
    model: str, classes: tuple[str, ...], address: str, numbers: Mapping[str, Any]
) -> TrainingConfig:
    """A preset's configuration, changed by some numbers.

    Args:
        model: name to register.
        classes: to learn.
        address: of the dataset.yaml.
        numbers: `preset` (none: ours), and fields of a TrainingConfig, those of its parts by dotted path.

    Raises:
        InvalidParameterError: the preset or a field is unknown, or a field is out of its bounds.
    """
    given = dict(numbers)
    preset = given.pop("preset", DEFAULT_PRETRAINING)
    if preset not in PRETRAINING_PRESETS:
        raise InvalidParameterError(
            f"unknown pretraining preset {preset!r}; one of {list(PRETRAINING_PRESETS)}"
        )
    content: dict[str, Any] = dict(PRETRAINING_PRESETS[preset])
    default = TrainingConfig.model_fields["optimisation"].default
    optimisation = content.get("optimisation", default).model_dump()
    chosen = given.pop("optimisation", {}) | {
        path.removeprefix("optimisation."): given.pop(path)
        for path in list(given)
        if path.startswith("optimisation.")
    }
    reserved = given.keys() & {"dataset", "model", "classes"}
    if reserved:
        raise InvalidParameterError(f"pretraining of {model!r}: {sorted(reserved)} are not its numbers")
    optimisation |= chosen
    content |= given
    content |= {"optimisation": optimisation, "dataset": address, "model": model, "classes": classes}
    try:
        config = TrainingConfig.model_validate(content)
        if "warmup" in chosen:
            return config
        # a short training has no time for our whole warm-up
        warmup = min(config.optimisation.warmup, config.optimisation.iterations // 10)
        changed = config.optimisation.model_copy(update={"warmup": warmup})
        return config.model_copy(update={"optimisation": changed})
    except ValidationError as error:
        raise InvalidParameterError(f"pretraining of {model!r}: {faults_of(error)}") from error
