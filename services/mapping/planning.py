"""A look at every scene of a job before the work begins: what is done, what fails, what it will cost."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from icss_core.errors import IcssError
from icss_core.networks.input_size import input_size_of
from icss_core.networks.model_folder import load_model
from services.errors import may_pass
from services.mapping.map_item import RECORD, MapRecord
from services.mapping.plan import ScenePlan, plan_scene
from services.mapping.workers import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.data.find_images import StoredImage
    from services.mapping.request import MapRequest
    from services.registry import Registry
    from services.storage import Storage

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 16
_TELL_EVERY: Final = 1000


@dataclass(slots=True)
class Planned:
    """All scenes of a job, each in one of these."""

    to_do: list[ScenePlan] = field(default_factory=list)
    done: list[MapRecord] = field(default_factory=list)
    """Mapped before, exactly so."""
    failed: dict[str, Failure] = field(default_factory=dict)
    """By address: cannot be mapped."""


def plan_scenes(
    scenes: Sequence[StoredImage], request: MapRequest, registry: Registry, storage: Storage
) -> Planned:
    """Look at the headers of all scenes, several at once.

    Raises:
        StorageError: the store cannot list what is under the job's prefix, or does not answer at all.
    """
    network, card = load_model(registry.fetch(request.model, request.version))
    size = input_size_of(network)
    base = storage.check_allowed(request.out)
    there = {
        address.removeprefix(f"{base}/").removesuffix(RECORD)
        for address in storage.list(request.out)
        if address.endswith(RECORD)
    }

    def look(scene: StoredImage) -> ScenePlan | MapRecord | Failure:
        try:
            return plan_scene(scene, request, card, storage, is_there=scene.name in there, size=size)
        except IcssError as error:
            if may_pass(error):  # a store that is away is no fault of the scene
                raise
            return Failure(error=type(error).__name__, message=str(error), passing=False)

    planned = Planned()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="plan") as threads:
        for number, (scene, found) in enumerate(zip(scenes, threads.map(look, scenes), strict=True), 1):
            if isinstance(found, ScenePlan):
                planned.to_do.append(found)
            elif isinstance(found, MapRecord):
                planned.done.append(found)
            else:
                planned.failed[scene.address] = found
                _log.warning("%s cannot be mapped: %s", scene.address, found.message)
            if number % _TELL_EVERY == 0:
                _log.info("looked at %d of %d scenes", number, len(scenes))
    return planned
