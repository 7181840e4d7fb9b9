"""A version's scores on the validation scenes, as whole images."""

from __future__ import annotations

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
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from services.settings import Settings

Scored: TypeAlias = "tuple[SegmentationReport, dict[str, NDArray[np.uint8]]]"
"""A report, and class maps (H, W) by scene."""


def score_version(
    model: str,
    version: int,
    *,
    dataset: str,
    new: int,
    settings: Settings,
    pictures: int = 0,
    scales: Sequence[float] | None = None,
) -> Scored:
    """Predict every validation scene by sliding window and compare with its mask.

    Classes that are not learnt yet count as background; MiB leaves their pixels out, so that all rows of its
    matrix but the last differ.

    Args:
        model: registered name.
        version: of it.
        dataset: address of the dataset.yaml.
        new: how many of its classes, the last ones, are new.
        settings: of the services.
        pictures: how many class maps (H, W) are given back, those of the first scenes.
        scales: at which scenes are predicted; see `predict`.

    Returns:
        The report, and maps by scene.

    Raises:
        IcssError: the version or a scene is not usable.
    """
    storage = Storage(settings)
    data = read_dataset(dataset, storage)
    network, card = load_model(Registry(settings).fetch(model, version))
    network = network.to(default_device())
    names = card.label_space.names
    confusion = ConfusionAccumulator(len(names))
    maps: dict[str, NDArray[np.uint8]] = {}
    with storage.raster_environment(), RasterPool() as pool:
        scenes = open_scenes(data, "val", classes=names[1:], storage=storage, pool=pool)
        labelled = [scene.name for scene in data.scenes_of("val") if scene.mask is not None]
        for name, scene in zip(labelled, scenes, strict=True):
            image = TrueImage.of(name, scene)
            labels = map_image(network, image.source, scales=scales)
            confusion.update(labels, image.truth, image=name)
            if len(maps) < pictures:
                maps[name] = labels
    new_classes = range(len(names) - new, len(names))
    return segmentation_report(confusion, class_names=names, new_classes=new_classes), maps
