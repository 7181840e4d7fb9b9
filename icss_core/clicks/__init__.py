"""Clicks: sets of labelled points, GeoJSON in and out, simulation from ground truth, pseudo-labels."""
