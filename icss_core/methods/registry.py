"""Regularisers and presets by name, and overrides checked as strictly as the presets themselves."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from icss_core.errors import InvalidParameterError, UnknownPresetError, faults_of
from icss_core.methods.dense_preset import DensePreset
from icss_core.methods.dense_presets import DENSE_PRESETS
from icss_core.methods.disca import DISCA
from icss_core.methods.distillation import DISTILLATION
from icss_core.methods.features import FEATURES
from icss_core.methods.festa import FESTA
from icss_core.methods.image_level import IMAGE_LEVEL
from icss_core.methods.local_pod import LOCAL_POD
from icss_core.methods.lwf import LWF
from icss_core.methods.lwf_mc import LWF_MC
from icss_core.methods.objectness import OBJECTNESS
from icss_core.methods.podnet import PODNET
from icss_core.methods.point_metric import POINT_METRIC
from icss_core.methods.possible import POSSIBLE
from icss_core.methods.preset import Preset
from icss_core.methods.presets import PRESETS
from icss_core.methods.sdr import SDR
from icss_core.methods.sdr_match import SDR_MATCH
from icss_core.methods.sdr_published import SDR_PUBLISHED
from icss_core.methods.sdr_shape import SDR_SHAPE
from icss_core.networks.architecture import output_stride_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icss_core.methods.method import Method
    from icss_core.methods.regulariser import Regulariser, RegulariserParameters
    from icss_core.networks.segmenter import Architecture

REGULARISERS: Final[Mapping[str, Regulariser[Any]]] = MappingProxyType(
    {
        one.name: one
        for one in (
            DISTILLATION,
            DISCA,
            FEATURES,
            FESTA,
            IMAGE_LEVEL,
            LOCAL_POD,
            LWF,
            LWF_MC,
            OBJECTNESS,
            PODNET,
            POINT_METRIC,
            POSSIBLE,
            SDR,
            SDR_MATCH,
            SDR_SHAPE,
            SDR_PUBLISHED,
        )
    }
)


AnyPreset = TypeVar("AnyPreset", Preset, DensePreset)


def preset_names() -> list[str]:
    """Names that `get_preset` knows, the default first."""
    return list(PRESETS)


def get_preset(name: str, overrides: Mapping[str, Any] | None = None) -> Preset:
    """A preset, with some of its numbers changed.

    Args:
        name: one of `preset_names()`.
        overrides: nested as in the preset (`{"optimisation": {"lr": 1e-4}}`) or with dots
            (`{"optimisation.lr": 1e-4}`); `{"regularisers.podnet.weight": 0.1}` adds a regulariser that the
            preset does not have.

    Raises:
        UnknownPresetError: no such preset.
        InvalidParameterError: an override names nothing or is out of bounds, the message lists all; or it
            adds a regulariser with a need that updates from clicks cannot provide.
    """
    preset = _chosen(PRESETS, name, overrides)
    for regulariser, _ in regularisers_of(preset):
        for need in regulariser.needs:
            if need.from_clicks is None:
                raise InvalidParameterError(
                    f"{regulariser.name!r} learns from {need.description}; clicks on an image come with none"
                )
    return preset


def dense_preset_names() -> list[str]:
    """Names that `get_dense_preset` knows."""
    return list(DENSE_PRESETS)


def get_dense_preset(name: str, overrides: Mapping[str, Any] | None = None) -> DensePreset:
    """A preset of a task on scenes, with some of its numbers changed.

    Args:
        name: one of `dense_preset_names()`.
        overrides: as in `get_preset`.

    Raises:
        UnknownPresetError: no such preset.
        InvalidParameterError: an override names nothing or is out of bounds; the message lists all.
    """
    preset = _chosen(DENSE_PRESETS, name, overrides)
    for regulariser, _ in regularisers_of(preset):
        for need in regulariser.needs:
            reason = need.missing_in(preset)
            if reason is not None:
                raise InvalidParameterError(f"{regulariser.name!r} {reason}")
    return preset


def _chosen(presets: Mapping[str, AnyPreset], name: str, overrides: Mapping[str, Any] | None) -> AnyPreset:
    if name not in presets:
        raise UnknownPresetError(f"unknown preset {name!r}; one of {list(presets)}")
    original = presets[name]
    content = original.model_dump()
    for path, value in (overrides or {}).items():
        _merge(content, path.split("."), value)
    if (content["name"], content["method"]) != (original.name, original.method):
        raise InvalidParameterError("name and method of a preset cannot be overridden; choose another preset")
    try:
        preset = type(original).model_validate(content)
        pairs = [(content, preset.model_dump())] + [
            (content["regularisers"][regulariser.name], parameters.model_dump())
            for regulariser, parameters in regularisers_of(preset)
        ]
    except ValidationError as error:
        raise InvalidParameterError(f"overrides of preset {name!r}: {faults_of(error)}") from error
    if mistaken := [place for given, read in pairs for place in _mistaken(given, read)]:
        raise InvalidParameterError(
            f"overrides of preset {name!r}: true and false are no numbers: {mistaken}"
        )
    return preset


def _mistaken(given: object, read: object, place: str = "") -> Iterator[str]:
    """Where `true` was read as the number 1, which Python's integers allow, or 1 as `true`."""
    if isinstance(given, Mapping) and isinstance(read, Mapping):
        for name in given.keys() & read.keys():
            yield from _mistaken(given[name], read[name], f"{place}.{name}" if place else str(name))
    elif isinstance(given, (list, tuple)) and isinstance(read, (list, tuple)):
        for one, other in zip(given, read, strict=False):
            yield from _mistaken(one, other, place)
    elif isinstance(given, bool) != isinstance(read, bool):
        yield place


def regularisers_of(method: Method) -> list[tuple[Regulariser[Any], RegulariserParameters]]:
    """The regularisers of a method with their numbers, those of weight 0 left out.

    Raises:
        InvalidParameterError: no such regulariser.
        ValidationError: its numbers are wrong; located as in the preset.
    """
    chosen = []
    for name, numbers in method.regularisers.items():
        if name not in REGULARISERS:
            raise InvalidParameterError(f"unknown regulariser {name!r}; one of {list(REGULARISERS)}")
        parameters = REGULARISERS[name].parameters.model_validate(numbers)
        if parameters.weight:
            chosen.append((REGULARISERS[name], parameters))
    return chosen


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


def misfit(method: Method, *, architecture: Architecture, crop: int) -> str | None:
    """Says what in a method does not fit a network and its crops; None if all fits.

    Args:
        method: with its numbers.
        architecture: of the network.
        crop: side of the crops, in pixels.
    """
    chosen = regularisers_of(method)
    if not chosen:
        return None
    stride = output_stride_of(architecture)
    for regulariser, parameters in chosen:
        reason = regulariser.misfit(parameters, crop, stride)
        if reason is not None:
            return f"{method.name!r}: {regulariser.name!r} {reason}"
    return None


def written_out(preset: Preset) -> Preset:
    """The preset with every number of its regularisers, also those it leaves to their defaults.

    Args:
        preset: one that `get_preset` returned.
    """
    numbers = {
        name: REGULARISERS[name].parameters.model_validate(given).model_dump(mode="json")
        for name, given in preset.regularisers.items()
    }
    return preset.model_copy(update={"regularisers": numbers})
