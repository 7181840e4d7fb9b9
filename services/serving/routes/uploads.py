"""`/v1/uploads`: bring an image once, name it by id afterwards."""

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile

from icss_core.errors import InvalidParameterError
from icss_core.raster.formats import FORMATS
from services.serving.responses import Upload
from services.serving.routes.answers import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.serving.backend import Backend

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {kind.media_type: {"schema": {"type": "string", "format": "binary"}} for kind in FORMATS}
        | {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
_CHUNK: Final = 2**20


def upload_routes(backend: "Backend") -> APIRouter:
    """Routes of the resource `uploads`."""
    router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

    @router.post(
        "",
        status_code=201,
        summary="Upload an image",
        openapi_extra=_BODY,
        responses=errors(413, 422, 502),
    )
    async def upload(request: Request) -> Upload:
        """Store a GeoTIFF, PNG, JPEG or JPEG 2000, as the body itself or as the field `file` of a form.

        The file must open as a raster. Larger images: put them into the object store and name their `s3://`
        address instead.
        """
        async with received_file(request) as file:
            return await backend.upload(file)

    return router


@asynccontextmanager
async def received_file(request: Request) -> "AsyncIterator[Path]":
    """The body, or the form's field `file`, as a file on disk: never as a whole in memory.

    Raises:
        InvalidParameterError: the form has no such file, or the body is empty.
    """
    with tempfile.TemporaryDirectory(prefix="icss-upload-") as folder:
        path = Path(folder) / "image"
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with request.form(max_files=1, max_fields=4) as form:
                await _copy(form_file(form.get("file")), path)
        else:
            with path.open("wb") as file:
                async for chunk in request.stream():
                    file.write(chunk)
        if path.stat().st_size == 0:
            raise InvalidParameterError("the body is empty; send the bytes of an image")
        yield path


def form_file(field: UploadFile | str | None) -> UploadFile:
    """The file that a form's field holds.

    Raises:
        InvalidParameterError: it holds none.
    """
    if not isinstance(field, UploadFile):
        raise InvalidParameterError("the form has no file in its field 'file'")
    return field


async def _copy(source: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        while chunk := await source.read(_CHUNK):
            file.write(chunk)
