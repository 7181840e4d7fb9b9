"""What README promises of a new method: a file, an entry, a preset; its needs come with their providers."""

from types import MappingProxyType

import numpy as np
import pytest
import torch
from bars_and_blocks import BUILDING, CPU, OLD, picture

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
