"""One step, from clicks to an updated network and its forgetting report."""

from icss_core.updating.update import Progress, Stage, UpdateResult, update

__all__ = ["Progress", "Stage", "UpdateResult", "update"]
