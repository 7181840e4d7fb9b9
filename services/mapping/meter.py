"""What Prometheus is told of a mapping job, by its own process. Ray adds the node and the session to it.

Counters only: Ray exports them as `ray_..._total`, also after the job's process has ended, and drops gauges
then. Where a process is not connected to Ray, nobody is told anything.
"""

from __future__ import annotations

from ray.util import metrics


class MapMeter:
    """Counts what a job has mapped. How much is left is in its MLflow run.

    Args:
        model: name of the model that maps.
    """

    def __init__(self, model: str) -> None:
        self._tags = {"model": model}
        self._scenes = metrics.Counter(
            "icss_map_scenes",
            "scenes that are mapped, or failed for good",
            tag_keys=("model", "status"),
        )
        self._pixels = metrics.Counter("icss_map_pixels", "pixels that were mapped", tag_keys=("model",))

    def mapped(self) -> None:
        """A scene has its map."""
        self._scenes.inc(1.0, tags={**self._tags, "status": "mapped"})

    def failed(self) -> None:
        """A scene will have none."""
        self._scenes.inc(1.0, tags={**self._tags, "status": "failed"})

    def predicted(self, pixels: int) -> None:
        """Pixels of a scene, or of a part of one, are done."""
        if pixels > 0:  # Ray refuses 0
            self._pixels.inc(float(pixels), tags=self._tags)
