"""A made-up town seen from above: pictures with a perfect truth, for the demo and the tests."""

from services.ingest.town.scene import TOWN_CLASSES, TownScene, make_town

__all__ = ["TOWN_CLASSES", "TownScene", "make_town"]
