"""Methods: how a step prepares the updated network and what one batch's loss is, as data plus functions."""

from icss_core.methods.method import Method, StepContext
from icss_core.methods.preset import CropRule, HeadFit, Preset, PseudoLabelRule
from icss_core.methods.presets import DEFAULT_PRESET
from icss_core.methods.registry import (
    METHODS,
    build_objective,
    get_preset,
    method_of,
    method_parameters,
    preset_names,
)

__all__ = [
    "DEFAULT_PRESET",
    "METHODS",
    "CropRule",
    "HeadFit",
    "Method",
    "Preset",
    "PseudoLabelRule",
    "StepContext",
    "build_objective",
    "get_preset",
    "method_of",
    "method_parameters",
    "preset_names",
]
