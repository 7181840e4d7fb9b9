"""What all workers of a training have in common, determined once by the job that starts them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from icss_core.dataset import BACKGROUND_CLASS, Dataset
from icss_core.errors import DatasetError, InvalidParameterError
from icss_core.labels import name_key
from icss_core.networks.input_size import check_crop
from icss_core.networks.model_folder import ModelCard
from icss_core.networks.normalisation import estimate_normalisation
from icss_core.networks.segmenter import Architecture
from icss_core.raster.raster_pool import RasterPool
from icss_core.raster.reader import open_raster
from services.data.scenes import open_scenes
from services.settings import load_settings
from services.training.config import TrainingConfig
from services.training.learner_context import learner_context
from services.training.rank_training import RankTraining
from services.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack

    from icss_core.dataset import Scene
    from icss_core.raster.reader import RasterSource
    from services.storage import Storage
    from services.training.rank import Rank

_STATISTICS_SCENES = 64
_STATISTICS_WINDOWS = 8


class Plan(BaseModel):
    """Configuration, data and the card of the network to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: TrainingConfig
    dataset_yaml: str
    base: str
    """Folder of the dataset.yaml, from which addresses start."""
    classes: tuple[str, ...]
    """Names of the classes of interest, in the model's order."""
    card: ModelCard
    scenes: tuple[str, ...] | None = None
    """Names of the training scenes; None: all that have a mask."""

    @property
    def numbers(self) -> TrainingConfig:
        """See `TrainingPlan`."""
        return self.config

    def on_rank(self, rank: Rank, storage: Storage, closing: ExitStack) -> RankTraining:
        """See `TrainingPlan`: the learner of the configured kind; scores are those on validation scenes."""
        config, pool = self.config, closing.enter_context(RasterPool())
        context = learner_context(
            config,
            self.card,
            self.dataset,
            classes=self.classes,
            only=self.scenes,
            rank=rank.number,
            device=rank.device,
            settings=load_settings(),
            storage=storage,
            pool=pool,
        )
        kind, parameters = config.learner.resolve()
        return RankTraining(
            learner=kind.build(parameters, context),
            optimisation=config.optimisation,
            card=self.card,
            validation=Validation(
                open_scenes(
                    self.dataset,
                    "val",
                    classes=self.classes,
                    storage=storage,
                    pool=pool,
                    statistics=self.card.normalisation,
                ),
                size=config.crop,
                limit=config.validation_windows,
                batch=config.batch,
                rank=rank.number,
                world=rank.world,
                precision=config.optimisation.precision,
            ),
        )

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, parsed once: a long one takes seconds."""
        return Dataset.from_yaml(self.dataset_yaml, base=self.base)


def make_plan(
    config: TrainingConfig,
    dataset: Dataset,
    storage: Storage,
    *,
    code_version: str,
    memory: ModelCard | None = None,
    scenes: tuple[str, ...] | None = None,
) -> Plan:
    """Decide classes, bands and normalisation; reads windows of the training scenes.

    The same configuration and data give the same plan: a resubmitted job goes on with its own network.

    Args:
        config: what is asked.
        dataset: the data.
        storage: where they lie.
        code_version: noted in the card.
        memory: card of the version that the training starts from; its bands and normalisation stay.
        scenes: names of the training scenes; None: all that have a mask.

    Raises:
        DatasetError: no training scene with a mask, or an unknown class.
        InvalidParameterError: the version before knows other classes, the method does not fit the network,
            or the network cannot be built or takes no crops of this size.
        TooManyClassesError: more classes than there may be.
        BandMismatchError: scenes with different numbers of bands.
        ImageNotFoundError, ImageUnreadableError: a scene cannot be opened.
    """
    chosen = [
        scene
        for scene in dataset.scenes_of("train")
        if scene.mask is not None and (scenes is None or scene.name in scenes)
    ]
    if not chosen:
        raise DatasetError(f"data set {dataset.name!r} has no training scene with a mask")
    names = config.classes or tuple(
        name for name in dataset.classes.names if name_key(name) != BACKGROUND_CLASS.name
    )
    card = (
        _first_card(config, dataset, names, chosen, storage)
        if memory is None
        else _grown_card(config, dataset, names, memory)
    )
    check_crop(card.architecture, config.crop)
    _, parameters = config.learner.resolve()
    parameters.check(card=card, crop=config.crop)
    made_by = {"method": parameters.method, "preset": parameters.preset_name}
    return Plan(
        config=config,
        dataset_yaml=dataset.to_yaml(),
        base=dataset.base,
        classes=tuple(names),
        scenes=scenes,
        card=card.model_copy(
            update={**made_by, "parameters": config.model_dump(mode="json"), "code_version": code_version}
        ),
    )


def _first_card(
    config: TrainingConfig,
    dataset: Dataset,
    names: Sequence[str],
    scenes: Sequence[Scene],
    storage: Storage,
) -> ModelCard:
    """Of a network that starts from nothing."""
    label_space = dataset.select(names)
    dtypes: set[str] = set()
    with storage.raster_environment():
        normalisation = estimate_normalisation(
            _opened(_spread(scenes, _STATISTICS_SCENES), dataset, storage, dtypes),
            windows_per_source=_STATISTICS_WINDOWS,
            size=config.crop,
            seed=config.seed,
        )
    return ModelCard(
        architecture=Architecture(
            decoder=config.decoder,
            encoder=config.encoder,
            encoder_output_stride=config.encoder_output_stride,
            encoder_weights=config.encoder_weights,
            in_channels=len(normalisation.mean),
            n_classes=len(label_space),
        ),
        normalisation=normalisation,
        label_space=label_space,
        dtype=dtypes.pop() if len(dtypes) == 1 else None,
    )


def _grown_card(
    config: TrainingConfig, dataset: Dataset, names: Sequence[str], memory: ModelCard
) -> ModelCard:
    """Of a network that starts from a version of the same model."""
    space = dataset.select(names)
    before = memory.label_space.names
    if list(map(name_key, before)) != list(map(name_key, space.names[: len(before)])):
        raise InvalidParameterError(
            f"{config.model} version {config.memory} knows {list(before)}, the training builds on "
            f"{list(space.names)}"
        )
    if len(space) == len(before):
        raise InvalidParameterError(f"{config.model} version {config.memory} knows all of {list(names)}")
    return memory.model_copy(
        update={
            "architecture": memory.architecture.model_copy(update={"n_classes": len(space)}),
            "label_space": memory.label_space.extend(*space.classes[len(before) :]),
            "parent": f"{config.model}:{config.memory}",
            "artefacts": {},
        }
    )


def _opened(
    scenes: Sequence[Scene], dataset: Dataset, storage: Storage, dtypes: set[str]
) -> Iterator[RasterSource]:
    """Each image in turn, closed before the next; notes their dtypes."""
    for scene in scenes:
        with open_raster(storage.check_allowed(dataset.address(scene.image))) as raster:
            dtypes.add(raster.dtype)
            yield raster


def _spread(scenes: Sequence[Scene], limit: int) -> list[Scene]:
    """At most `limit` scenes, evenly spread over the whole list."""
    if len(scenes) <= limit:
        return list(scenes)
    return [scenes[index * len(scenes) // limit] for index in range(limit)]
