"""Reference values (`tests/golden`): a loss's cases, compared within their tolerances."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

FOLDER = Path(__file__).resolve().parent / "golden"
FLOAT_TYPES = (torch.float64, torch.float32)


@dataclass(frozen=True)
class GoldenCase:
    """One case: `entry` of the index (constants, meanings, tolerances) and the arrays."""

    entry: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def constants(self) -> dict[str, Any]:
        return self.entry["constants"]

    def has(self, key: str) -> bool:
        return f"in.{key}" in self.arrays

    def array(self, key: str) -> np.ndarray:
        return self.arrays[f"in.{key}"]

    def tensor(self, key: str, dtype: torch.dtype, *, grad: bool = False) -> torch.Tensor:
        """An input; floating ones in `dtype`, integers and booleans as stored."""
        tensor = torch.from_numpy(self.array(key))
        return tensor.to(dtype).requires_grad_(grad) if tensor.is_floating_point() else tensor

    def check(self, key: str, value: torch.Tensor | np.ndarray | float, dtype: torch.dtype) -> None:
        """Assert that a value is the stored output within the case's tolerance for `dtype`."""
        expected = self.arrays[f"out.{key}"]
        tolerance = self.entry["outputs"][key]["tolerance"]
        actual = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        label = f"{self.entry['name']}.{key}"
        assert actual.shape == expected.shape, label
        if tolerance == "exact":
            np.testing.assert_array_equal(actual, expected, err_msg=label)
        else:
            bound = tolerance[str(dtype).removeprefix("torch.")]
            np.testing.assert_allclose(
                actual.astype(np.float64), expected, rtol=bound["rtol"], atol=bound["atol"], err_msg=label
            )


@functools.cache
def _index() -> list[dict[str, Any]]:
    return json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))["cases"]


def golden_cases(group: str, loss: str) -> list[GoldenCase]:
    """All cases of a loss, at least one."""
    entries = [entry for entry in _index() if (entry["group"], entry["loss"]) == (group, loss)]
    assert entries, f"no reference case {group}.{loss}"
    cases = []
    for entry in entries:
        with np.load(FOLDER / entry["file"]) as stored:
            cases.append(GoldenCase(entry, dict(stored)))
    return cases


def gradient(value: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    """d value / d of, zero where the value does not depend on it; the graph is kept."""
    (found,) = torch.autograd.grad(value, of, retain_graph=True, allow_unused=True)
    return torch.zeros_like(of) if found is None else found
