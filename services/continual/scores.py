"""A version's scores on the validation scenes, as whole images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from icss_core.compute.device import default_device
from icss_core.evaluation import TrueImage, map_image
from icss_core.metrics import ConfusionAccumulator, SegmentationReport, segmentation_report
from icss_core.networks.model_folder import load_model
from icss_core.raster.raster_pool import RasterPool
from services.data.dataset import read_dataset
from services.data.scenes import open_scenes
from services.registry import Registry
from services.storage import Storage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from services.settings import Settings

Scored: TypeAlias = "tuple[SegmentationReport, dict[str, NDArray[np.uint8]]]"
"""A report, and class maps (H, W) by scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """Which version is scored on what."""

    model: str
    """Its registered name."""
    version: int
    dataset: str
    """Address of the dataset.yaml."""
    new: int
    """How many of the version's classes, the last ones, are new."""
    pictures: int = 0
    """How many class maps are given back, those of the first scenes."""
    scales: tuple[float, ...] | None = None
    """At which scenes are predicted; see `icss_core.inference.sliding_window.predict`."""


def score_version(request: ScoreRequest, settings: Settings) -> Scored:
    """Predict every validation scene by sliding window and compare with its mask.

    Classes that are not learnt yet count as background. Deviation: MiB leaves their pixels out, so that its
    matrices differ from ours in all rows but the last.

    Args:
        request: what is scored.
        settings: of the services.

    Returns:
        The report, and class maps by scene, each (H, W) uint8.

    Raises:
        IcssError: the version or a scene is not usable.
    """
    storage = Storage(settings)
    data = read_dataset(request.dataset, storage)
    network, card = load_model(Registry(settings).fetch(request.model, request.version))
    network = network.to(default_device())
    names = card.label_space.names
    confusion = ConfusionAccumulator(len(names))
    maps: dict[str, NDArray[np.uint8]] = {}
    with storage.raster_environment(), RasterPool() as pool:
        scenes = open_scenes(data, "val", classes=names[1:], storage=storage, pool=pool)
        labelled = [scene.name for scene in data.scenes_of("val") if scene.mask is not None]
        for name, scene in zip(labelled, scenes, strict=True):
            image = TrueImage.of(name, scene)
            labels = map_image(network, image.source, scales=request.scales)
            confusion.update(labels, image.truth, image=name)
            if len(maps) < request.pictures:
                maps[name] = labels
    new_classes = range(len(names) - request.new, len(names))
    return segmentation_report(confusion, class_names=names, new_classes=new_classes), maps
