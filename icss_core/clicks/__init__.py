"""Clicks: sets of labelled points, GeoJSON in and out, simulation from ground truth, pseudo-labels."""

from icss_core.clicks.click_set import ClickSet, conflicts
from icss_core.clicks.geojson import LON_LAT, PIXEL, clicks_from_geojson, clicks_to_geojson
from icss_core.clicks.pseudo_labels import PseudoLabelSelector
from icss_core.clicks.regions import point_per_region, scribble_per_region
from icss_core.clicks.simulation import simulate_clicks

__all__ = [
    "LON_LAT",
    "PIXEL",
    "ClickSet",
    "PseudoLabelSelector",
    "clicks_from_geojson",
    "clicks_to_geojson",
    "conflicts",
    "point_per_region",
    "scribble_per_region",
    "simulate_clicks",
]
