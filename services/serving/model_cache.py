"""Networks kept in memory, by version: versions never change, so nothing in here is ever stale."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icss_core.networks.model_folder import load_model
from services.registry import MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from icss_core.networks.model_folder import ModelCard
    from icss_core.networks.segmenter import Segmenter
    from services.registry import Registry

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version in memory. Shared between users: none may change the network."""

    name: str
    version: int
    network: nn.Module
    card: ModelCard


class ModelCache:
    """The last few versions asked for, each prepared once.

    Args:
        registry: where versions come from.
        prepare: what is done to a network before it is kept (for inference: folded, in bfloat16).
        size: how many versions are kept.
    """

    def __init__(
        self, registry: Registry, prepare: Callable[[Segmenter], nn.Module], *, size: int = 4
    ) -> None:
        self._registry = registry
        self._prepare = prepare
        self._size = size
        self._models: OrderedDict[tuple[str, int], LoadedModel] = OrderedDict()
        self._lock = threading.Lock()

    def warm_up(self) -> list[str]:
        """Load the memory versions of the first models ahead of their requests; returns the names.

        What cannot be loaded is left for the request that asks for it, which then gets the error.
        """
        loaded = []
        for name in self._registry.names()[: self._size]:
            try:
                self.get(name, self._registry.resolve(name, MEMORY).version)
            except Exception:  # noqa: BLE001 - one broken model must not keep the service from starting
                _log.warning("model %s is not warm", name, exc_info=True)
            else:
                loaded.append(name)
        return loaded

    def get(self, name: str, version: int) -> LoadedModel:
        """A version, from memory, from the local copy, or from the registry.

        One load at a time: two requests for a new version wait for the same one.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is no such version.
            ModelFormatError: it cannot be loaded.
        """
        with self._lock:
            key = (name, version)
            if key not in self._models:
                network, card = load_model(self._registry.fetch(name, version))
                self._models[key] = LoadedModel(name, version, self._prepare(network), card)
                while len(self._models) > self._size:
                    self._models.popitem(last=False)
            self._models.move_to_end(key)
            return self._models[key]
