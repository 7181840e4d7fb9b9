"""A preset of a task on scenes: new classes learnt from masks, points or scribbles of many images."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from icss_core.data.crop_window import check_resizing
from icss_core.inference.scales import Scales  # noqa: TC001 - pydantic reads the annotations
from icss_core.methods.method import Method
from icss_core.regularisation.importance import ImportanceKind


class AnchorRule(BaseModel):
    """Holding the weights that mattered to the memory network (`icss_core.regularisation.weight_anchor`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ImportanceKind
    weight: float = Field(ge=0)
    """Lambda."""
    normalise: bool = True
    """Whether importances are scaled to [0, 1] in each tensor."""
    decay: float = Field(default=0.9, gt=0, lt=1)
    """Of the running Fisher information: weight of the newest gradient."""
    every: int = Field(default=10, ge=1)
    """Of rw: iterations between two looks at the way."""


class DensePreset(Method):
    """Everything that decides what a task on scenes does, besides its data and the memory network.

    The first task, which has no memory network, leaves out whatever needs one.
    """

    anchor: AnchorRule | None = None
    labels: Literal["task", "all"] = "task"
    """Which classes the masks show: those of the task, or all so far (joint)."""
    other_classes: Literal["background", "ignored"] = "background"
    """What the masks show other classes as. Where labels are few, those of others say nothing."""
    background: bool = True
    """Whether a pixel without label may be background: yes for objects, no for scenes whose pixels all have a
    class. Asked where a regulariser wants to know which classes are possible."""
    prototypes: bool | None = None
    """Whether the network is registered with the mean features of its classes, for the tasks after."""
    crop: int = Field(default=512, ge=32, multiple_of=32)
    batch: int = Field(default=24, ge=1, le=256)
    """Crops in an iteration, over all workers."""
    upside_down: bool = False
    """Whether crops are mirrored along rows too; for images from above, not for those of streets."""
    area: tuple[float, float] | None = (0.5, 2.0)
    """Crops are shares of an image's area, drawn from this range; what does not fit is drawn again."""
    scale: tuple[float, float] | None = None
    """Instead: crops are of images resized by a factor drawn from this range. For images that are larger than
    a crop by far, and have a resolution."""
    epochs: int | None = Field(default=30, ge=1)
    """Passes over the task's images instead of `optimisation.iterations`."""
    first_iterations: int | None = Field(default=None, ge=1)
    """Of the first task, where `epochs` is None; None: as many as of the others."""
    first_lr: float = Field(default=0.01, gt=0)
    """Learning rate of the first task; `optimisation.lr` is that of the others."""
    test_scales: Scales | None = None
    """At which validation images are predicted when a task's version is scored, each class by its highest
    score (`icss_core.inference.multi_scale`). It costs the sum of their squares times as much and changes no
    network; validations within a training are without. None: images as they are."""

    @model_validator(mode="after")
    def _crops_are_cut_in_one_way(self) -> Self:
        check_resizing(scale=self.scale, area=self.area)
        return self

    def iterations_on(self, images: int) -> int:
        """Optimisation iterations of a task with so many images."""
        if self.epochs is None:
            return self.optimisation.iterations
        return -(-self.epochs * images // self.batch)
