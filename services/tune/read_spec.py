"""Reading a file of `tune_specs/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml
from pydantic import ValidationError

from icss_core.errors import IcssError, InvalidParameterError, faults_of
from icss_core.text_file import read_text
from services.tune.kinds import SWEEP_KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from services.tune.spec import SweepSpec

_RENAMED: Final = {"protocol": "kind (interactive, carry-over or continual)", "tasks": "protocols"}
"""Keys that have another name now: files from before are told so."""


def read_spec(path: Path, scale: str | None = None) -> SweepSpec:
    """Read a sweep from its file, at one of the scales that the file has.

    Raises:
        InvalidParameterError: no such file or scale, or the file has faults, all of which the message lists.
    """
    try:
        content = yaml.safe_load(read_text(path, InvalidParameterError))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidParameterError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InvalidParameterError(f"{path} must be a mapping with name, question and variants")
    scales = content.pop("scales", {})
    if scale is not None:
        if scale not in scales:
            raise InvalidParameterError(f"{path} has no scale {scale!r}; it has {list(scales)}")
        content = _merged(content, scales[scale] or {})
    for old, new in _RENAMED.items():
        if old in content:
            raise InvalidParameterError(f"{path} is not a sweep: {old} is called {new} now")
    kind = content.get("kind", "interactive")
    if kind not in SWEEP_KINDS:
        raise InvalidParameterError(
            f"{path} is not a sweep: kind is one of {sorted(SWEEP_KINDS)}, not {kind!r}"
        )
    try:
        spec: SweepSpec = SWEEP_KINDS[kind].spec.model_validate(content)
    except ValidationError as error:
        raise InvalidParameterError(f"{path} is not a sweep: {faults_of(error)}") from error
    except IcssError as error:
        raise InvalidParameterError(f"{path} is not a sweep: {error}") from error
    return spec


def _merged(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The content with changes: mappings are merged, everything else is replaced."""
    merged = dict(content)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
