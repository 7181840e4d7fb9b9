"""`/v1/predictions`: the map of an image by a version of a model."""

import codecs
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from icss_core.errors import InvalidParameterError
from services.serving.requests import PREDICTION_EXAMPLES, PredictionOptions, PredictionRequest
from services.serving.responses import Prediction
from services.serving.routes.answers import errors
from services.serving.routes.connection import while_connected
from services.serving.routes.uploads import form_file
from services.serving.schema import inlined_schema

if TYPE_CHECKING:
    from services.serving.addresses import ImageReference
    from services.serving.backend import Backend

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": inlined_schema(PredictionRequest),
                "examples": PREDICTION_EXAMPLES,
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "request"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "the image"},
                        "request": {
                            "type": "string",
                            "description": "the JSON above without `image`",
                            "example": '{"model": "town", "version": "updated"}',
                        },
                    },
                }
            },
        },
    }
}


def prediction_routes(backend: "Backend") -> APIRouter:
    """Routes of the resource `predictions`."""
    router = APIRouter(prefix="/v1/predictions", tags=["predictions"])

    @router.post(
        "",
        summary="Predict an image",
        openapi_extra=_BODY,
        response_model=Prediction,
        responses=errors(400, 403, 404, 409, 413, 422, 429, 502, 503)
        | {
            200: {
                "description": "Where the result lies, or with delivery `inline` the result itself.",
                "content": {
                    "image/tiff": {"schema": {"type": "string", "format": "binary"}},
                    "application/geo+json": {"schema": {"type": "object"}},
                },
            }
        },
    )
    async def predict(request: Request) -> Response:
        """Map every pixel of an image to a class.

        The map is a cloud-optimised GeoTIFF on the image's own grid: class indices with colour table and
        names, 255 where the image has no data; or polygons as GeoJSON in longitude and latitude.
        """
        options, image = await _parsed(request)
        outcome = await while_connected(request, backend.predict(options, image))
        described = outcome.prediction
        if outcome.content is None:
            return Response(described.model_dump_json(), media_type="application/json")
        headers = {"X-ICSS-Model": f"{described.model}:{described.version}"}
        return Response(outcome.content, media_type=described.type, headers=headers)

    return router


async def _parsed(request: Request) -> "tuple[PredictionOptions, ImageReference | tuple[str, bytes]]":
    """The options and the image of either kind of body."""
    try:
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            content = (await request.body()).removeprefix(codecs.BOM_UTF8)
            asked = PredictionRequest.model_validate_json(content)
            return asked, asked.image
        async with request.form(max_files=1, max_fields=4) as form:
            file = form_file(form.get("file"))
            text = form.get("request")
            if not isinstance(text, str):
                raise InvalidParameterError("the form has no JSON in its field 'request'")
            options = PredictionOptions.model_validate_json(text.removeprefix("\ufeff"))
            return options, (file.filename or "image", await file.read())
    except ValidationError as error:
        problems = [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]
        raise RequestValidationError(problems) from error
