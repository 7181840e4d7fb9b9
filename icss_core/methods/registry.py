"""Methods and presets by name, and overrides checked as strictly as the presets themselves."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from icss_core.errors import InvalidParameterError, UnknownPresetError
from icss_core.methods.baseline import BASELINE
from icss_core.methods.icss import ICSS
from icss_core.methods.preset import Preset
from icss_core.methods.presets import PRESETS
from icss_core.methods.sdr import SDR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icss_core.methods.method import Method, StepContext
    from icss_core.training import Objective

METHODS: Final[Mapping[str, Method[Any]]] = MappingProxyType(
    {method.name: method for method in (BASELINE, SDR, ICSS)}
)


def preset_names() -> list[str]:
    """Names that `get_preset` knows, the default first."""
    return list(PRESETS)


def get_preset(name: str, overrides: Mapping[str, Any] | None = None) -> Preset:
    """A preset, with some of its numbers changed.

    Args:
        name: one of `preset_names()`.
        overrides: nested as in the preset (`{"optimisation": {"lr": 1e-4}}`) or with dots
            (`{"optimisation.lr": 1e-4}`).

    Raises:
        UnknownPresetError: no such preset.
        InvalidParameterError: an override names nothing or is out of bounds; the message lists all.
    """
    if name not in PRESETS:
        raise UnknownPresetError(f"unknown preset {name!r}; one of {preset_names()}")
    content = PRESETS[name].model_dump()
    for path, value in (overrides or {}).items():
        _merge(content, path.split("."), value)
    if (content["name"], content["method"]) != (PRESETS[name].name, PRESETS[name].method):
        raise InvalidParameterError("name and method of a preset cannot be overridden; choose another preset")
    try:
        preset = Preset.model_validate(content)
        method_parameters(preset)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InvalidParameterError(f"overrides of preset {name!r}: {faults}") from error
    return preset


def method_of(preset: Preset) -> Method[Any]:
    """The method a preset belongs to."""
    if preset.method not in METHODS:
        raise UnknownPresetError(f"unknown method {preset.method!r}; one of {list(METHODS)}")
    return METHODS[preset.method]


def method_parameters(preset: Preset) -> Any:
    """The method's own numbers, checked."""
    return method_of(preset).parameters.model_validate(preset.parameters)


def build_objective(preset: Preset, context: StepContext) -> Objective:
    """The loss of one batch of a step."""
    return method_of(preset).objective(method_parameters(preset), context)


def _merge(content: dict[str, Any], path: list[str], value: Any) -> None:
    head, *rest = path
    if rest:
        inner = content.setdefault(head, {})
        if not isinstance(inner, dict):
            raise InvalidParameterError(f"{head} has no parts to override")
        _merge(inner, rest, value)
    elif isinstance(value, dict) and isinstance(content.get(head), dict):
        for key, part in value.items():
            _merge(content[head], [key], part)
    else:
        content[head] = value
