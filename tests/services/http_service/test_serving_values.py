"""The small pure parts of the service."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from icss_core.clicks.click_set import ClickSet
from icss_core.updating import UpdateProgress
from services.distinct_colour import PALETTE, distinct_colour
from services.pictures.update_pictures import view_around
from services.serving.addresses import Colour, ImageReference, ModelReference
from services.serving.requests import PredictionOptions, PredictionRequest
from services.serving.schema import inlined_schema
from services.serving.update_control import UpdateControl


def test_colour_is_a_triple_or_hexadecimal() -> None:
    adapter = TypeAdapter(Colour)
    assert adapter.validate_python("#e6194B") == (230, 25, 75)
    assert adapter.validate_python([1, 2, 3]) == (1, 2, 3)
    for wrong in ("red", "#12345", "#gggggg", [1, 2], [1, 2, 256]):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_version_is_a_number_or_an_alias() -> None:
    adapter = TypeAdapter(ModelReference)
    assert adapter.validate_python(3) == 3
    assert adapter.validate_python("memory") == "memory"
    for wrong in (0, -1, "Memory", "a b", "'", ""):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_image_is_an_address_or_an_upload() -> None:
    assert ImageReference(uri="s3://a/b.tif").upload is None
    for wrong in ({}, {"uri": "s3://a/b", "upload": "0" * 32}, {"upload": "../x"}):
        with pytest.raises(ValidationError):
            ImageReference.model_validate(wrong)


def test_chosen_colour_is_unlike_those_taken() -> None:
    taken = [(0, 0, 0)]
    for _ in range(len(PALETTE)):
        colour = distinct_colour(taken)
        assert colour not in taken
        taken.append(colour)
    assert distinct_colour([]) == PALETTE[0]


def test_view_lies_on_the_raster_around_the_clicks() -> None:
    def view(rows: list[int], cols: list[int], height: int, width: int) -> tuple[int, int, int, int]:
        zeros = [0] * len(rows)
        window = view_around(
            ClickSet(np.array(rows), np.array(cols), np.array(zeros)), height, width, side=100
        )
        return window.row, window.col, window.height, window.width

    assert view([500], [700], 1000, 1000) == (450, 650, 100, 100)
    assert view([0, 1], [999, 998], 1000, 1000) == (0, 900, 100, 100)
    assert view([5], [5], 40, 300) == (0, 0, 40, 100)


def test_inlined_schema_stands_alone() -> None:
    schema = inlined_schema(PredictionRequest)
    assert "$ref" not in str(schema)
    assert "$defs" not in schema
    assert set(schema["properties"]["image"]["properties"]) == {"uri", "upload"}


def report(control: UpdateControl, step: int, left: float, loss: float = 0.5) -> None:
    control.report(
        UpdateProgress(stage="training", step=step, steps=10, loss=loss, terms={}, seconds_left=left)
    )


def test_shown_progress_never_goes_back_and_has_no_nan() -> None:
    control = UpdateControl("id", closing=threading.Event())
    assert not control.progress.running
    control.enter("starting")
    time.sleep(0.05)
    report(control, 1, 0.0)
    shown = control.progress
    assert (shown.stage, shown.step, shown.steps, shown.loss) == ("training", 1, 10, 0.5)
    assert 0 < shown.percent < 100
    report(control, 2, 1e6, loss=float("nan"))
    assert control.progress.percent == shown.percent
    assert control.progress.loss == 0.5, "the last loss stays in view"
    report(control, 3, float("nan"))
    assert control.progress.seconds_left is None


# Ray 2.60's own schema still uses pydantic 1's way to annotate fields (ray/serve/schema.py)
@pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")
def test_serve_application_is_built_from_its_import_path() -> None:
    from ray.serve import Application
    from ray.serve.schema import ServeDeploySchema

    from services.serving.deployments import build

    config = {
        "applications": [
            {
                "name": "icss",
                "route_prefix": "/",
                "import_path": "services.serving.deployments:build",
                "args": {"predictor_replicas": "2"},
            }
        ]
    }
    ServeDeploySchema.model_validate(config)
    application = build({"predictor_replicas": "2"})
    assert isinstance(application, Application)
    api = application._bound_deployment
    parts = {one.name: one for one in (api, *(bound._bound_deployment for bound in api.init_args))}
    assert set(parts) == {"api", "updater", "predictor"}
    assert parts["predictor"].num_replicas == 2
    assert all(part.max_queued_requests > 0 for part in parts.values()), "none queues without bound"


@pytest.mark.parametrize(
    ("scales", "window", "fault"),
    [
        ((0.5, 1.0, 1.5), 512, None),
        ((0.5, 0.75, 1.0, 1.25, 1.5), 512, None),
        ((2.0, 2.5, 3.0, 3.5), 512, "41 times as long"),
        ((1.0, 4.0), 128, "68 times as long"),
        ((3.0,), 1024, "larger than 2048"),
    ],
)
def test_scales_are_bounded_in_memory_and_time(scales, window, fault) -> None:
    asked = {"model": "town", "scales": scales, "tiling": {"window": window}}
    if fault is None:
        assert PredictionOptions.model_validate(asked).scales == scales
    else:
        with pytest.raises(ValidationError, match=fault):
            PredictionOptions.model_validate(asked)
