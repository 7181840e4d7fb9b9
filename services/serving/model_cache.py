"""Networks kept in memory, by version: versions never change, so nothing in here is ever stale."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from concurrent.futures import Future
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
        self._models: OrderedDict[tuple[str, int], Future[LoadedModel]] = OrderedDict()
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

        Two requests for a new version wait for the same load; a request for one in memory waits for none.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is no such version.
            ModelFormatError: it cannot be loaded.
        """
        key = (name, version)
        with self._lock:
            loading = self._models.get(key)
            is_new = loading is None
            if loading is None:
                loading = self._models[key] = Future()
            self._models.move_to_end(key)
            while len(self._models) > self._size:
                self._models.popitem(last=False)
        if is_new:
            try:
                loading.set_result(self._load(name, version))
            except BaseException as error:  # noqa: BLE001 - raised below, here and in all who wait
                with self._lock:
                    if self._models.get(key) is loading:  # the next request tries again
                        del self._models[key]
                loading.set_exception(error)
        return loading.result()

    def _load(self, name: str, version: int) -> LoadedModel:
        network, card = load_model(self._registry.fetch(name, version))
        return LoadedModel(name, version, self._prepare(network), card)
