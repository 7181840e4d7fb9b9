"""A preset of a task on scenes: new classes learnt from masks, points or scribbles of many images."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from icss_core.data.crop_window import check_resizing
from icss_core.inference.scales import Scales  # noqa: TC001 - pydantic reads the annotations
from icss_core.methods.method import Method
from icss_core.regularisation.importance import ImportanceKind


class AnchorRule(BaseModel):
    """Numbers of the penalty on changes of important weights (`icss_core.regularisation.weight_anchor`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ImportanceKind
    weight: float = Field(ge=0)
    """Lambda, the weight of the penalty."""
    normalise: bool = True
    """Whether importances are scaled to [0, 1] in each tensor."""
    decay: float = Field(default=0.9, gt=0, lt=1)
    """Weight of the newest gradient in the running Fisher information."""
    every: int = Field(default=10, ge=1)
    """For `rw`: iterations between two updates of the score."""


class DensePreset(Method):
    """Everything that defines a task on scenes, besides its data and the memory network.

    The first task has no memory network and leaves out all terms that need one.
    """

    anchor: AnchorRule | None = None
    fusion: bool | None = None
    """Whether the weights of a finished task are averaged with those of the task before
    (`icss_core.regularisation.weight_fusion`)."""
    labels: Literal["task", "all"] = "task"
    """Which classes the masks show: those of the task, or all so far (joint)."""
    other_classes: Literal["background", "ignored"] = "background"
    """What pixels of other classes count as in the masks: background, or ignored, which suits sparse
    labels."""
    background: bool = True
    """Whether an unlabelled pixel may be background: True for objects on a background, False for scenes in
    which every pixel has a class. Used by regularisers that need the possible classes of an image."""
    prototypes: bool | None = None
    """Whether the mean features of all classes are registered with the network, for later tasks."""
    replay: float | None = Field(default=None, ge=0)
    """Weight of the cross-entropy of features drawn from means and standard deviations of the old classes
    (`icss_core.continual.prototype_replay`). 0: there is no such term, but these statistics are registered
    with the network for later tasks, as a first task does. None: neither."""
    crop: int = Field(default=512, ge=32, multiple_of=32)
    batch: int = Field(default=24, ge=1, le=256)
    """Crops in an iteration, over all workers."""
    upside_down: bool = False
    """Whether crops are mirrored along rows too; for images from above, not for those of streets."""
    area: tuple[float, float] | None = (0.5, 2.0)
    """Crops cover a fraction of an image's area, drawn from this range; one that does not fit is drawn
    again."""
    scale: tuple[float, float] | None = None
    """Instead of `area`: images are resized by a factor drawn from this range before cropping. For images of
    known resolution that are much larger than a crop."""
    epochs: int | None = Field(default=30, ge=1)
    """Passes over the task's images instead of `optimisation.iterations`."""
    first_iterations: int | None = Field(default=None, ge=1)
    """Iterations of the first task, if `epochs` is None; None: as many as in the other tasks."""
    first_lr: float = Field(default=0.01, gt=0)
    """Learning rate of the first task; later tasks use `optimisation.lr`."""
    test_scales: Scales | None = None
    """Scales at which validation images are predicted when the version of a task is scored; each class keeps
    its highest score (`icss_core.inference.multi_scale`). The cost grows by the sum of the squares of the
    scales. Does not affect training, nor the validations during a training. None: images as they are."""

    @model_validator(mode="after")
    def _crops_are_cut_in_one_way(self) -> Self:
        check_resizing(scale=self.scale, area=self.area)
        return self

    @model_validator(mode="after")
    def _replay_fits_the_classifier(self) -> Self:
        if self.replay is not None and self.cross_entropy.kind == "sigmoid":
            raise ValueError(
                "replay is a softmax over all classes; here each is decided by itself (cross_entropy.kind)"
            )
        return self

    def iterations_on(self, images: int) -> int:
        """Optimisation iterations of a task with so many images."""
        if self.epochs is None:
            return self.optimisation.iterations
        return -(-self.epochs * images // self.batch)
