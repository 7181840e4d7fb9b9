"""What README promises of a new method: a file, an entry, a preset; its needs come with their providers."""

import ast
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from bars_and_blocks import BUILDING, CPU, OLD, picture

import icss_core
import services
from icss_core.clicks import simulate_clicks
from icss_core.continual import first_task_of, task_objective
from icss_core.data.batch import Batch
from icss_core.errors import InvalidParameterError
from icss_core.methods import (
    Regulariser,
    RegulariserParameters,
    get_dense_preset,
    get_preset,
    needs_of,
    registry,
)
from icss_core.methods.need import Need, extra
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.updating import Runtime, update

BRIGHTNESS = Need(
    name="brightness",
    description="how bright the memory network finds the crops",
    from_scenes=lambda task: lambda batch: task.memory_output(batch).logits.mean(),
    from_clicks=lambda task: lambda batch: task.memory_output(batch).logits.mean(),
)
ELEVATION = Need(
    name="elevation",
    description="elevation",
    of_memory=False,
    map_name="elevation",
    from_scenes=lambda _: extra("elevation"),
)


def _build(_, context):
    brightness = context.of(BRIGHTNESS)
    return lambda output, batch: {"dim": (output.logits.mean() - brightness(batch)).square()}


def _build_from_map(_, context):
    elevation = context.of(ELEVATION)
    return lambda output, batch: {"high": (output.logits[:, 0] * elevation(batch)).mean()}


DIM = Regulariser(
    name="dim",
    summary="as bright as before",
    source="nowhere",
    parameters=RegulariserParameters,
    build=_build,
    needs=frozenset({BRIGHTNESS}),
)
HIGH = Regulariser(
    name="high",
    summary="background lies high",
    source="nowhere",
    parameters=RegulariserParameters,
    build=_build_from_map,
    needs=frozenset({ELEVATION}),
)


@pytest.fixture(autouse=True)
def entries(monkeypatch):
    monkeypatch.setattr(
        registry, "REGULARISERS", MappingProxyType({**registry.REGULARISERS, "dim": DIM, "high": HIGH})
    )


def network(n_classes: int) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(Architecture(encoder="tu-test_resnet", n_classes=n_classes), identity(3))


def test_an_update_from_clicks_provides_what_a_new_method_needs():
    source, truth = picture(5, 96)
    clicks = simulate_clicks(np.where(truth == 1, 0, truth), classes=[0, 2], per_class=5, seed=0)
    overrides = {"regularisers.dim.weight": 1, "optimisation.iterations": 1, "crops.size": 64}
    preset = get_preset("icss", overrides)
    result = update(network(2), OLD, source, clicks, [BUILDING], preset, runtime=Runtime(device=CPU))
    assert "dim" in result.history[0].terms


def test_a_task_on_scenes_provides_it_too_and_its_first_leaves_it_out():
    preset = get_dense_preset("mib-paper/ft", {"regularisers.dim.weight": 2, "regularisers.high.weight": 1})
    assert needs_of(preset) == {BRIGHTNESS, ELEVATION}
    assert first_task_of(preset).regularisers.keys() == {"high"}
    memory = network(2)
    objective = task_objective(preset, n_classes=3, memory=memory, device=CPU, iterations=1)
    elevation = torch.rand(2, 64, 64)
    batch = Batch(
        pixels=torch.rand(2, 3, 64, 64),
        labels=torch.zeros(2, 64, 64, dtype=torch.int64),
        extras={"elevation": elevation},
    )
    output = memory.extend(1)(batch.pixels)
    terms = objective(output, batch)
    torch.testing.assert_close(terms["high"], (output.logits[:, 0] * elevation).mean())
    assert terms["dim"] >= 0


def test_what_clicks_do_not_come_with_is_refused_whatever_its_name():
    with pytest.raises(InvalidParameterError, match="'high' learns from elevation; clicks"):
        get_preset("icss", {"regularisers.high.weight": 1})


ROOT = Path(icss_core.__file__).parent.parent
METHODS = "icss_core/methods"
ENTERED_IN = {f"{METHODS}/registry.py", f"{METHODS}/presets.py", f"{METHODS}/dense_presets.py"}
FILES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for package in (icss_core, services)
    for path in sorted(Path(package.__file__).parent.rglob("*.py"))
}


OTHER_MEANINGS = {
    "features": "of GeoJSON",
    "objectness": "a map that comes with a scene",
    "possible": "the classes that an image may show",
}
"""Names of regularisers that are the names of other things too, so that a text says nothing."""


def files_that_import(own: str) -> set[str]:
    """Files with an import of the module that defines a regulariser."""
    module = own.removesuffix(".py").replace("/", ".")
    return {
        path
        for path, tree in FILES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == module
    }


def files_that_name(name: str) -> set[str]:
    """Files with the name of a regulariser as a text."""
    return {
        path
        for path, tree in FILES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value == name
    }


@pytest.mark.parametrize("name", sorted(registry.REGULARISERS))
def test_a_method_is_known_to_its_file_its_entry_and_its_presets_alone(name):
    regulariser = registry.REGULARISERS[name]
    own = regulariser.build.__code__.co_filename
    own = Path(own).resolve().relative_to(ROOT.resolve()).as_posix()
    importers = files_that_import(own)
    assert f"{METHODS}/registry.py" in importers
    assert all(path.startswith(f"{METHODS}/") for path in importers), "only other methods build on it"
    if name not in OTHER_MEANINGS:
        named = files_that_name(name)
        assert own in named
        assert named <= {own, *ENTERED_IN}
