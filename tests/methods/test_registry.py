"""Presets by name, overrides as strict as the presets."""

import numpy as np
import pytest

from icss_core.clicks import ClickSet
from icss_core.errors import InvalidParameterError, UnknownPresetError
from icss_core.methods import METHODS, StepContext, build_objective, get_preset, method_of, preset_names
from icss_core.methods.registry import method_parameters
from icss_core.raster.source import ArraySource
from icss_core.updating.crops import SweepCrops


def test_default_comes_first_and_papers_are_named():
    assert preset_names()[0] == "icss"
    assert {"icss-paper/baseline", "icss-paper/sdr", "icss-code/baseline", "icss-code/sdr"} <= set(
        preset_names()
    )


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_a_method_and_round_trips(name):
    preset = get_preset(name)
    assert preset.name == name
    assert preset.method in METHODS
    assert type(preset).model_validate_json(preset.model_dump_json()) == preset


def test_paper_presets_have_the_papers_numbers():
    for method in ("baseline", "sdr"):
        paper, code = get_preset(f"icss-paper/{method}"), get_preset(f"icss-code/{method}")
        for preset in (paper, code):
            assert (preset.optimisation.optimiser, preset.optimisation.lr) == ("adam", 2e-5)
            assert (preset.crops.size, preset.crops.batch) == (256, 2)
            assert preset.optimisation.batch_norm == "statistics"
            assert preset.warning
        assert paper.optimisation.iterations == 30 * 10
        assert (paper.pseudo_labels.kind, paper.pseudo_labels.multiple) == ("top_n", 1)
        assert (code.pseudo_labels.kind, code.pseudo_labels.multiple) == ("threshold", 10)
        assert code.pseudo_labels.threshold == 0.99
        assert code.sweeps == 30 * 10
    assert method_parameters(get_preset("icss-paper/sdr")).match == 1
    assert get_preset("icss").warning is None


def test_overrides_nested_and_dotted():
    dotted = get_preset("icss", {"optimisation.lr": 3e-4, "parameters.distillation": 5})
    nested = get_preset("icss", {"optimisation": {"lr": 3e-4}, "parameters": {"distillation": 5}})
    assert dotted == nested
    assert dotted.optimisation.iterations == get_preset("icss").optimisation.iterations
    assert method_parameters(dotted).distillation == 5


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"optimisation.lr": -1}, "optimisation.lr"),
        ({"lr": 1}, "lr"),
        ({"parameters.typo": 1}, "typo"),
        ({"crops.size": 100}, "crops.size"),
        ({"method": "sdr"}, "cannot be overridden"),
        ({"name.first": 1}, "no parts"),
    ],
)
def test_wrong_overrides_are_named(overrides, complaint):
    with pytest.raises(InvalidParameterError, match=complaint):
        get_preset("icss", overrides)


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(UnknownPresetError, match="icss-paper/sdr"):
        get_preset("icss-paper/sdrr")


def test_a_method_that_needs_prototypes_says_so_when_it_gets_none():
    preset = get_preset("icss-paper/sdr")
    assert method_of(preset).needs_prototypes
    with pytest.raises(AssertionError, match="prototypes"):
        build_objective(preset, StepContext(n_old=2, n_classes=3))


@pytest.mark.parametrize(("height", "width"), [(100, 100), (256, 257), (700, 1300)])
def test_sweeps_count_the_windows_that_a_sweep_visits(height, width):
    preset = get_preset("icss-code/sdr", {"crops.overlap": 0.5})
    source = ArraySource(np.zeros((1, height, width), np.uint8))
    windows = SweepCrops(source, ClickSet.empty(), preset.crops, seed=0).windows
    assert preset.iterations_on(height, width) == -(-300 * len(windows) // 2)
    assert get_preset("icss").iterations_on(height, width) == get_preset("icss").optimisation.iterations
