"""Methods: a preset defines what an update or a task does; its loss is a cross-entropy plus regularisers.

A method is data (`presets.py`) plus functions (a file per regulariser).
"""

from icss_core.methods.cross_entropies import CROSS_ENTROPIES
from icss_core.methods.dense_preset import AnchorRule, DensePreset
from icss_core.methods.method import CrossEntropyRule, Method
from icss_core.methods.need import ClickTask, Need, SceneTask, provide_from_clicks, provide_from_scenes
from icss_core.methods.objective import build_objective, needs_of
from icss_core.methods.preset import (
    ContextRule,
    CropRule,
    HeadFit,
    HypercolumnRule,
    Preset,
    PrevalenceRule,
    PseudoLabelRule,
)
from icss_core.methods.presets import DEFAULT_PRESET
from icss_core.methods.registry import (
    REGULARISERS,
    dense_preset_names,
    get_dense_preset,
    get_preset,
    preset_names,
    regularisers_of,
    written_out,
)
from icss_core.methods.regulariser import Regulariser, RegulariserParameters, TaskContext

__all__ = [
    "CROSS_ENTROPIES",
    "DEFAULT_PRESET",
    "REGULARISERS",
    "AnchorRule",
    "ClickTask",
    "ContextRule",
    "CropRule",
    "CrossEntropyRule",
    "DensePreset",
    "HeadFit",
    "HypercolumnRule",
    "Method",
    "Need",
    "Preset",
    "PrevalenceRule",
    "PseudoLabelRule",
    "Regulariser",
    "RegulariserParameters",
    "SceneTask",
    "TaskContext",
    "build_objective",
    "dense_preset_names",
    "get_dense_preset",
    "get_preset",
    "needs_of",
    "preset_names",
    "provide_from_clicks",
    "provide_from_scenes",
    "regularisers_of",
    "written_out",
]
