"""The presets of tasks on scenes by name: MiB and the methods it is compared with, by the papers' numbers.

Differences from the published code that are common to all methods here: the classifier is one convolution
whose rows grow (the code keeps one a task, which gives the same logits), and importances are
scaled over all its rows; batch norms are PyTorch's, each worker with its own statistics; mixed precision is
bfloat16 without loss scaling. As there, a mean over "all" pixels counts unlabelled pixels
as zero. There the borders of VOC's objects are learnt as background; here they have no label.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from icss_core.methods.dense_preset import AnchorRule, DensePreset
from icss_core.methods.method import CrossEntropyRule
from icss_core.training import Optimisation

if TYPE_CHECKING:
    from collections.abc import Mapping

_SGD: Final = Optimisation(
    optimiser="sgd", lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4, schedule="poly"
)
"""Optimisation of MiB, and of all methods that it is compared with."""

_EVERYWHERE: Final = CrossEntropyRule(kind="mean", over="all")
_UNBIASED: Final = CrossEntropyRule(kind="unbiased", over="all")

_METHODS: Final[Mapping[str, dict[str, Any]]] = MappingProxyType(
    {
        "ft": {"summary": "fine-tuning: nothing is kept on purpose"},
        "joint": {
            "summary": "all classes so far labelled, on each task's images; with one group, the upper bound",
            "labels": "all",
        },
        "lwf": {"summary": "plain distillation", "regularisers": {"lwf": {"weight": 100}}},
        "lwf-mc": {
            "summary": "a yes or no for each class, and their distillation",
            "cross_entropy": CrossEntropyRule(kind="sigmoid", over="all"),
            "regularisers": {"lwf-mc": {"weight": 10}},
        },
        "ilt": {
            "summary": "plain distillation of logits and features",
            "regularisers": {"lwf": {"weight": 100}, "features": {"weight": 100}},
        },
        "ewc": {
            "summary": "weights held by their Fisher information",
            "anchor": AnchorRule(kind="ewc", weight=500),
        },
        "pi": {
            "summary": "weights held by their part in the loss's fall",
            "anchor": AnchorRule(kind="pi", weight=500),
        },
        "rw": {"summary": "weights held by both", "anchor": AnchorRule(kind="rw", weight=100)},
        "mib": {
            "summary": "the background may be any old class, and the memory's background any new one",
            "cross_entropy": _UNBIASED,
            "head_init": "background",
            "regularisers": {"distillation": {"weight": 10}},
        },
        "ewf": {
            "summary": "MiB, its weights averaged with those of the task before",
            "cross_entropy": _UNBIASED,
            "head_init": "background",
            "regularisers": {"distillation": {"weight": 10}},
            "fusion": True,
        },
        "mib-replay": {
            "summary": "MiB, and features of old classes drawn from their means and deviations (after STAR)",
            "cross_entropy": _UNBIASED,
            "head_init": "background",
            "regularisers": {"distillation": {"weight": 10}},
            "replay": 1.0,
        },
        # MiB's ablation (its Table 2): one part after the other
        "mib-ce": {
            "summary": "MiB's cross-entropy with plain distillation and a random head",
            "cross_entropy": _UNBIASED,
            "regularisers": {"lwf": {"weight": 10}},
        },
        "mib-ce-kd": {
            "summary": "MiB without its head",
            "cross_entropy": _UNBIASED,
            "regularisers": {"distillation": {"weight": 10}},
        },
        "sdr": {
            "summary": "old classes held at their mean features, classes together and apart, features sparse",
            "cross_entropy": _UNBIASED,
            "regularisers": {
                "distillation": {"weight": 100},
                "sdr-match": {"weight": 0.01},
                "sdr-shape": {"attract": 1e-3, "separate": 1e-3, "sparse": 1e-3},
            },
            "prototypes": True,
            "optimisation": _SGD.model_copy(update={"lr": 1e-4}),
            "first_lr": 1e-3,
            "batch": 8,
        },
        "plop": {
            "summary": "background completed by the memory network, levels held by local POD",
            "cross_entropy": CrossEntropyRule(kind="completed"),
            "head_init": "background",
            "regularisers": {"local-pod": {}},
        },
    }
)
"""Fields of a DensePreset by method; fields that a method does not set are those of fine-tuning. SDR has the
numbers of the presets in its code (its README has a tenth of the weights of distillation and sparsity), and
its random head. For differences from SDR see `sdr-shape` and `class_prototypes`."""

_POINTS: Final = _SGD.model_copy(update={"lr": 1e-4, "nesterov": False})
"""Optimisation of MiB with points; in its comparison with other methods MiB uses a tenth of the learning
rate."""

_SPARSE: Final[Mapping[str, dict[str, Any]]] = MappingProxyType(
    {
        "pce": {"summary": "cross-entropy of the labelled pixels alone"},
        "pce-background": {
            "summary": "the same, every other pixel taken for background",
            "cross_entropy": CrossEntropyRule(unlabelled="background"),
        },
        "unl": {
            "summary": "the same, other pixels being of a class that is labelled in their image (MiB)",
            "regularisers": {"possible": {"weight": 0.1}},
        },
        "pdml": {
            "summary": "the same, labelled pixels of a class alike across the images of a batch (PDML)",
            "regularisers": {"point-metric": {}},
        },
        "img-level": {
            "summary": "which classes an image shows, no labelled pixel",
            "cross_entropy": CrossEntropyRule(weight=0.0),
            "regularisers": {"image-level": {}},
        },
        "img-level-pce": {"summary": "both", "regularisers": {"image-level": {}}},
    }
)
"""The same for points and scribbles. The papers give neither gamma (0.1 here, a guess: sweep it) nor the role
of unlabelled pixels in `pce-background`. The labels of a whole image count for each of its crops. The full
text of PDML was not available: margin, weight and choice of points are ours. For scribbles only, MiB tests at
five scales: use the override `test_scales` [0.5, 0.75, 1, 1.25, 1.5]; the presets lack it because they serve
points as well. The dense CRF that MiB applies afterwards is left out, as no library for it is maintained."""


_FAMILIES: Final = MappingProxyType(
    {"ewf": "ewf-paper", "plop": "plop-paper", "sdr": "sdr-paper", "mib-replay": "star-like"}
)
"""First part of a preset's name, where it is not `mib-paper`."""


def _preset(method: str) -> DensePreset:
    fields = {"head_init": "random", "cross_entropy": _EVERYWHERE, **_METHODS[method]}
    family = _FAMILIES.get(method, "mib-paper")
    return DensePreset(**{"name": f"{family}/{method}", "method": method, "optimisation": _SGD, **fields})


def _sparse(method: str) -> DensePreset:
    return DensePreset(
        name=f"mib-weak/{method}",
        method=method,
        optimisation=_POINTS,
        first_lr=_POINTS.lr,
        other_classes="ignored",
        head_init="random",
        **_SPARSE[method],
    )


DENSE_PRESETS: Final[Mapping[str, DensePreset]] = MappingProxyType(
    {preset.name: preset for preset in (*map(_preset, _METHODS), *map(_sparse, _SPARSE))}
)
