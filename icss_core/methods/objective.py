"""The loss of one batch of a task: cross-entropy on its labels plus the preset's regularisers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icss_core.errors import InvalidParameterError
from icss_core.methods.cross_entropies import CROSS_ENTROPIES, label_loss
from icss_core.methods.registry import regularisers_of

if TYPE_CHECKING:
    from torch import Tensor

    from icss_core.data.batch import Batch
    from icss_core.methods.method import Method
    from icss_core.methods.need import Need
    from icss_core.methods.regulariser import TaskContext
    from icss_core.networks.segmenter import SegmenterOutput
    from icss_core.training import Objective


def needs_of(method: Method) -> frozenset[Need[Any]]:
    """All needs of a method's cross-entropy and regularisers."""
    own = CROSS_ENTROPIES[method.cross_entropy.kind].needs
    return own.union(*(regulariser.needs for regulariser, _ in regularisers_of(method)))


def build_objective(method: Method, context: TaskContext) -> Objective:
    """The loss of one batch of a task.

    Raises:
        InvalidParameterError: nothing is left of the method: no cross-entropy and no regulariser.
    """
    penalties = [
        (parameters.weight, regulariser.build(parameters, context))
        for regulariser, parameters in regularisers_of(method)
    ]
    rule = method.cross_entropy
    if not rule.weight and not penalties:
        raise InvalidParameterError(
            f"{method.name!r} has nothing to learn here: a cross-entropy of weight 0 and no regulariser"
        )
    cross_entropy = label_loss(rule, context) if rule.weight else None

    def terms(output: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {}
        if cross_entropy is not None:
            value = cross_entropy(output.logits, batch.labels, batch)
            named["cross_entropy"] = rule.weight * value if rule.weight != 1 else value
        for weight, penalty in penalties:
            more = {name: weight * value for name, value in penalty(output, batch).items()}
            if named.keys() & more.keys():
                raise AssertionError(f"two regularisers call a term {sorted(named.keys() & more.keys())}")
            named |= more
        return named

    return terms
