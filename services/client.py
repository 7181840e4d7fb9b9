"""A typed client of the HTTP service, for the command line, the demo and notebooks.

with IcssClient("http://127.0.0.1:8000", token) as icss:
    update = icss.add_class("town", "building", image="s3://icss/scenes/town-03.tif", clicks=clicks)
    done = icss.wait(update.id, on_progress=print)
    prediction = icss.predict("town", done.result_version, "s3://icss/scenes/town-03.tif")
    icss.accept("town", done.result_version, expected=done.base_version)
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError
from tenacity import Retrying, retry_if_exception, stop_before_delay, wait_exponential_jitter

from icss_core.errors import IcssError, InvalidParameterError
from services.client_errors import ServiceError, UpdateFailedError, error_of, may_pass
from services.serving.responses import (
    AliasDetail,
    Health,
    MapsList,
    MapsStatus,
    ModelDetail,
    ModelList,
    ModelSummary,
    Prediction,
    UpdateList,
    UpdateStatus,
    Upload,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["IcssClient", "ServiceError", "UpdateFailedError"]

SILENCE_SECONDS: Final = 60.0
"""How long `wait` outlasts a service that cannot say how an update is."""

_Body = TypeVar("_Body", bound=BaseModel)


class IcssClient:
    """Calls the service. Errors of the service are raised here as the classes that were raised there.

    Args:
        base_url: address of the service, without `/v1`.
        token: its bearer token.
        timeout: seconds for one response; predictions may take as long as they need.
        transport: another way to the service than the network.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[ModelSummary]:
        """All models."""
        return self._get("/v1/models", ModelList).models

    def model(self, name: str) -> ModelDetail:
        """One model with its versions, lineage and label spaces."""
        return self._get(f"/v1/models/{_part(name)}", ModelDetail)

    def add_class(
        self,
        model: str,
        class_name: str,
        *,
        image: str,
        clicks: Mapping[str, Any],
        crs: str | None = None,
        bands: Sequence[int] | None = None,
        colour: Sequence[int] | str | None = None,
        base: int | str = "memory",
        preset: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        seed: int = 0,
        request_id: str | None = None,
    ) -> UpdateStatus:
        """Start an update and return its first state.

        Args:
            model: name of the model.
            class_name: name of the new class.
            image: `s3://` address, or the id of an upload.
            clicks: GeoJSON FeatureCollection of Points with the property `class`.
            crs: of the clicks: `EPSG:...`, or `pixel` for (column, row); None: longitude and latitude.
            bands: 1-based numbers of the image's bands that the network takes; None: all but alpha.
            colour: 8-bit (red, green, blue) or `#rrggbb`; None: the service picks one.
            base: the version to add to.
            preset: method with its numbers; None: the service's default.
            overrides: numbers of the preset to change.
            seed: same seed and clicks, same network.
            request_id: an id of your own: called again with it, nothing new is started.
        """
        body: dict[str, Any] = {
            "image": _reference(image),
            "new_class": {"name": class_name, "colour": colour},
            "clicks": clicks,
            "crs": crs,
            "base": base,
            "overrides": overrides or {},
            "seed": seed,
        }
        if preset is not None:
            body["preset"] = preset
        if bands is not None:
            body["bands"] = list(bands)
        headers = {} if request_id is None else {"Idempotency-Key": request_id}
        response = self._send("POST", f"/v1/models/{_part(model)}/updates", json=body, headers=headers)
        return _read(response, UpdateStatus)

    def update(self, update_id: str) -> UpdateStatus:
        """State of an update."""
        return self._get(f"/v1/updates/{_part(update_id)}", UpdateStatus)

    def updates(self, *, model: str | None = None, limit: int = 100) -> list[UpdateStatus]:
        """Updates, newest first."""
        parameters = {"limit": limit} | ({} if model is None else {"model": model})
        return self._get("/v1/updates", UpdateList, params=parameters).updates

    def wait(
        self,
        update_id: str,
        *,
        on_progress: Callable[[UpdateStatus], None] | None = None,
        poll_seconds: float = 0.5,
        timeout: float | None = None,
    ) -> UpdateStatus:
        """Wait for an update to be successful.

        A service that is restarting, or whose MLflow is, is asked again: it resumes the update.

        Raises:
            UpdateFailedError: it ended failed or dismissed.
            ServiceError: nobody could say how it is for `SILENCE_SECONDS`; the message has the last error.
            TimeoutError: it has not ended after `timeout` seconds; it goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            status = self._patient_update(update_id, deadline)
            if on_progress is not None:
                on_progress(status)
            if status.status == "successful":
                return status
            if status.is_finished:
                raise UpdateFailedError(status)
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"update {update_id} has not ended after {timeout} s")
            time.sleep(poll_seconds)

    def _patient_update(self, update_id: str, deadline: float | None) -> UpdateStatus:
        """State of an update, asked for until there is an answer."""
        left = SILENCE_SECONDS if deadline is None else min(deadline - time.monotonic(), SILENCE_SECONDS)
        retrying = Retrying(
            retry=retry_if_exception(may_pass),
            stop=stop_before_delay(left),
            wait=wait_exponential_jitter(multiplier=0.2, max=5.0),
            reraise=True,
        )
        try:
            return retrying(self.update, update_id)
        except IcssError as error:
            if not may_pass(error):
                raise
            last = f"the last answer was {type(error).__name__}: {error}"
            if left < SILENCE_SECONDS:
                raise TimeoutError(f"update {update_id} had not ended in time; {last}") from error
            raise ServiceError(
                f"for {left:.0f} s nobody could say how update {update_id} is; it may go on; {last}"
            ) from error

    def cancel(self, update_id: str) -> UpdateStatus:
        """Cancel an update."""
        return _read(self._send("DELETE", f"/v1/updates/{_part(update_id)}"), UpdateStatus)

    def accept(self, model: str, version: int, *, expected: int | None) -> AliasDetail:
        """Let the next class be added to this version; an older one goes back to it.

        Args:
            model: name of the model.
            version: what `memory` is to be.
            expected: what `memory` is as far as you know, such as the version an update was based on; None:
                whatever it is, even if somebody else accepted something a moment ago.

        Raises:
            ConflictError: `memory` is another version than expected.
        """
        body = {"version": version, "expected": expected}
        return _read(self._send("POST", f"/v1/models/{_part(model)}/aliases/memory", json=body), AliasDetail)

    def predict(self, model: str, version: int | str | None, image: str, **options: Any) -> Prediction:
        """Predict an image of the object store (address or upload id) into the object store.

        Args:
            model: name of the model.
            version: number or alias; None: `memory`.
            image: `s3://` address, or the id of an upload.
            options: `bands`, `confidence`, `format`, `min_area`, `tiling`, `scales` as in the API.
        """
        body = {"model": model, "version": version or "memory", "image": _reference(image), "delivery": "s3"}
        return _read(self._send("POST", "/v1/predictions", json=body | options, timeout=None), Prediction)

    def predict_bytes(self, model: str, version: int | str | None, image: str, **options: Any) -> bytes:
        """Predict an image of the object store (address or upload id); returns the map itself.

        Arguments as for `predict`.
        """
        body = {
            "model": model,
            "version": version or "memory",
            "image": _reference(image),
            "delivery": "inline",
        }
        return self._send("POST", "/v1/predictions", json=body | options, timeout=None).content

    def predict_file(self, model: str, version: int | str | None, image: Path, **options: Any) -> bytes:
        """Predict a small local image; returns the bytes of the map (or of the GeoJSON)."""
        request = json.dumps({"model": model, "version": version or "memory"} | options)
        with image.open("rb") as stream:
            response = self._send(
                "POST",
                "/v1/predictions",
                files={"file": (image.name, stream)},
                data={"request": request},
                timeout=None,
            )
        return response.content

    def start_maps(self, model: str, version: int | str, images: Sequence[str], **options: Any) -> MapsStatus:
        """Start mapping a region; the same request again is the same job.

        Args:
            model: name of the model.
            version: number or alias.
            images: `s3://` addresses of images, prefixes, a dataset.yaml or a .txt of addresses.
            options: `out`, `pattern`, `bands`, `confidence`, `outlines`, `min_area`, `tiling` as in the API.
        """
        body = {"model": model, "version": version, "images": list(images)}
        return _read(self._send("POST", "/v1/maps", json=body | options), MapsStatus)

    def maps(self, maps_id: str) -> MapsStatus:
        """How a mapping job is."""
        return self._get(f"/v1/maps/{_part(maps_id)}", MapsStatus)

    def all_maps(self, model: str | None = None, limit: int = 100) -> list[MapsStatus]:
        """Mapping jobs, newest first."""
        parameters = {"limit": limit} | ({} if model is None else {"model": model})
        return self._get("/v1/maps", MapsList, params=parameters).maps

    def cancel_maps(self, maps_id: str) -> MapsStatus:
        """Cancel a mapping job; maps that are done stay."""
        return _read(self._send("DELETE", f"/v1/maps/{_part(maps_id)}"), MapsStatus)

    def upload(self, image: Path) -> Upload:
        """Bring an image to the service; its id names it in other calls."""
        with image.open("rb") as stream:
            response = self._send("POST", "/v1/uploads", files={"file": (image.name, stream)}, timeout=None)
        return _read(response, Upload)

    def ready(self) -> Health:
        """Whether the service can serve; False while it starts is an answer, not an error."""
        return _read(self._request("GET", "/readyz"), Health)

    def _get(self, path: str, body: type[_Body], **options: Any) -> _Body:
        return _read(self._send("GET", path, **options), body)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self._request(method, path, **options)
        if not response.is_success:
            raise error_of(response)
        return response

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise ServiceError(f"no answer from {self._http.base_url}: {error}") from error


def _read(response: httpx.Response, body: type[_Body]) -> _Body:
    """The body of an answer.

    Raises:
        ServiceError: it is not what this service says.
    """
    try:
        return body.model_validate_json(response.content)
    except ValidationError as error:
        raise ServiceError(
            f"{response.url} answered something else than {body.__name__}: {response.text[:200]!r}",
            response.status_code,
        ) from error


def _part(name: str) -> str:
    """A name as one part of a path.

    Raises:
        InvalidParameterError: it cannot be one.
    """
    if name in {"", ".", ".."}:
        raise InvalidParameterError(f"{name!r} is not the name of a model or the id of an update")
    return quote(name, safe="")


def _reference(image: str) -> dict[str, str]:
    return {"uri" if "://" in image else "upload": image}
