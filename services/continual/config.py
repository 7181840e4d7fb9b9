"""What a run of a protocol is asked to do."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from icss_core.continual import Protocol, first_task_of
from icss_core.methods import DensePreset
from icss_core.networks.segmenter import Decoder
from icss_core.seed import Seed
from services.model_version import MODEL_NAME
from services.training.config import DenseTask, TrainingConfig

if TYPE_CHECKING:
    from icss_core.continual import TaskManifest

_NEUTRAL: Final = {"cpus_per_worker", "gpu", "pictures"}
"""Fields that change no number. The number of workers does, from two on."""


class ProtocolRun(BaseModel):
    """A method, a protocol, a data set, a network, and a seed; all steps go on under one registered name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, Field(pattern=r"^s3://.+\.ya?ml$")]
    """Address of a dataset.yaml."""
    model: Annotated[str, Field(pattern=MODEL_NAME)]
    """Name under which the steps' networks are registered, each a version. Runs that differ in later steps
    only share the versions of the steps before."""
    protocol: Protocol
    preset: DensePreset
    decoder: Decoder = "deeplabv3"
    encoder: str = "resnet101"
    encoder_output_stride: Literal[8, 16] | None = None
    """Of dilated encoders; see `Architecture`. MiB's networks have 16."""
    encoder_weights: str | None = None
    workers: NonNegativeInt = 1
    """Of each step, data-parallel; 0: see `TrainingConfig`."""
    cpus_per_worker: PositiveInt = 1
    gpu: bool | None = None
    """One GPU for each worker; None: if the cluster has that many."""
    seed: Seed = 0
    validate_every: PositiveInt = 1000
    checkpoint_every: PositiveInt = 200
    pictures: NonNegativeInt = 0
    """Validation images whose class maps after the last step are kept."""

    def identity(self, manifest: TaskManifest) -> str:
        """The same for equal requests on equal data, however the work is spread over a cluster."""
        text = json.dumps({**self.decisive(), "manifest": manifest.manifest_hash}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def decisive(self) -> dict[str, Any]:
        """The fields that decide the numbers, those that nobody set left out."""
        asked = self.model_dump(mode="json", exclude=_NEUTRAL, exclude_none=True)
        return {**asked, "workers": max(self.workers, 1)}

    def neutral(self) -> str:
        """The other fields, as JSON; each submission of a run may have its own."""
        return self.model_dump_json(include=_NEUTRAL | {"workers"})

    def training_of(self, step: int, manifest: TaskManifest, memory: int | None) -> TrainingConfig:
        """The training of one step.

        Args:
            step: its number, from 0.
            manifest: classes and scenes of all steps.
            memory: version of the step before; None for the first.
        """
        preset = self.preset if memory is not None else first_task_of(self.preset)
        images = len(manifest.scenes[step])
        batch = -(-preset.batch // max(self.workers, 1))
        iterations = preset.iterations_on(images)
        return TrainingConfig(
            dataset=self.dataset,
            model=self.model,
            classes=tuple(name for group in manifest.classes[: step + 1] for name in group),
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
            step=DenseTask(
                # no part of a training: steps scored with and without are trained once
                preset=preset.model_copy(update={"test_scales": None}),
                new=len(manifest.classes[step]),
                memory=memory,
                scenes=manifest.scenes_hash(step),
            ),
        )
