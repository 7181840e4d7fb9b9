"""An update job in which nothing is left to be looked up, and what each of its ranks makes of it."""

from __future__ import annotations

import hashlib
import json
import logging
from functools import cached_property, partial
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from icss_core.continual.replay import Replay
from icss_core.errors import InvalidParameterError
from icss_core.labels import ClassInfo
from icss_core.methods import Preset
from icss_core.networks.input_size import input_size_of_architecture
from icss_core.networks.model_folder import load_model
from icss_core.raster.raster_pool import RasterPool
from icss_core.raster.reader import open_raster
from icss_core.seed import Seed
from icss_core.updating import ClickedImage, Runtime
from icss_core.updating.check_update import check_update
from icss_core.updating.image_stack import clicked_tiles
from icss_core.updating.learner import UpdateLearner
from icss_core.updating.prepare import only_fits, prepare
from icss_core.updating.updated_card import updated_card
from services.registry import Registry
from services.settings import load_settings
from services.training.rank_training import RankTraining
from services.updating.images import PlannedImage, look_at_images
from services.updating.request import Spread
from services.updating.stage_lines import StageLines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from services.model_version import ModelVersion
    from services.storage import Storage
    from services.training.rank import Rank
    from services.updating.request import UpdateJobRequest

_log = logging.getLogger(__name__)

_POOL_BYTES: Final = 2**26
"""Few: the update keeps the tiles that it reads itself."""


class _Numbers(Spread):
    """See `services.training.rank_training.TrainingNumbers`."""

    model: str
    validate_every: int = 1
    minutes: float | None = None


class UpdatePlan(BaseModel):
    """Everything that decides the network, and how the work is spread."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    version: PositiveInt
    """Of the memory network."""
    new_class: ClassInfo
    images: Annotated[tuple[PlannedImage, ...], Field(min_length=1)]
    """Those with clicks first."""
    bands: tuple[PositiveInt, ...] | None
    preset: Preset
    seed: Seed
    spread: Spread

    @property
    def clicked(self) -> list[PlannedImage]:
        """The images with clicks."""
        return [image for image in self.images if image.points is not None]

    def decisive(self) -> dict[str, Any]:
        """What decides the network; the rest may be another with each submission of a job."""
        content = self.model_dump(mode="json", exclude={"spread"})
        # each worker has crops of its own in an iteration
        return {**content, "workers": max(self.spread.workers, 1)}

    @cached_property
    def job(self) -> str:
        """The job's name: the same for the same request and the same bytes."""
        text = json.dumps(self.decisive(), sort_keys=True)
        return f"{self.model}-update-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def numbers(self) -> _Numbers:
        """See `TrainingPlan`."""
        return _Numbers(model=self.model, **self.spread.model_dump())

    def opened(self, pool: RasterPool, storage: Storage) -> list[ClickedImage]:
        """The images as an update takes them; each is opened when it is read."""
        opener = partial(open_raster, bands=self.bands)
        return [
            ClickedImage(
                pool.source(storage.check_allowed(image.address), opener, layout=image.layout),
                image.clicks,
                name=image.address,
            )
            for image in self.images
        ]

    def on_rank(self, rank: Rank, storage: Storage, closing: ExitStack) -> RankTraining:
        """See `TrainingPlan`: all ranks prepare the same, and train on crops of their own."""
        folder = Registry(load_settings()).fetch(self.model, self.version)
        memory, card = load_model(folder)
        label_space = card.label_space
        extended = label_space.extend(self.new_class)
        pool = closing.enter_context(RasterPool(max_bytes=_POOL_BYTES))
        prepared = prepare(
            memory,
            label_space,
            extended,
            self.opened(pool, storage),
            self.preset,
            replay=Replay.of_version(folder, memory),
            seed=self.seed,
            runtime=Runtime(device=rank.device, on_progress=StageLines() if rank.number == 0 else None),
            rank=rank.number,
            world=rank.world,
        )
        return RankTraining(
            learner=UpdateLearner(prepared, self.preset),
            optimisation=prepared.optimisation,
            card=updated_card(
                card,
                prepared.network,
                extended,
                self.preset,
                parent=f"{self.model}:{self.version}",
                code_version=package_version("icss"),
            ),
            validation=None,
        )


def make_update_plan(request: UpdateJobRequest, memory: ModelVersion, storage: Storage) -> UpdatePlan:
    """Read the clicks, look at all images, and refuse what cannot be done before anything is begun.

    Args:
        request: what is asked.
        memory: the version to add to.
        storage: where images and clicks lie.

    Raises:
        ClassExistsError: the version knows the class already.
        ClickError, UnknownClassError: a click cannot be used, or the new class has none.
        ImageNotFoundError, ImageUnreadableError: an image cannot be read.
        BandMismatchError, DtypeMismatchError: an image is not what the network was trained on.
        InvalidParameterError: an image is named twice, there are none at an address of the context, clicks
            lie on more tiles than the preset takes, or the network takes no crops of this size.
        IcssError: an address may not be read, or the store did not answer.
    """
    card, preset = memory.card, request.preset
    extended = card.label_space.extend(request.new_class)
    looked_at = look_at_images(request, card, extended, storage)
    plan = UpdatePlan(
        model=request.model,
        version=memory.version,
        new_class=request.new_class,
        images=looked_at,
        bands=request.bands,
        preset=preset,
        seed=request.seed,
        spread=_useful_spread(request, looked_at),
    )
    with RasterPool() as pool:  # nothing is opened: what is asked for is known
        images = plan.opened(pool, storage)
        taken = input_size_of_architecture(card.architecture)
        check_update(
            card.architecture, card.label_space, extended, images, preset, taken=taken, dtype=card.dtype
        )
        tiles = clicked_tiles(images, taken=taken)
    if tiles > preset.tiles:
        raise InvalidParameterError(
            f"clicks lie on {tiles} tiles of the images, and preset {preset.name!r} takes {preset.tiles} of "
            f"them: say --overrides '{{\"tiles\": {tiles}}}'; memory grows with them"
        )
    return plan


def _useful_spread(request: UpdateJobRequest, images: Sequence[PlannedImage]) -> Spread:
    """One worker where heads are only fitted: to all clicks at once, which each worker would do by itself."""
    spread, preset = request.spread, request.preset
    clicked = {index for image in images for index in image.clicks.counts()}
    if spread.workers <= 1 or not only_fits(preset, clicked):
        return spread
    _log.warning("preset %s only fits heads: one worker does it, and not %d", preset.name, spread.workers)
    return spread.model_copy(update={"workers": 1})
