"""Pictures of scenes, clicks and class maps, as PNG bytes: one hand for demo and service."""

from services.pictures.class_map import map_png, read_map
from services.pictures.figures import (
    clicks_picture,
    difference_picture,
    grid_picture,
    map_picture,
    steps_picture,
)
from services.pictures.layers import colourise, difference, overlay, to_rgb

__all__ = [
    "clicks_picture",
    "colourise",
    "difference",
    "difference_picture",
    "grid_picture",
    "map_picture",
    "map_png",
    "overlay",
    "read_map",
    "steps_picture",
    "to_rgb",
]
