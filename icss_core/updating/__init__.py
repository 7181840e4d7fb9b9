"""An update: from clicks to an updated network and its forgetting report."""

from icss_core.updating.image_stack import ClickedImage
from icss_core.updating.progress import Stage, UpdateProgress
from icss_core.updating.runtime import Runtime
from icss_core.updating.update import UpdateResult, update, update_from_images

__all__ = [
    "ClickedImage",
    "Runtime",
    "Stage",
    "UpdateProgress",
    "UpdateResult",
    "update",
    "update_from_images",
]
