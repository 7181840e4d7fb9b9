"""What is deleted when it is old: uploads, maps of predictions, and what jobs and downloads have left behind.

| where | what belongs together | is kept |
|---|---|---|
| `uploads/ID/` | an upload | while an accepted or running update works on it |
| `predictions/ID...` | a map | - |
| `training/JOB/` | checkpoints of a job | while it runs; when it is done, they are of no use |
| `ray-train/JOB/` | Ray's own state of a job | likewise |
| `tune/NAME/` | Tune's own state of a sweep | - |
| `cache_dir/models/NAME/VERSION/` of this machine | a copy of a version | - |

All below the data prefix, but the last. Each is deleted as a whole when all of it is older than the limit; of
a cached version the last use counts. Whatever lies elsewhere is never listed. If MLflow does not answer,
nobody knows what is in use, and nothing that may be is deleted.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from services.ownership import STATUS, LeaseWatch
from services.repeating_thread import RepeatingThread
from services.s3_address import S3Address
from services.serving.responses import FINISHED
from services.tracking import PRETRAINING, UPDATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.settings import Settings
    from services.storage import Storage
    from services.tracking import Tracking

_logger = logging.getLogger(__name__)

_SECONDS_BETWEEN: Final = 3600.0
_DONE: Final = timedelta(hours=1)
"""Age of a finished job's checkpoints: the job deletes them itself, unless it dies just then."""
_PARTIAL: Final = timedelta(days=1)
"""Age of a download that was never finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something that may be deleted."""

    where: str
    """`s3://` prefix or address, or local folder."""
    objects: tuple[str, ...]
    """Addresses of its objects; none for a local folder."""
    written: datetime
    """When the youngest of them was."""
    why: str


class Retention:
    """Finds and deletes leftovers. Blocking.

    Args:
        settings: with the prefix, the cache and the limit.
        storage: the store.
        tracking: the MLflow server, which knows what is in use.
    """

    def __init__(self, settings: Settings, storage: Storage, tracking: Tracking) -> None:
        self._settings, self._storage, self._tracking = settings, storage, tracking
        self._watch = LeaseWatch(settings.lease_seconds)

    def find(self, now: datetime | None = None) -> Iterator[Leftover]:
        """What may be deleted, found one after another; what is in use is asked for after each listing.

        Args:
            now: the time; by default this machine's.

        Raises:
            StorageError, TrackingError: a server did not answer, so that nobody knows.
        """
        if self._settings.retention_days is None:
            return
        now = now or datetime.now(UTC)
        limit = timedelta(days=self._settings.retention_days)
        yield from self._uploads(now - limit)
        yield from self._old("predictions", now - limit)
        yield from self._old("tune", now - limit)
        for folder in ("training", "ray-train"):
            yield from self._jobs(folder, now - limit, now - _DONE)
        yield from self._cache(now - limit, now - _PARTIAL)

    def clean(self, now: datetime | None = None) -> list[Leftover]:
        """Delete what `find` finds; returns it.

        Raises:
            StorageError, TrackingError: a server did not answer; what was found before is deleted.
        """
        deleted = []
        for one in self.find(now):
            for address in one.objects:
                self._storage.delete(address)
            if not one.objects:
                shutil.rmtree(one.where, ignore_errors=True)
            _logger.info("deleted %s: %s", one.where, one.why)
            deleted.append(one)
        return deleted

    def _uploads(self, before: datetime) -> Iterator[Leftover]:
        old = list(self._old("uploads", before))
        named = self._images_of_updates() if old else frozenset()
        yield from (one for one in old if named.isdisjoint(one.objects))

    def _images_of_updates(self) -> frozenset[str]:
        """Addresses of the images of all updates that have not ended."""
        # the image alone: an order of another version of the service names one too
        orders = (
            self._tracking.read_json(run.run_id, "order.json")
            for run in self._tracking.find(UPDATES, tags={"icss.kind": "update"}, without={STATUS: FINISHED})
        )
        of_jobs = (
            image["address"]
            for run in self._tracking.find(UPDATES, tags={"icss.kind": "update job", STATUS: "running"})
            for image in self._tracking.read_json(run.run_id, "plan.json")["images"]
        )
        return frozenset([*(str(order["image"]) for order in orders), *map(str, of_jobs)])

    def _jobs(self, folder: str, before: datetime, done_before: datetime) -> Iterator[Leftover]:
        for one in self._old(folder, done_before):
            job = one.where.rpartition("/")[2]
            records = [
                record
                for experiment in (PRETRAINING, UPDATES)
                for record in self._tracking.find(experiment, tags={"icss.job": job})
            ]
            # a watch that has seen the heartbeat once says that it may beat: nobody is judged at first sight
            if any(
                record.tags.get(STATUS) == "running" and not self._watch.may_take(record)
                for record in records
            ):
                continue
            if any("icss.version" in record.tags for record in records):
                yield Leftover(
                    where=one.where, objects=one.objects, written=one.written, why="its job is done"
                )
            elif one.written < before:
                yield one

    def _old(self, folder: str, before: datetime) -> Iterator[Leftover]:
        """What lies below a folder of ours and is older as a whole, by the first segment of its name."""
        base = S3Address.parse(self._settings.data_prefix).child(folder)
        things: dict[str, list[tuple[str, datetime]]] = {}
        for address, written, _, _ in self._storage.entries(str(base)):
            name = address.removeprefix(f"{base}/").partition("/")[0]
            things.setdefault(name, []).append((address, written))
        for name, objects in things.items():
            youngest = max(written for _, written in objects)
            if youngest < before:
                addresses = tuple(address for address, _ in objects)
                why = f"last written {youngest:%Y-%m-%d %H:%M}"
                yield Leftover(where=f"{base}/{name}", objects=addresses, written=youngest, why=why)

    def _cache(self, before: datetime, partial_before: datetime) -> Iterator[Leftover]:
        for folder in sorted((self._settings.cache_dir / "models").glob("*/*")):
            try:
                used = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
            except FileNotFoundError:  # a download that has just been finished, or another cleaner
                continue
            if used < (partial_before if folder.name.startswith(".partial-") else before):
                why = f"last used {used:%Y-%m-%d %H:%M}"
                yield Leftover(where=str(folder), objects=(), written=used, why=why)


class RetentionThread(RepeatingThread):
    """Cleans at once and every hour, until it is closed or its process ends; what goes wrong is logged."""

    def __init__(self, retention: Retention, *, seconds: float = _SECONDS_BETWEEN) -> None:
        super().__init__(
            retention.clean, name="retention", seconds=seconds, on_failure="nothing more is deleted this time"
        )
