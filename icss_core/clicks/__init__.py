"""Clicks: sets of labelled points, scribbles, GeoJSON, simulation from ground truth, pseudo-labels."""

from icss_core.clicks.click_set import ClickSet
from icss_core.clicks.features import LON_LAT, PIXEL
from icss_core.clicks.geojson import clicks_from_geojson, clicks_to_geojson
from icss_core.clicks.pseudo_labels import PseudoLabelSelector
from icss_core.clicks.regions import point_per_region, scribble_per_region
from icss_core.clicks.scribbles import scribbles_from_geojson
from icss_core.clicks.simulation import simulate_clicks

__all__ = [
    "LON_LAT",
    "PIXEL",
    "ClickSet",
    "PseudoLabelSelector",
    "clicks_from_geojson",
    "clicks_to_geojson",
    "point_per_region",
    "scribble_per_region",
    "scribbles_from_geojson",
    "simulate_clicks",
]
