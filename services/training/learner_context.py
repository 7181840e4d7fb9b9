"""What a training job gives to its learner: scenes, crops, and the version it starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from icss_core.data.random_crops import RandomCrops
from icss_core.learners import LearnerContext, MemoryVersion
from icss_core.networks.model_folder import load_artefact, load_model
from icss_core.networks.segmenter import Segmenter
from services.data.scenes import open_scenes
from services.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from icss_core.data.batch import Batch
    from icss_core.data.labelled_scene import LabelledScene
    from icss_core.data.scene_request import SceneRequest
    from icss_core.dataset import Dataset
    from icss_core.networks.model_folder import ModelCard
    from icss_core.raster.raster_pool import RasterPool
    from services.settings import Settings
    from services.storage import Storage
    from services.training.config import TrainingConfig

_WEIGHTS_FOLDER = "encoder-weights"
"""Under this machine's cache."""
_STREAM_SEED = 7919
"""Apart from stream to stream; a prime, so that streams of neighbouring seeds do not meet."""


def learner_context(
    config: TrainingConfig,
    card: ModelCard,
    dataset: Dataset,
    *,
    classes: tuple[str, ...],
    only: Collection[str] | None,
    rank: int,
    device: torch.device,
    settings: Settings,
    storage: Storage,
    pool: RasterPool,
) -> LearnerContext:
    """The context of one rank.

    Args:
        config: what is asked.
        card: of the network to be made.
        dataset: the data.
        classes: names of the classes of interest, in the model's order.
        only: names of the training scenes; None: all that are there.
        rank: number of this one; ranks see different crops.
        device: where it computes.
        settings: where the version before is registered, and this machine's cache.
        storage: where scenes lie.
        pool: opens and closes their rasters.

    Raises:
        IcssError: the version before cannot be had.
    """
    memory = None
    if config.memory is not None:
        folder = Registry(settings).fetch(config.model, config.memory)
        network, _ = load_model(folder)
        memory = MemoryVersion(
            network=network.to(device).eval(), artefact=lambda name: load_artefact(folder, name)
        )

    def scenes(request: SceneRequest) -> Sequence[LabelledScene]:
        return open_scenes(
            dataset,
            "train",
            classes=classes,
            storage=storage,
            pool=pool,
            request=request,
            only=only,
            statistics=card.normalisation,
        )

    def crops(
        scenes: Sequence[LabelledScene], *, batch: int | None = None, stream: int = 0
    ) -> Callable[[int], Batch]:
        return RandomCrops(
            scenes,
            size=config.crop,
            batch=batch or config.batch,
            seed=config.seed + stream * _STREAM_SEED,
            rank=rank,
            upside_down=config.upside_down,
            scale=config.scale,
            area=config.area,
        )

    def new_network() -> Segmenter:
        cache = settings.cache_dir / _WEIGHTS_FOLDER
        network = Segmenter(card.architecture, card.normalisation, weights_cache=cache)
        return network.to(device)

    # the same first weights on every worker and at every start of the job
    torch.manual_seed(config.seed)
    return LearnerContext(
        card=card,
        memory=memory,
        scenes=scenes,
        crops=crops,
        crop=config.crop,
        optimisation=config.optimisation,
        device=device,
        seed=config.seed,
        new_network=new_network,
    )
