"""One session of an annotator: click, add the class over HTTP, look at the map."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icss_core.clicks import PIXEL, clicks_to_geojson
from icss_core.clicks.simulation import simulate_clicks
from icss_core.labels import BACKGROUND
from icss_core.raster.reader import open_raster
from services.demo.scenes import read_map
from services.pictures import difference_picture, steps_picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from icss_core.clicks.click_set import ClickSet
    from icss_core.labels import LabelSpace
    from services.client import IcssClient
    from services.demo.options import DemoOptions
    from services.demo.progress import Stage, Stages
    from services.demo.scenes import TrueScene
    from services.serving.responses import UpdateStatus
    from services.storage import Storage


@dataclass(frozen=True, slots=True)
class SessionResult:
    """What a session made.

    maps: network ("memory", "updated", "control") to its class map (H, W) uint8, 255 = no data.
    """

    scene: TrueScene
    clicks: ClickSet
    update: UpdateStatus
    update_seconds: float
    prediction_seconds: float
    maps: dict[str, npt.NDArray[np.uint8]]


class Session:
    """Adds the class to the memory network on one scene after another, each time from the same memory."""

    def __init__(
        self,
        client: IcssClient,
        storage: Storage,
        label_space: LabelSpace,
        options: DemoOptions,
        stages: Stages,
    ) -> None:
        self._client = client
        self._storage = storage
        self._classes = label_space
        self._options = options
        self._stages = stages

    def run(self, scene: TrueScene, networks: Mapping[str, tuple[str, int]]) -> SessionResult:
        """Click, update, predict.

        Args:
            scene: The image, with its truth.
            networks: Model and version of the other networks that map the scene, by name.

        Raises:
            UpdateFailedError: the update failed.
            IcssError: the service refused something.
        """
        model, memory = networks["memory"]
        clicks = self.click(scene)
        title = f"class {self._options.new!r} from {len(clicks)} clicks on {scene.name}"
        with self._stages.stage("updates", title) as stage:
            start = time.monotonic()
            update = self._add_class(scene, clicks, model, memory, stage)
            update_seconds = time.monotonic() - start
        # the literal's order is the order of the results, so `updated` comes right after `memory`
        asked = {"memory": (model, memory), "updated": (model, update.result_version or 0), **networks}
        maps: dict[str, npt.NDArray[np.uint8]] = {}
        prediction_seconds = 0.0
        with self._stages.stage("predictions", f"maps of {scene.name} by {', '.join(asked)}") as stage:
            for number, (network, (name, version)) in enumerate(asked.items()):
                stage.at(number, len(asked), network)
                prediction = self._client.predict(name, version, scene.address)
                local = self._options.out / f"{scene.name}-{network}.tif"
                maps[network] = read_map(self._storage.download(prediction.href, local))
                if network == "updated":
                    prediction_seconds = prediction.seconds
        return SessionResult(scene, clicks, update, update_seconds, prediction_seconds, maps)

    def click(self, scene: TrueScene) -> ClickSet:
        """Clicks as a person would make them, drawn from the truth: the new class and the background."""
        return simulate_clicks(
            scene.truth,
            classes=[BACKGROUND, len(self._classes) - 1],
            per_class=self._options.clicks_per_class,
            seed=self._options.seed,
        )

    def save_clicks(self, scene: TrueScene, clicks: ClickSet) -> tuple[dict[str, Any], Path]:
        """Clicks as they are posted, and the file they are kept in."""
        crs = None if scene.georeferenced else PIXEL
        with self._storage.raster_environment(), open_raster(scene.address) as raster:
            posted = clicks_to_geojson(clicks, raster, self._classes, crs=crs)
        path = self._options.out / f"{scene.name}-clicks.geojson"
        path.write_text(json.dumps(posted, indent=1), encoding="utf-8")
        return posted, path

    def _add_class(
        self, scene: TrueScene, clicks: ClickSet, model: str, memory: int, stage: Stage
    ) -> UpdateStatus:
        posted, _ = self.save_clicks(scene, clicks)
        accepted = self._client.add_class(
            model,
            self._options.new,
            image=scene.address,
            clicks=posted,
            crs=None if scene.georeferenced else PIXEL,
            colour=self._classes.colours[-1],
            base=memory,
            preset=self._options.preset,
            overrides=self._options.overrides,
            seed=self._options.seed,
        )

        def show(status: UpdateStatus) -> None:
            loss = "" if status.loss is None else f", loss {status.loss:.3f}"
            left = "" if status.seconds_left is None else f", {status.seconds_left:.0f} s left"
            stage.at(status.progress, 100, f"{status.stage or status.status}{loss}{left}")

        return self._client.wait(accepted.id, on_progress=show)


def write_pictures(result: SessionResult, classes: LabelSpace, folder: Path) -> None:
    """Pictures of a session: the steps side by side, and what the update changed."""
    scene, before, after = result.scene, result.maps["memory"], result.maps["updated"]
    names = classes.names
    counts = ", ".join(f"{count} {names[label]}" for label, count in result.clicks.counts().items())
    steps = steps_picture(
        scene.rgb,
        result.clicks,
        classes,
        before=before,
        after=after,
        truth=scene.truth,
        titles=(
            f"image and clicks ({counts})",
            "before: the memory network",
            f"after: {names[-1]} added in {result.update_seconds:.0f} s",
            "ground truth",
        ),
    )
    (folder / f"{scene.name}-steps.png").write_bytes(steps)
    changed = difference_picture(scene.rgb, before, after, n_old=len(classes) - 1)
    (folder / f"{scene.name}-changes.png").write_bytes(changed)
