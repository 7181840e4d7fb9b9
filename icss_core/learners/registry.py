"""The kinds of training by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from icss_core.errors import InvalidParameterError
from icss_core.learners.continual import CONTINUAL
from icss_core.learners.supervised import SUPERVISED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icss_core.learners.kind import LearnerKind

LEARNERS: Final[Mapping[str, LearnerKind[Any]]] = MappingProxyType(
    {kind.name: kind for kind in (SUPERVISED, CONTINUAL)}
)


def learner_kind(name: str) -> LearnerKind[Any]:
    """A kind of training.

    Raises:
        InvalidParameterError: there is none of this name.
    """
    if name not in LEARNERS:
        raise InvalidParameterError(f"unknown kind of training {name!r}; one of {list(LEARNERS)}")
    return LEARNERS[name]
