"""Queues over real records, with work that waits until a test lets it go."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from icss_core.errors import CancelledError
from icss_core.labels import ClassInfo
from icss_core.methods import get_preset, written_out
from services.serving.orders import ClassClicks, UpdateOrder, fingerprint_of
from services.serving.requests import UpdateRequest
from services.serving.update_queue import UpdateQueue
from services.serving.update_records import UpdateEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.serving.update_control import Control
    from services.serving.update_records import UpdateRecords

SECONDS = 20
LEASE_SECONDS = 0.9


def order(name: str = "building", *, seed: int = 0, base_version: int = 1) -> UpdateOrder:
    """An accepted request to add a class; other names and seeds make other requests."""
    clicks = {"type": "FeatureCollection", "features": []}
    request = UpdateRequest(
        image={"uri": "s3://icss/data/scene.tif"}, new_class={"name": name}, clicks=clicks, seed=seed
    )
    return UpdateOrder(
        request=fingerprint_of("town", request),
        model="town",
        base_version=base_version,
        image="s3://icss/data/scene.tif",
        image_etag='"0"',
        bands=None,
        new_class=ClassInfo(name=name, colour=(1, 2, 3)),
        clicks=clicks,
        crs=None,
        points={"rows": [1, 2, 3], "cols": [1, 2, 3], "labels": [2, 2, 2]},
        click_counts=(ClassClicks(label=2, name=name, clicks=3),),
        preset=written_out(get_preset("icss")),
        overrides={},
        seed=seed,
    )


class Bench:
    """Work that waits until it is let go, and says what it saw."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.started = threading.Semaphore(0)
        self.release = threading.Event()
        self.controls: list[Control] = []
        self.outcome: Callable[[Control], int] = lambda control: (control.commit(), 7)[1]

    def __call__(self, update_id: str, order: UpdateOrder, control: Control) -> int:
        self.begun.append(order.new_class.name)
        self.controls.append(control)
        self.started.release()
        while not self.release.wait(0.01):
            if control.should_stop():
                raise CancelledError("stopped")
        return self.outcome(control)

    def wait_until_started(self) -> None:
        assert self.started.acquire(timeout=SECONDS)


class QueueMaker:
    """Queues over the same records, as processes that follow each other have them."""

    def __init__(self, records: UpdateRecords) -> None:
        self.records = records
        self.queues: list[UpdateQueue] = []
        self.ended: list[str] = []

    def __call__(
        self,
        work: Bench,
        *,
        max_waiting: int = 9,
        records: UpdateRecords | None = None,
        reconcile_seconds: float = 0.2,
        patience: float = SECONDS,
    ) -> UpdateQueue:
        queue = UpdateQueue(
            records or self.records,
            work,
            max_waiting=max_waiting,
            on_end=lambda status, _: self.ended.append(status),
            reconcile_seconds=reconcile_seconds,
            patience=patience,
        )
        queue.start()
        self.queues.append(queue)
        return queue

    def end(self, update_id: str) -> str:
        """Wait until an update has ended; its state."""
        return self.wait_for(lambda: self.state(update_id) not in {"accepted", "running"}, update_id)

    def wait_for(self, condition: Callable[[], bool], update_id: str) -> str:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{update_id} is {self.state(update_id)}"
            time.sleep(0.02)
        return self.state(update_id)

    def state(self, update_id: str) -> str:
        listed = self.records.statuses(model="town", limit=1000)
        return next(status.status for status in listed if status.id == update_id)

    def clear(self) -> None:
        """End the queues, and the updates that are left."""
        for queue in self.queues:
            queue.close()
        for one in self.records.pending():
            self.records.end(one.id, UpdateEnd(state="dismissed"))
