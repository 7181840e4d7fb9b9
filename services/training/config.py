"""What a training is asked to do."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from icss_core.data.crop_window import check_resizing
from icss_core.errors import InvalidParameterError
from icss_core.labels import name_key
from icss_core.learners import LearnerKind, LearnerParameters, learner_kind
from icss_core.learners.supervised import SUPERVISED
from icss_core.networks.segmenter import Decoder
from icss_core.seed import Seed
from icss_core.training import Optimisation
from services.model_version import MODEL_NAME

NEUTRAL: Final = {"job", "workers", "cpus_per_worker", "gpu", "max_failures"}
"""Settings that change no number a training comes to. Of `workers` this is true for 0 and 1 only."""


def _said(model: BaseModel) -> dict[str, Any]:
    """JSON of a model without the fields that are None unless somebody sets them.

    So a new field of that kind changes no job's name; and None where the default is something else stays.
    """
    content = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None and field.default is None:
            del content[name]
        elif isinstance(value, BaseModel):
            content[name] = _said(value)
    return content


class LearnerChoice(BaseModel):
    """A kind of training and its numbers, checked by it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = SUPERVISED.name
    """One of `icss_core.learners.LEARNERS`."""
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _parameters_are_the_kinds(cls, content: Any) -> Any:
        if not isinstance(content, dict) or "kind" not in content:
            return content
        try:
            kind = learner_kind(str(content["kind"]))
        except InvalidParameterError as error:
            raise ValueError(str(error)) from error
        given = content.get("parameters", {})
        checked = kind.parameters.model_validate(given)
        return content | {"parameters": _said(checked)}

    def resolve(self) -> tuple[LearnerKind[Any], LearnerParameters]:
        """The kind, and its numbers as it knows them."""
        kind = learner_kind(self.kind)
        return kind, kind.parameters.model_validate(self.parameters)


class TrainingConfig(BaseModel):
    """All numbers and names of a training; equal configurations on equal data are the same job."""

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
    """Pretrained; see `Architecture`."""
    crop: Annotated[int, Field(ge=32, multiple_of=32)] = 256
    """Side length of the crops, in pixels."""
    batch: PositiveInt = 8
    """Crops in an iteration, on each worker."""
    upside_down: bool = True
    """Whether crops are mirrored along rows as well as along columns."""
    scale: tuple[float, float] | None = None
    """Factors by which scenes are resized, at random in this range."""
    area: tuple[float, float] | None = None
    """Fractions of a scene's area that crops are, at random in this range. Neither: scenes as they are."""
    optimisation: Optimisation = Optimisation(iterations=1000, lr=1e-3, schedule="poly", warmup=20)
    workers: NonNegativeInt = 2
    """Data-parallel. 0: the job's own process does what one worker would, and saves the start of one. Both
    keep the same checkpoints, so that a job stopped in one of the two ways goes on in the other."""
    cpus_per_worker: PositiveInt = 1
    gpu: bool | None = None
    """One GPU for each worker; None: if the cluster has that many. Without workers: the one that the job's
    process sees."""
    seed: Seed = 0
    validate_every: PositiveInt = 200
    """Iterations between validations; there is always one at the end."""
    validation_windows: PositiveInt = 128
    """Largest number of windows read for a validation, spread evenly over the validation scenes."""
    checkpoint_every: PositiveInt = 100
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Time for the iterations and validations. Their number is lowered to what fits, as the first iterations
    show, so that the learning rate's schedule comes to its end; when the time is over, training stops."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """How often the workers may be started again after one died."""
    job: Annotated[str, Field(pattern=r"^[\w.\-]{1,100}$")] | None = None
    """Name of the job; a job that is submitted again goes on where it was. None: made from what is asked."""
    memory: PositiveInt | None = None
    """Version of the same model that the training starts from; its classes come first in `classes`."""
    scenes: str | None = None
    """Hash of the names of the training scenes, where they are a part of the data set's."""
    learner: LearnerChoice = LearnerChoice()

    @model_validator(mode="after")
    def _some_classes(self) -> TrainingConfig:
        if len(set(map(name_key, self.classes))) != len(self.classes):
            raise ValueError(f"a class is named twice in {self.classes}")
        check_resizing(scale=self.scale, area=self.area)
        return self

    def decisive(self) -> dict[str, Any]:
        """What decides the numbers; the rest may be another with each submission of a job."""
        asked = self.model_dump(mode="json", exclude=NEUTRAL)
        return {**asked, "workers": self.workers} if self.workers > 1 else asked

    def neutral(self) -> str:
        """The other settings, as JSON."""
        return self.model_dump_json(include=NEUTRAL)

    def job_name(self, manifest_hash: str) -> str:
        """The job's name: stable over resubmission, another one when the request or the data change.

        How the work is spread over the cluster may not change it: a job may be resubmitted on other machines.
        Whether one worker does it or the job's own process is the same. Neither may a field that nobody sets:
        what is None is left out, so that jobs from before a field was there keep their names.
        """
        if self.job is not None:
            return self.job
        asked = self.model_dump(mode="json", exclude=NEUTRAL, exclude_none=True)
        if asked["learner"] == LearnerChoice().model_dump(mode="json"):
            del asked["learner"]
        asked["workers"] = max(self.workers, 1)
        text = json.dumps({**asked, "manifest": manifest_hash}, sort_keys=True)
        return f"{self.model}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
