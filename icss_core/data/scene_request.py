"""Which scenes a training reads, and how; the core states it, the code that opens scenes follows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from icss_core.labels import BACKGROUND

SceneKind = Literal["labelled", "unlabelled", "all"]
"""labelled: scenes with a mask; unlabelled: scenes without one; all: both (a scene without mask has no
label)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRequest:
    """Scenes of a data set as a training sees them."""

    kind: SceneKind = "labelled"
    hidden: tuple[str, ...] = ()
    """Names of classes that are hidden in the masks, such as the classes of earlier tasks."""
    other_label: int = BACKGROUND
    """Label of pixels whose class is hidden or unknown to the model: background (0) or ignored (255)."""
    image_labels: bool = False
    """Whether each scene must state the classes that it may show (`LabelledScene.possible`)."""
    background: bool = True
    """Whether those classes always include the background."""
    maps: tuple[str, ...] = ()
    """Names of the maps that each scene comes with beside its image."""
