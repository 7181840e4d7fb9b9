"""What an update's MLflow run keeps as files: the order as accepted, and what came of it.

Another version of the service may have written them. What this one cannot read is an OutdatedRecordError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from icss_core.metrics.forgetting import ForgettingReport
from services.errors import OutdatedRecordError
from services.serving.orders import UpdateOrder

if TYPE_CHECKING:
    from services.tracking import Tracking

_ORDER: Final = "order.json"
_CLICKS: Final = "clicks.geojson"
_RESULT: Final = "result.json"

_File = TypeVar("_File", bound=BaseModel)


class RecordedResult(BaseModel):
    """What an update showed, beside the network it made."""

    model_config = ConfigDict(frozen=True)

    forgetting: ForgettingReport
    warnings: list[str]
    seconds: float


def write_order(tracking: Tracking, update_id: str, order: UpdateOrder) -> None:
    """Keep an order, and its clicks once more as a file of their own, for people."""
    tracking.write_text(update_id, _ORDER, order.model_dump_json(indent=2))
    tracking.write_json(update_id, _CLICKS, order.clicks)


def read_order(tracking: Tracking, update_id: str) -> UpdateOrder:
    """The order of an update.

    Raises:
        OutdatedRecordError: another version of the service wrote it, which this one cannot follow.
        TrackingError: it cannot be read.
    """
    refusal = (
        f"update {update_id} was accepted by another version of the service, and this one cannot carry it "
        "out as it was accepted; send the request again"
    )
    return _read(tracking, update_id, _ORDER, UpdateOrder, refusal)


def write_result(tracking: Tracking, update_id: str, result: RecordedResult) -> None:
    """Keep what an update showed."""
    tracking.write_text(update_id, _RESULT, result.model_dump_json(indent=2))


def read_result(tracking: Tracking, update_id: str) -> RecordedResult:
    """What a finished update showed.

    Raises:
        OutdatedRecordError: another version of the service wrote it, which this one cannot read.
        TrackingError: it cannot be read.
    """
    refusal = (
        f"the result of update {update_id} was written by another version of the service and is not shown; "
        f"it is the artefact {_RESULT} of MLflow run {update_id}"
    )
    return _read(tracking, update_id, _RESULT, RecordedResult, refusal)


def _read(tracking: Tracking, update_id: str, file: str, model: type[_File], refusal: str) -> _File:
    content = tracking.read_bytes(update_id, file)
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise OutdatedRecordError(f"{refusal} ({where}: {fault['msg']})") from error
