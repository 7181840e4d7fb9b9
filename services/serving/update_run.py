"""The work on one update: from its order to a registered version."""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import contextmanager
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from icss_core.clicks.click_set import ClickSet
from icss_core.continual.replay import REPLAY_ARTEFACT, Replay
from icss_core.errors import CancelledError, IcssError
from icss_core.networks.model_folder import save_model
from icss_core.updating import Runtime, update
from icss_core.updating.updated_card import updated_card
from services.errors import StorageUnavailableError
from services.metric_buffer import MetricBuffer
from services.pictures.update_pictures import update_pictures
from services.registry import UPDATED
from services.serving.model_cache import ModelCache
from services.serving.update_files import RecordedResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icss_core.networks.segmenter import Segmenter
    from icss_core.training import IterationReport
    from icss_core.updating import UpdateResult
    from services.registry import Registry
    from services.serving.images import Images
    from services.serving.model_cache import LoadedModel
    from services.serving.orders import UpdateOrder
    from services.serving.update_control import Control
    from services.serving.update_records import UpdateRecords
    from services.tracking import Tracking


_log = logging.getLogger(__name__)

_OUTAGES: Final = 3
"""How often an update starts over since the store went away; one that reads for hours must end."""


class UpdateRun:
    """Carries out updates in this process, with memory networks kept warm. One at a time."""

    def __init__(
        self, registry: Registry, images: Images, records: UpdateRecords, tracking: Tracking
    ) -> None:
        self._registry = registry
        self._images = images
        self._records = records
        self._tracking = tracking
        self.models = ModelCache(registry, lambda network: network, size=2)

    def __call__(self, update_id: str, order: UpdateOrder, control: Control) -> int:
        """Train, write the result down, register it, and return the version.

        The same order gives the same network: after a crash the work starts over. If the crash came after the
        registration, the version is found by its run and only the alias is moved again. An MLflow server that
        is away for a while costs time, not the network (`Control.outlast`); an object store that is away
        while the image is read costs the work so far, which starts over.

        Raises:
            CancelledError: the control said stop before the point of no return.
            ImageChangedError: the image is not the one that was accepted.
            IcssError: any of the core's and the services' errors; nothing was registered.
        """
        version = control.outlast(lambda: self._registered(order.model, update_id))
        if version is None:
            version = self._make_patiently(update_id, order, control)
        made = version
        control.outlast(lambda: self._registry.set_alias(order.model, UPDATED, made))
        return version

    def _make_patiently(self, update_id: str, order: UpdateOrder, control: Control) -> int:
        for _ in range(_OUTAGES):
            try:
                return self._make(update_id, order, control)
            except StorageUnavailableError as error:
                _log.warning("update %s starts over once the object store is back: %s", update_id, error)
                control.enter("waiting for the object store")
                control.outlast(lambda: self._require_unchanged(order))
        return self._make(update_id, order, control)

    def _make(self, update_id: str, order: UpdateOrder, control: Control) -> int:
        started = time.monotonic()
        memory = control.outlast(lambda: self.models.get(order.model, order.base_version))
        label_space = memory.card.label_space
        extended = label_space.extend(order.new_class)
        clicks = ClickSet.from_lists(order.points)
        with (
            self._pinned(order, control),
            self._images.opened(
                order.image,
                bands=memory.card.architecture.in_channels,
                band_numbers=order.bands,
                dtype=memory.card.dtype,
            ) as raster,
            MetricBuffer(self._tracking, update_id) as metrics,
        ):

            def log(report: IterationReport) -> None:
                metrics.log(report.iteration, {"loss": report.loss, "lr": report.lr, **report.terms})

            result = update(
                cast("Segmenter", memory.network),
                label_space,
                raster,
                clicks,
                [order.new_class],
                order.preset,
                replay=self._replay_of(memory),
                seed=order.seed,
                runtime=Runtime(
                    on_progress=control.report, on_iteration=log, should_stop=control.should_stop
                ),
            )
            control.outlast(metrics.flush)
            control.enter("pictures")
            pictures = update_pictures(memory.network, result.network, raster, clicks, extended)
        recorded = RecordedResult(
            forgetting=result.forgetting,
            warnings=list(result.warnings),
            seconds=time.monotonic() - started,
        )

        def write() -> None:
            for name, png in pictures.items():
                self._tracking.write_bytes(update_id, f"pictures/{name}.png", png)
            self._records.write_result(update_id, recorded)

        control.outlast(write)
        control.enter("registering")
        return self._register(update_id, order, control, memory, result)

    def _register(
        self, update_id: str, order: UpdateOrder, control: Control, memory: LoadedModel, result: UpdateResult
    ) -> int:
        card = updated_card(
            memory.card,
            result.network,
            result.label_space,
            order.preset,
            parent=f"{order.model}:{order.base_version}",
            code_version=package_version("icss"),
        )
        with tempfile.TemporaryDirectory(prefix="icss-update-") as scratch:
            folder = Path(scratch) / "model"
            kept = {} if result.replay is None else {REPLAY_ARTEFACT: result.replay.to_artefact()}
            save_model(folder, result.network, card, artefacts=kept)
            control.outlast(control.commit)
            tags = {"class": order.new_class.name, "preset": order.preset.name}
            return control.outlast(
                lambda: self._registry.register(
                    order.model, folder, run_id=update_id, parent=order.base_version, tags=tags
                )
            )

    def _replay_of(self, memory: LoadedModel) -> Replay | None:
        """The examples of its classes that the version keeps."""
        folder = self._registry.fetch(memory.name, memory.version)
        return Replay.of_version(folder, cast("Segmenter", memory.network))

    @contextmanager
    def _pinned(self, order: UpdateOrder, control: Control) -> Iterator[None]:
        """A block in which the image has the bytes that were accepted, from first to last.

        Raises:
            ImageChangedError: it has not; also in place of the errors that this causes in the block.
        """
        control.outlast(lambda: self._require_unchanged(order))
        try:
            yield
        except (CancelledError, StorageUnavailableError):
            raise
        except IcssError:
            control.outlast(lambda: self._require_unchanged(order))
            raise
        control.outlast(lambda: self._require_unchanged(order))

    def _require_unchanged(self, order: UpdateOrder) -> None:
        self._images.require_unchanged(order.image, order.image_etag)

    def _registered(self, model: str, update_id: str) -> int | None:
        """The version that this update made before a crash."""
        versions = self._registry.describe(model).versions
        return next((version.version for version in versions if version.run_id == update_id), None)
