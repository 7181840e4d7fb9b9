"""What an update's MLflow run says of its state, and how names that people gave are kept in it."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from icss_core.labels import ClassInfo
from services.serving.responses import ErrorDetail, UpdateStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.serving.orders import ClassClicks
    from services.tracking import RunRecord

STATUS: Final = "icss.status"
"""The tag with the state; a run without it was never acknowledged."""

_CLICKS: Final = re.compile(r"click_counts\.(\d+)\.(name|clicks)")
_MESSAGES: Final[dict[str, str]] = {
    "accepted": "waiting for its turn",
    "running": "running",
    "dismissed": "cancelled on request; nothing was registered",
}


class UpdateSummary(BaseModel):
    """What a list of updates shows of an order, kept in the tag `icss.summary`."""

    model: str
    base_version: int
    new_class: ClassInfo
    preset: str
    image: str
    seed: int


def click_parameters(counts: Iterable[ClassClicks]) -> dict[str, dict[str, str | int]]:
    """How many clicks each class got, by its index: a name may hold what MLflow refuses in a key."""
    return {str(one.label): {"name": one.name, "clicks": one.clicks} for one in counts}


def status_of(run: RunRecord) -> UpdateStatus:
    """The state of an update as its run's tags and params say it, without its result."""
    tags = run.tags
    summary = UpdateSummary.model_validate_json(tags["icss.summary"])
    state = tags[STATUS]
    version = tags.get("icss.result_version")
    error = None
    if state == "failed":
        error = ErrorDetail(
            type=tags["icss.error_type"], message=tags["icss.error_message"], id=tags.get("icss.incident")
        )
    message = error.message if error else _MESSAGES.get(state, f"made version {version} of {summary.model}")
    return UpdateStatus.model_validate(
        {
            "id": run.run_id,
            "status": state,
            "message": message,
            "created": run.started,
            "started": tags.get("icss.started"),
            "finished": tags.get("icss.finished"),
            "updated": tags.get("icss.updated"),
            "progress": 100 if state == "successful" else 0,
            "model": summary.model,
            "base_version": summary.base_version,
            "new_class": summary.new_class,
            "preset": summary.preset,
            "image": summary.image,
            "clicks": _click_counts(run.params),
            "result_version": version,
            "error": error,
        }
    )


def _click_counts(params: dict[str, str]) -> dict[str, int]:
    """Clicks by class name, in the order of the label space."""
    counts: dict[int, dict[str, str]] = defaultdict(dict)
    for key, value in params.items():
        if match := _CLICKS.fullmatch(key):
            counts[int(match[1])][match[2]] = value
    return {counts[label]["name"]: int(counts[label]["clicks"]) for label in sorted(counts)}
