"""How much work an update asks for, before it is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.raster.windows import origins

if TYPE_CHECKING:
    from icss_core.methods import Preset


def planned_iterations(preset: Preset, height: int, width: int) -> int:
    """Optimisation iterations of an update of a raster of `height` x `width` pixels.

    Presets that count in sweeps go over the whole grid of crops each time, so the raster's size counts.
    """
    if preset.sweeps is None:
        return preset.optimisation.iterations
    rule = preset.crops
    stride = max(round(rule.size * (1 - rule.overlap)), 1)
    crops = len(origins(height, rule.size, stride)) * len(origins(width, rule.size, stride))
    return -(-preset.sweeps * crops // rule.batch)
