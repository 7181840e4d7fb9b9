"""Which scenes a training wants, and what of each: said by the core, carried out by whoever opens scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from icss_core.labels import BACKGROUND

SceneKind = Literal["labelled", "unlabelled", "all"]
"""labelled: scenes with a mask; unlabelled: those without; all: both, where no mask is no label anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRequest:
    """Scenes of a data set as a training sees them."""

    kind: SceneKind = "labelled"
    hidden: tuple[str, ...] = ()
    """Names of classes that the masks do not show, as the classes of earlier tasks."""
    others: int = BACKGROUND
    """What masks show hidden classes as, and those the model does not know: background, or 255."""
    image_labels: bool = False
    """Whether each scene says which classes it may show (`LabelledScene.possible`)."""
    background: bool = True
    """Whether the background is always among them."""
    maps: tuple[str, ...] = ()
    """Names of the maps that each scene comes with beside its image."""
