"""A preset of an update from clicks: a method with all its numbers, as data."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from icss_core.methods.method import Method


class PseudoLabelRule(BaseModel):
    """Which pixels get a pseudo-label of an old class of interest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["top_n", "threshold", "weighted", "none"] = "top_n"
    """top_n: the most confident (the paper); threshold: a uniform draw among the confident (its code);
    weighted: a draw in which confidence counts (ours)."""
    multiple: float = Field(default=1.0, gt=0, le=100)
    """Pixels per old class, as a multiple of the largest number of clicks on one class."""
    threshold: float = Field(default=0.99, ge=0, lt=1)
    """Confidence that a pixel must exceed, for all kinds; 0 accepts any."""
    fills_up: bool = False
    """Only as many as a class's own clicks fall short of that largest number, times `multiple`. Where an
    annotator has said what an old class looks like, guesses are worse than nothing (ours)."""


class CropRule(BaseModel):
    """Which crops an update sees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["labelled", "sweep"] = "labelled"
    """labelled: at random around labelled pixels; sweep: a grid over the working area (ICSS: the image)."""
    size: int = Field(default=256, ge=64, le=2048, multiple_of=32)
    batch: int = Field(default=4, ge=1, le=64)
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Overlap of neighbouring windows of a sweep, as a fraction of their size."""
    flips: bool = True

    def stride(self, size: int) -> int:
        """Pixels from one window of a sweep to the next, for windows of `size`."""
        return max(round(size * (1 - self.overlap)), 1)


class ContextRule(BaseModel):
    """How images without clicks take part, where there are any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=2, ge=1, le=64)
    """Crops of them in each iteration, beside those of the clicked images."""
    tiles: int = Field(default=64, ge=1, le=4096)
    """Largest number of their tiles of 512 pixels, of all together, drawn at random."""


class HeadFit(BaseModel):
    """Fitting the classifier alone, on the frozen features of the labelled pixels, before fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(default=0, ge=0, le=1000)
    """Of L-BFGS; 0 leaves the head as it was initialised."""
    l2_to_start: float = Field(default=0.01, ge=0)
    """Weight of the squared distance to the initial rows, which keeps classes with few labels near them."""


class HypercolumnRule(BaseModel):
    """Fitting a head over the features of all levels, whose logits are added to the classifier's.

    The features are frozen. It needs clicks of the background, and is left out without them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(default=0, ge=0, le=10_000)
    """Of AdamW; 0 leaves the network as it is."""
    batch: int = Field(default=512, ge=1)
    """Labelled pixels that an iteration sees, about as many of each class; of fewer, all."""
    units: int = Field(default=256, ge=1, le=4096)
    """That the head has more than before."""
    members: int = Field(default=8, ge=1, le=64)
    """Parts of these units that learn apart and vote; divides `units`."""
    lr: float = Field(default=0.01, gt=0)
    """At the start; falls along half a cosine."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Fraction of the features that a member does not see in an iteration."""
    weight_decay: float = Field(default=1e-3, ge=0)
    shrinkage: float = Field(default=0.003, ge=0)
    """Weight of the mean square of what is added to the logits of labelled pixels."""
    replay: Literal["missing", "all", "none"] = "missing"
    """Which samples that the memory network's version keeps are used: those of classes that neither clicks
    nor pseudo-labels show; those of all classes; none."""
    fine_tune: bool = False
    """Whether the whole network is trained after the head was fitted, or only where it could not be."""

    @model_validator(mode="after")
    def _members_are_alike(self) -> Self:
        if self.units % self.members:
            raise ValueError(f"{self.units} units are not {self.members} members of one size")
        return self


class PrevalenceRule(BaseModel):
    """Shifting the new classes' biases, after the training, to how common they are in the image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(default=0, ge=0, le=1000)
    """Of expectation maximisation; 0 leaves the classifier as it was trained."""
    clicks_kept: float = Field(default=0.85, ge=0, le=1)
    """Smallest fraction of the correctly classified clicks that must remain correct."""


class Preset(Method):
    """Everything that decides what an update from clicks does, besides the image and its clicks."""

    hypercolumn: HypercolumnRule = HypercolumnRule()
    head_fit: HeadFit = HeadFit()
    """Not used where the hypercolumn head is fitted."""
    pseudo_labels: PseudoLabelRule = PseudoLabelRule()
    crops: CropRule = CropRule()
    sweeps: int | None = Field(default=None, ge=1)
    """Passes over the grid instead of `optimisation.iterations`, for presets that count in passes."""
    rounds: int = Field(default=1, ge=1)
    """Number of parts of nearly equal length into which the training is divided (ICSS: 30); the network can
    be looked at after each."""
    tiles: int = Field(default=64, ge=1, le=4096)
    """Largest number of tiles of 512 pixels in the working area; on a larger raster those with most
    clicks."""
    prevalence: PrevalenceRule = PrevalenceRule()
    context: ContextRule = ContextRule()

    @model_validator(mode="after")
    def _labels_are_clicks(self) -> Self:
        if self.cross_entropy.kind == "completed":
            raise ValueError("an update from clicks has no background to complete (cross_entropy.kind)")
        return self

    def iterations_on(self, windows: int, *, workers: int = 1) -> int:
        """Optimisation iterations of an update whose sweep has so many windows (`sweep_windows`).

        Only a preset that counts in sweeps asks for their number, and for that of the workers: each has a
        batch of its own in an iteration.
        """
        if self.sweeps is None:
            return self.optimisation.iterations
        return -(-self.sweeps * windows // (self.crops.batch * workers))
