"""Scenes of a data set whose classes are known everywhere, to click on and to score."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from icss_core.data.labelled_scene import LabelledScene
from icss_core.errors import DatasetError
from icss_core.evaluation import TrueImage
from icss_core.raster.reader import open_mask, open_raster

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from icss_core.dataset import Dataset, Scene
    from services.storage import Storage


@contextmanager
def opened_scene(
    dataset: Dataset, scene: Scene, classes: Sequence[str], storage: Storage
) -> Iterator[TrueImage]:
    """A scene with its truth as indices of the background and these classes, open as long as the block lasts.

    Raises:
        DatasetError: the scene has no mask.
        IcssError: a file cannot be read.
    """
    if scene.mask is None:
        raise DatasetError(f"scene {scene.name!r} has no mask")
    with ExitStack() as closing:
        image, mask = (
            closing.enter_context(opener(storage.check_allowed(dataset.address(address))))
            for opener, address in ((open_raster, scene.image), (open_mask, scene.mask))
        )
        labelled = LabelledScene(image=image, mask=mask, lookup=dataset.lookup(tuple(classes)))
        yield TrueImage.of(scene.name, labelled)
