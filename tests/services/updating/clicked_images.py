"""A tiny registered network, and images with clicks in the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tiny_model import SHORT, building_clicks, write_scene, write_tiny_model

from icss_core.labels import ClassInfo
from icss_core.methods import get_preset
from services.registry import MEMORY, Registry
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking
from services.updating.request import UpdateJobRequest

if TYPE_CHECKING:
    from pathlib import Path

    from services.settings import Settings

BUILDING = ClassInfo(name="building", colour=(200, 10, 10))
HEIGHTS = {"a": 96, "b": 128, "context": 160}
QUICK = {**SHORT, "hypercolumn.iterations": 5, "optimisation.precision": "float32"}
"""Overrides that make an update last two seconds."""


def register_memory(settings: Settings, folder: Path, model: str) -> int:
    """Register a network of background and road as a model's memory."""
    registry = Registry(settings)
    run = Tracking(settings).create_run(PRETRAINING, name=model, tags={})
    version = registry.register(model, write_tiny_model(folder / "model"), run_id=run)
    registry.set_alias(model, MEMORY, version)
    return version


def store_images(settings: Settings, folder: Path, base: str) -> None:
    """Images `a` and `b` with clicks, and `context/context` without; local copies in the folder."""
    storage = Storage(settings)
    for name, height in HEIGHTS.items():
        local = write_scene(folder / f"{name}.tif", height=height)
        inner = f"context/{name}" if name == "context" else name
        storage.upload(local, f"{base}/{inner}.tif")
        if name != "context":
            storage.write_bytes(f"{base}/{name}.geojson", json.dumps(building_clicks()).encode())


def request_for(
    model: str, base: str, *, overrides: dict[str, Any] | None = None, **changes: Any
) -> UpdateJobRequest:
    """Building from clicks on both images, in the job's own process."""
    asked = {
        "model": model,
        "version": 1,
        "new_class": BUILDING,
        "clicked": [{"image": f"{base}/{name}.tif", "clicks": f"{base}/{name}.geojson"} for name in "ab"],
        "context": [f"{base}/context/"],
        "crs": "pixel",
        "preset": get_preset("icss", QUICK | (overrides or {})),
        "spread": {"workers": 0, "checkpoint_every": 1},
    }
    return UpdateJobRequest.model_validate(asked | changes)
