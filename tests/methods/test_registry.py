"""Presets by name, overrides as strict as the presets."""

import numpy as np
import pytest

from icss_core.clicks import ClickSet
from icss_core.errors import InvalidParameterError, UnknownPresetError
from icss_core.methods import (
    REGULARISERS,
    TaskContext,
    build_objective,
    get_dense_preset,
    get_preset,
    needs_of,
    preset_names,
    regularisers_of,
)
from icss_core.methods.memory_needs import MEMORY_FEATURES, MEMORY_LOGITS, PROTOTYPES
from icss_core.methods.objectness import OBJECTNESS_MAP
from icss_core.raster.source import ArraySource
from icss_core.updating.crops import CropSource, SweepCrops
from icss_core.updating.tiles import working_area

PAPER_METHODS = ("baseline", "festa", "disca", "podnet", "sdr")


def test_default_comes_first_and_papers_are_named():
    assert preset_names()[0] == "icss"
    assert {f"icss-{kind}/{method}" for kind in ("paper", "code") for method in PAPER_METHODS} <= set(
        preset_names()
    )


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_round_trips(name):
    preset = get_preset(name)
    assert preset.name == name
    assert preset.regularisers.keys() <= REGULARISERS.keys()
    assert type(preset).model_validate_json(preset.model_dump_json()) == preset


def test_paper_presets_have_the_papers_numbers():
    for method in PAPER_METHODS:
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
        assert (paper.rounds, code.rounds) == (30, 30)
        for preset in (paper, code):
            assert [parameters.weight for _, parameters in regularisers_of(preset)] in ([], [1.0])
    ((_, festa),) = regularisers_of(get_preset("icss-paper/festa"))
    assert (festa.feature_neighbour, festa.spatial_neighbour, festa.far, festa.anchors) == (0.5, 1.5, 1, 0.01)
    ((_, disca),) = regularisers_of(get_preset("icss-paper/disca"))
    ((_, published),) = regularisers_of(get_preset("icss-code/disca"))
    assert (disca.decay, published.decay) == (False, True)
    assert get_preset("icss").warning is None


def test_points_alone_are_what_pdml_needs():
    preset = get_dense_preset("mib-weak/pdml", {"regularisers.point-metric.margin": 0.3})
    ((regulariser, parameters),) = regularisers_of(preset)
    assert (regulariser.name, parameters.weight) == ("point-metric", 1)
    assert (parameters.margin, parameters.per_class) == (0.3, 16)
    assert needs_of(preset) == frozenset()
    for wrong in ({"margin": -0.1}, {"per_class": 1}):
        with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
            get_dense_preset("mib-weak/pdml", {"regularisers.point-metric": wrong})


def test_overrides_nested_and_dotted():
    dotted = get_preset("icss", {"optimisation.lr": 3e-4, "regularisers.distillation.weight": 5})
    weights = {"distillation": {"weight": 5}}
    nested = get_preset("icss", {"optimisation": {"lr": 3e-4}, "regularisers": weights})
    assert dotted == nested
    assert dotted.optimisation.iterations == get_preset("icss").optimisation.iterations
    ((_, parameters),) = regularisers_of(dotted)
    assert parameters.weight == 5


def test_any_regularisers_can_be_combined_and_switched_off():
    both = get_preset("icss", {"regularisers.podnet.weight": 0.1, "regularisers.festa": {"far": 0}})
    assert [one.name for one, _ in regularisers_of(both)] == ["distillation", "podnet", "festa"]
    assert needs_of(both) == {MEMORY_LOGITS, MEMORY_FEATURES}
    without = get_preset("icss", {"regularisers.distillation.weight": 0})
    assert regularisers_of(without) == []
    assert needs_of(without) == frozenset()
    assert [one.name for one, _ in regularisers_of(get_preset("icss"))] == ["distillation"]


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"optimisation.lr": -1}, "optimisation.lr"),
        ({"lr": 1}, "lr"),
        ({"regularisers.distillation.typo": 1}, "typo"),
        ({"regularisers.distillation.weight": -1}, "weight"),
        ({"regularisers.sdrr.weight": 1}, "unknown regulariser 'sdrr'; one of .*'sdr'"),
        ({"crops.size": 100}, "crops.size"),
        ({"method": "sdr"}, "cannot be overridden"),
        ({"name.first": 1}, "no parts"),
    ],
)
def test_wrong_overrides_are_named(overrides, complaint):
    with pytest.raises(InvalidParameterError, match=complaint):
        get_preset("icss", overrides)


def test_objectness_is_for_tasks_on_scenes():
    overrides = {"regularisers.objectness.weight": 0.5}
    with pytest.raises(InvalidParameterError, match="'objectness' learns from objectness, which only scenes"):
        get_preset("icss", overrides)
    assert get_preset("icss", {"regularisers.objectness.weight": 0}) is not None
    assert needs_of(get_dense_preset("mib-weak/pce", overrides)) == {OBJECTNESS_MAP}


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(UnknownPresetError, match="icss-paper/sdr"):
        get_preset("icss-paper/sdrr")


def test_a_regulariser_that_needs_prototypes_says_so_when_it_gets_none():
    preset = get_preset("icss-paper/sdr")
    assert needs_of(preset) == {PROTOTYPES}
    with pytest.raises(AssertionError, match="prototypes"):
        build_objective(preset, TaskContext(n_classes=3, n_old=2))


@pytest.mark.parametrize(("height", "width"), [(100, 100), (256, 257), (700, 1300)])
@pytest.mark.parametrize("size", [256, 1024])
@pytest.mark.parametrize("limit", [64, 2])
def test_a_sweep_shows_every_pixel_of_the_working_area_once_counted(height, width, size, limit):
    preset = get_preset("icss-code/sdr", {"crops.overlap": 0.5, "crops.size": size})
    none = ClickSet.empty()
    area = working_area(height, width, none, limit=limit)
    image = CropSource(source=ArraySource(np.zeros((1, height, width), np.uint8)), area=area, labels=none)
    windows = SweepCrops(image, preset.crops, seed=0).windows
    assert len(set(windows)) == len(windows)
    assert preset.iterations_on(len(windows)) == -(-300 * len(windows) // 2)
    assert get_preset("icss").iterations_on(len(windows)) == get_preset("icss").optimisation.iterations
    shown = np.zeros((height + 512, width + 512), bool)
    for window in windows:
        shown[window.row : window.end_row, window.col : window.end_col] = True
    for tile in area.tiles:
        assert shown[tile.cell.row : tile.cell.end_row, tile.cell.col : tile.cell.end_col].all()


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ({"optimisation.iterations": True}, "optimisation.iterations"),
        ({"sweeps": True}, "sweeps"),
        ({"crops": {"overlap": False}}, "crops.overlap"),
        ({"crops.flips": 1}, "crops.flips"),
        ({"regularisers.podnet.weight": True}, "weight"),
        ({"optimisation.milestones": [True]}, "optimisation.milestones"),
    ],
)
def test_true_is_no_number(overrides, place):
    with pytest.raises(InvalidParameterError, match=place):
        get_preset("icss", overrides)


def test_numbers_and_booleans_may_be_what_they_are():
    preset = get_preset("icss", {"crops.flips": False, "sweeps": 2, "optimisation.lr": 1})
    assert preset.crops.flips is False
    assert preset.sweeps == 2
