"""Calls to other replicas: what comes back, what is raised, and what is logged; without Ray's processes."""

from __future__ import annotations

import asyncio
import copy
import logging
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic.warnings import PydanticDeprecatedSince20

from icss_core.errors import DtypeMismatchError, IcssError
from services.errors import BusyError, UnavailableError

with warnings.catch_warnings():
    # Ray 2.60's own schema still uses pydantic 1's way to annotate fields (ray/serve/schema.py)
    warnings.simplefilter("ignore", PydanticDeprecatedSince20)
    from ray.exceptions import RayActorError
    from ray.serve.exceptions import BackPressureError

    from services.serving.handles import PredictorHandle, refusals_returned


class Replica:
    """A replica's methods, whose answers come back as copies (deepcopy copies as pickle does)."""

    def __init__(self, raised: Exception | None = None) -> None:
        self._raised = raised

    @refusals_returned
    async def predict(self, job: str) -> str:
        """Give the job back, or fail."""
        if self._raised is not None:
            raise self._raised
        return job

    def handle(self) -> Any:
        async def remote(*arguments: Any) -> Any:
            return copy.deepcopy(await self.predict(*arguments))

        return SimpleNamespace(predict=SimpleNamespace(remote=remote))


def predict(replica: Replica) -> Any:
    return asyncio.run(PredictorHandle(replica.handle()).predict("job"))  # type: ignore[arg-type]  # travels as it is


def test_answer_comes_back() -> None:
    assert predict(Replica()) == "job"


def test_refusal_is_raised_as_itself_and_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ray.serve")
    serve_log = logging.getLogger("ray.serve")
    serve_log.addHandler(caplog.handler)  # Ray's loggers hand nothing up
    try:
        with pytest.raises(DtypeMismatchError, match="uint16"):
            predict(Replica(DtypeMismatchError("the image stores\n uint16")))
    finally:
        serve_log.removeHandler(caplog.handler)
    record = caplog.records[0]
    assert all(one is record for one in caplog.records), "one record, however many handlers see it"
    assert record.exc_info is None
    assert record.getMessage() == "Replica.predict: DtypeMismatchError: the image stores uint16"


def test_what_nobody_foresaw_stays_an_exception_of_the_replica() -> None:
    """Serve is to log it whole."""
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Replica(ZeroDivisionError()).predict("job"))


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (BackPressureError(num_queued_requests=3, max_queued_requests=3), BusyError),
        (RayActorError(), UnavailableError),
    ],
)
def test_failures_of_ray_have_our_words(raised: Exception, kind: type[IcssError]) -> None:
    async def remote(*_: Any) -> Any:
        raise raised

    handle = SimpleNamespace(ready=SimpleNamespace(remote=remote))
    with pytest.raises(kind, match="moment"):
        asyncio.run(PredictorHandle(handle).ready())  # type: ignore[arg-type]  # all that is called
