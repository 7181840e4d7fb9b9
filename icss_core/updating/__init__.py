"""An update: from clicks to an updated network and its forgetting report."""

from icss_core.updating.progress import Stage, UpdateProgress
from icss_core.updating.runtime import Runtime
from icss_core.updating.update import UpdateResult, update

__all__ = ["Runtime", "Stage", "UpdateProgress", "UpdateResult", "update"]
