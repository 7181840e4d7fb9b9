"""What a run of a protocol is asked to do."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from icss_core.continual import IncrementalProtocol, first_task_of
from icss_core.errors import InvalidParameterError
from icss_core.learners.continual import CONTINUAL
from icss_core.methods import DensePreset
from icss_core.methods.registry import misfit
from icss_core.networks.input_size import check_crop
from icss_core.networks.segmenter import Architecture, Decoder
from icss_core.seed import Seed
from services.model_version import MODEL_NAME
from services.training.config import NEUTRAL, LearnerChoice, TrainingConfig

if TYPE_CHECKING:
    from icss_core.continual import TaskManifest

_NEUTRAL: Final = NEUTRAL | {"pictures"}
"""Fields that change no number; see `NEUTRAL` on workers."""


class ProtocolRun(BaseModel):
    """A method, a protocol, a data set, a network, and a seed; all tasks go on under one registered name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, Field(pattern=r"^s3://.+\.ya?ml$")]
    """Address of a dataset.yaml."""
    model: Annotated[str, Field(pattern=MODEL_NAME)]
    """Name under which the tasks' networks are registered, each a version. Runs that differ only in
    later tasks have the versions of the earlier ones in common."""
    protocol: IncrementalProtocol
    preset: DensePreset
    decoder: Decoder = "deeplabv3"
    encoder: str = "resnet101"
    encoder_output_stride: Literal[8, 16] | None = None
    """Of dilated encoders; see `Architecture`. MiB's networks have 16."""
    encoder_weights: str | None = None
    workers: NonNegativeInt = 1
    """Data-parallel workers of each task; 0: see `TrainingConfig`."""
    cpus_per_worker: PositiveInt = 1
    gpu: bool | None = None
    """One GPU for each worker; None: if the cluster has that many."""
    seed: Seed = 0
    validate_every: PositiveInt = 1000
    checkpoint_every: PositiveInt = 200
    pictures: NonNegativeInt = 0
    """Validation images whose class maps after the last task are kept."""

    @model_validator(mode="after")
    def _method_fits_the_network(self) -> Self:
        """Refused here, not in the second task's first batch: the first task leaves out what may not fit."""
        architecture = Architecture(
            decoder=self.decoder,
            encoder=self.encoder,
            encoder_output_stride=self.encoder_output_stride,
            encoder_weights=self.encoder_weights,
            n_classes=2,
        )
        try:
            check_crop(architecture, self.preset.crop)
            reason = misfit(self.preset, architecture=architecture, crop=self.preset.crop)
        except InvalidParameterError as error:
            raise ValueError(str(error)) from error
        if reason is not None:
            raise ValueError(reason)
        return self

    def identity(self, manifest: TaskManifest) -> str:
        """Hash that is equal for equal requests on equal data, however the work is spread over a cluster."""
        text = json.dumps({**self.decisive(), "manifest": manifest.manifest_hash}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def decisive(self) -> dict[str, Any]:
        """The fields that influence the results, without those that are not set."""
        asked = self.model_dump(mode="json", exclude=_NEUTRAL, exclude_none=True)
        return {**asked, "workers": max(self.workers, 1)}

    def neutral(self) -> str:
        """The other fields, as JSON; each submission of a run may have its own."""
        return self.model_dump_json(include=_NEUTRAL)

    def training_of(self, task: int, manifest: TaskManifest, memory: int | None) -> TrainingConfig:
        """The training of one task.

        Args:
            task: its number, from 0.
            manifest: classes and scenes of all tasks.
            memory: version of the task before; None for the first.
        """
        preset = self.preset if memory is not None else first_task_of(self.preset)
        images = len(manifest.scenes[task])
        batch = -(-preset.batch // max(self.workers, 1))
        iterations = preset.iterations_on(images)
        return TrainingConfig(
            dataset=self.dataset,
            model=self.model,
            classes=tuple(name for group in manifest.classes[: task + 1] for name in group),
            decoder=self.decoder,
            encoder=self.encoder,
            encoder_output_stride=self.encoder_output_stride,
            encoder_weights=self.encoder_weights,
            crop=preset.crop,
            batch=batch,
            upside_down=preset.upside_down,
            scale=preset.scale,
            area=preset.area,
            optimisation=preset.optimisation.model_copy(update={"iterations": iterations}),
            workers=self.workers,
            cpus_per_worker=self.cpus_per_worker,
            gpu=self.gpu,
            seed=self.seed,
            validate_every=self.validate_every,
            checkpoint_every=self.checkpoint_every,
            memory=memory,
            scenes=manifest.scenes_hash(task),
            learner=LearnerChoice(
                kind=CONTINUAL.name,
                # no part of a training: tasks scored with and without are trained once
                parameters={
                    "preset": preset.model_copy(update={"test_scales": None}).model_dump(mode="json")
                },
            ),
        )
