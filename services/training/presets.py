"""How memory networks are pretrained: ours, and by the numbers of the ICSS paper and of its code."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from icss_core.training import Optimisation

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PRETRAINING: Final = "icss"

_EPOCHS, _SAMPLES, _BATCH = 10, 10_000, 2

PRETRAINING_PRESETS: Final[Mapping[str, dict[str, Any]]] = MappingProxyType(
    {
        DEFAULT_PRETRAINING: {
            "batch": 8,
            "workers": 2,
            "optimisation": Optimisation(iterations=1000, lr=1e-3, schedule="poly", warmup=20),
        },
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
"""Fields of a PretrainingConfig by name; all crop 256 px and flip."""
