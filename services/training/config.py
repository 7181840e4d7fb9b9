"""What a pretraining is asked to do."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from icss_core.data.crop_window import check_resizing
from icss_core.labels import BACKGROUND, IGNORE, name_key
from icss_core.methods import DensePreset
from icss_core.networks.segmenter import Decoder
from icss_core.training import Optimisation
from services.model_version import MODEL_NAME


class DenseTask(BaseModel):
    """The part of a protocol that a training is: new classes on top of a version of the same model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: DensePreset
    """The method; crops, batch and optimisation of the configuration around it are what counts."""
    new: PositiveInt
    """How many of the classes are learnt, the last ones."""
    memory: PositiveInt | None
    """Version that knows the others; None in the first step."""
    scenes: str
    """Hash of the names of the step's scenes."""


class TrainingConfig(BaseModel):
    """All numbers and names of a pretraining; equal configurations on equal data are the same job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, Field(pattern=r"^s3://.+\.ya?ml$")]
    """Address of a dataset.yaml."""
    model: Annotated[str, Field(pattern=MODEL_NAME)]
    """Name under which the network is registered."""
    classes: tuple[str, ...] = ()
    """Classes to learn; all others of the data set are background. Empty: every class there is."""
    decoder: Decoder = "linknet"
    encoder: str = "resnet34"
    encoder_output_stride: Literal[8, 16] | None = None
    """Of dilated encoders; see `Architecture`."""
    encoder_weights: str | None = None
    crop: Annotated[int, Field(ge=32, multiple_of=32)] = 256
    """Side length of the crops, in pixels."""
    batch: PositiveInt = 8
    """Crops in an iteration, on each worker."""
    upside_down: bool = True
    """Whether crops are mirrored along rows as well as along columns."""
    scale: tuple[float, float] | None = None
    """Factors by which scenes are resized, at random in this range."""
    area: tuple[float, float] | None = None
    """Shares of a scene's area that crops are, at random in this range. Neither: scenes as they are."""
    optimisation: Optimisation = Optimisation(iterations=1000, lr=1e-3, schedule="poly", warmup=20)
    workers: NonNegativeInt = 2
    """Data-parallel. 0: the job's own process does what one worker would, and saves the start of one; it
    keeps checkpoints of its own, so that a job stopped in one of the two ways starts again in the other."""
    cpus_per_worker: PositiveInt = 1
    gpu: bool | None = None
    """One GPU for each worker; None: if the cluster has that many. Without workers: the one that the job's
    process sees."""
    seed: int = 0
    validate_every: PositiveInt = 200
    """Iterations between validations; there is always one at the end."""
    validation_windows: PositiveInt = 128
    """Most windows read for a validation, spread evenly over the validation scenes."""
    checkpoint_every: PositiveInt = 100
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Time for the iterations and validations. Their number is lowered to what fits, as the first iterations
    show, so that the learning rate's schedule comes to its end; when the time is over, training stops."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """How often the workers may be started again after one died."""
    job: Annotated[str, Field(pattern=r"^[\w.\-]{1,100}$")] | None = None
    """Name of the job; a job that is submitted again goes on where it was. None: made from what is asked."""
    step: DenseTask | None = None
    """What is learnt where it is not everything at once."""

    @model_validator(mode="after")
    def _some_classes(self) -> TrainingConfig:
        if len(set(map(name_key, self.classes))) != len(self.classes):
            raise ValueError(f"a class is named twice in {self.classes}")
        check_resizing(scale=self.scale, area=self.area)
        if self.step is not None and len(self.classes) - self.step.new < (self.step.memory is not None):
            raise ValueError(
                f"{self.step.new} new classes of {self.classes} leave none for the version before"
            )
        return self

    @property
    def others(self) -> int:
        """What the training masks show hidden and unnamed classes as."""
        ignored = self.step is not None and self.step.preset.others == "ignored"
        return IGNORE if ignored else BACKGROUND

    @property
    def hidden(self) -> tuple[str, ...]:
        """Classes that the training masks do not show, those of the steps before."""
        if self.step is None or self.step.preset.labels == "all":
            return ()
        return self.classes[: -self.step.new]

    def job_name(self, manifest_hash: str) -> str:
        """The job's name: stable over resubmission, another one when the request or the data change.

        How the work is spread over the cluster may not change it: a job may be resubmitted on other machines.
        Whether one worker does it or the job's own process is the same. Neither may a field that nobody sets:
        what is None is left out, so that jobs from before a field was there keep their names.
        """
        if self.job is not None:
            return self.job
        spread = {"job", "cpus_per_worker", "gpu", "max_failures"}
        asked = self.model_dump(mode="json", exclude=spread, exclude_none=True)
        asked["workers"] = max(self.workers, 1)
        text = json.dumps({**asked, "manifest": manifest_hash}, sort_keys=True)
        return f"{self.model}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
