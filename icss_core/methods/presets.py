"""The presets by name. `icss-paper/*` follow the paper's text, `icss-code/*` its published code.

Differences from the paper and from its code that are common to all methods here:

- the memory network's labels (pseudo-labels, DISCA's map) come from one pass over tiles of 512 pixels, not
  from the mean of half overlapping windows of 256;
- class maps are made with our default tiling, and where the processor has it in bfloat16, as does training
  (`optimisation.precision`; the published code uses float32);
- batch norms keep their running statistics and learn all scales and shifts; the code can freeze 33 of its 50;
- if the image has more than `tiles` tiles of 512 pixels, the working area is a part of it;
- the code has no fixed length: it stops when the score on the full truth has not improved for 15 of its
  rounds, or after 100 of them; 30 is the paper's.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from icss_core.methods.method import CrossEntropyRule
from icss_core.methods.preset import (
    CropRule,
    HeadFit,
    HypercolumnRule,
    Preset,
    PrevalenceRule,
    PseudoLabelRule,
)
from icss_core.training import Optimisation

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PRESET: Final = "icss"

_DEFAULT = Preset(
    name=DEFAULT_PRESET,
    method=DEFAULT_PRESET,
    summary="our default: a head over all levels fitted to the clicks, then balanced votes and distillation",
    hypercolumn=HypercolumnRule(iterations=100, fine_tune=True),
    # where the background has no click the classifier is fitted instead
    head_fit=HeadFit(iterations=100, l2_to_start=0.01),
    pseudo_labels=PseudoLabelRule(kind="weighted", multiple=1, threshold=0, fills_up=True),
    crops=CropRule(kind="labelled", size=256, batch=4),
    optimisation=Optimisation(
        lr=3e-4, iterations=100, schedule="cosine", batch_norm="statistics", average_last=0.25
    ),
    cross_entropy=CrossEntropyRule(kind="balanced", cap=16),
    prevalence=PrevalenceRule(iterations=100, clicks_kept=0.85),
    regularisers={"distillation": {"weight": 1.0}},
)

_FAST = _DEFAULT.model_copy(
    update={
        "name": f"{DEFAULT_PRESET}-fast",
        "summary": "seconds: the head over all levels alone; as our default where no background is clicked",
        "hypercolumn": HypercolumnRule(iterations=100),
        "pseudo_labels": _DEFAULT.pseudo_labels.model_copy(update={"multiple": 5}),
    }
)

_PAPER: Final[Mapping[str, dict[str, dict[str, Any]]]] = MappingProxyType(
    {
        "baseline": {},
        "festa": {"festa": {}},
        "disca": {"disca": {}},
        "podnet": {"podnet": {}},
        "sdr": {"sdr": {}},
    }
)
"""Regularisers of the paper's methods, each with weight 1."""

_CODE: Final[Mapping[str, dict[str, dict[str, Any]]]] = MappingProxyType(
    {**_PAPER, "disca": {"disca": {"decay": True}}, "sdr": {"sdr_published": {}}}
)
"""The same where the published code does something else."""


def _paper(method: str) -> Preset:
    return Preset(
        name=f"icss-paper/{method}",
        method=method,
        summary="ICSS as its text says: 30 rounds of 10 back-propagations, Adam 2e-5, top-N pseudo-labels",
        warning=(
            "the paper's 300 iterations at a learning rate of 2e-5 from a random head usually end below the "
            "memory network; use the default preset for maps that matter"
        ),
        head_init="replace",
        pseudo_labels=PseudoLabelRule(kind="top_n", multiple=1, threshold=0),
        crops=CropRule(kind="sweep", size=256, batch=2, overlap=0.5, flips=False),
        optimisation=Optimisation(lr=2e-5, iterations=300, batch_norm="statistics"),
        rounds=30,
        tiles=256,
        regularisers=_PAPER[method],
    )


def _code(method: str) -> Preset:
    return Preset(
        name=f"icss-code/{method}",
        method=method,
        summary="ICSS as its code does: 30 rounds of 10 sweeps over the image, ten pseudo-labels per click",
        warning=(
            "300 sweeps over a large image take hours, and ten pseudo-labels per click in one "
            "mean drown the new class on a small one; use the default preset for maps that matter"
        ),
        head_init="replace",
        pseudo_labels=PseudoLabelRule(kind="threshold", multiple=10, threshold=0.99),
        crops=CropRule(kind="sweep", size=256, batch=2, overlap=0, flips=False),
        optimisation=Optimisation(lr=2e-5, batch_norm="statistics"),
        sweeps=300,
        rounds=30,
        tiles=256,
        regularisers=_CODE[method],
    )


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {preset.name: preset for preset in (_DEFAULT, _FAST, *map(_paper, _PAPER), *map(_code, _CODE))}
)
