"""Sweeps as data: every file of the repository says one, and faults are named."""

import re
from pathlib import Path

import pytest
import yaml

from icss_core.errors import InvalidParameterError
from services.model_version import MODEL_NAME
from services.settings import Settings
from services.training.presets import pretraining_config
from services.tune.interactive.networks import control_config, memory_config
from services.tune.interactive.plan import plan_interactive
from services.tune.interactive.spec import InteractiveSweep
from services.tune.read_spec import read_spec

FOLDER = Path(__file__).parents[3] / "tune_specs"
FILES = sorted(FOLDER.glob("icss_*.yaml"))
CONTENT = {
    "name": "one",
    "question": "which?",
    "pairs": [{"dataset": "town", "old": ["road"], "new": "building"}],
    "variants": [
        {
            "preset": "icss",
            "vary": {"optimisation.lr": {"grid": [1e-4, 1e-3]}, "crops.batch": {"grid": [2, 4]}},
        },
        {"preset": "icss-paper/podnet", "overrides": {"regularisers.podnet.weight": 0.1}},
    ],
    "scales": {"smoke": {"seeds": [7], "search": {"seed": 5}}},
}


def write(folder: Path, **changes) -> Path:
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, **changes}, sort_keys=False))
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_can_run_at_every_scale(path):
    scales = yaml.safe_load(path.read_text())["scales"]
    assert {"cpu", "smoke"} <= scales.keys()
    for scale in (None, *scales):
        spec = read_spec(path, scale)
        assert list(spec.points())
        for pair in spec.pairs if spec.kind == "interactive" else spec.cases:
            memory, control = (
                config(pair, "s3://icss/dataset.yaml", spec.pretraining)
                for config in (memory_config, control_config)
            )
            assert re.fullmatch(MODEL_NAME, memory.model)
            assert memory.model != control.model
            assert (memory.classes, control.classes) == (pair.old, (*pair.old, pair.new))
            assert memory.optimisation == control.optimisation


def test_the_papers_tables_are_asked_in_full():
    table, figure, weights = (
        read_spec(FOLDER / f"icss_{name}.yaml") for name in ("table1", "annotations", "lambda")
    )
    methods = {"baseline", "festa", "disca", "podnet", "sdr"}
    assert {f"icss-paper/{name}" for name in methods} <= {variant.preset for variant in table.variants}
    assert [pair.dataset for pair in table.pairs] == ["potsdam", "vaihingen", "toulouse"]
    assert figure.annotations == (10, 30, 50, 100, 300, 500, 1000)
    varied = {path for variant in weights.variants for path in variant.vary}
    assert {f"regularisers.{name}.weight" for name in methods - {"baseline"}} <= varied


def test_a_grid_is_every_combination_and_a_variant_without_is_itself(tmp_path):
    spec = read_spec(write(tmp_path))
    points = [(variant.title, values) for variant, values in spec.points()]
    assert [values for title, values in points if title == "icss"] == [
        {"optimisation.lr": lr, "crops.batch": batch} for lr in (1e-4, 1e-3) for batch in (2, 4)
    ]
    assert points[-1] == ("icss-paper/podnet", {})
    variant, values = list(spec.points())[1]
    assert (spec.preset_of(variant, values).optimisation.lr, spec.preset_of(variant, values).crops.batch) == (
        1e-4,
        4,
    )
    assert spec.preset_of(spec.variants[1], {}).regularisers == {"podnet": {"weight": 0.1}}


def test_draws_are_in_range_and_the_same_each_time(tmp_path):
    vary = {"optimisation.lr": {"loguniform": [1e-5, 1e-2]}, "head_fit.l2_to_start": {"uniform": [0, 1]}}
    path = write(
        tmp_path, variants=[{"preset": "icss", "vary": vary}], search={"kind": "random", "samples": 40}
    )
    draws = [values for _, values in read_spec(path).points()]
    assert draws == [values for _, values in read_spec(path).points()]
    assert draws != [values for _, values in read_spec(path, "smoke").points()]
    rates = [draw["optimisation.lr"] for draw in draws]
    assert len(set(rates)) == 40
    assert 1e-5 <= min(rates) < 1e-4 < 1e-3 < max(rates) <= 1e-2


def test_a_scale_changes_what_it_names(tmp_path):
    path = write(tmp_path)
    assert read_spec(path).seeds == (0, 1, 2)
    assert read_spec(path, "smoke").seeds == (7,)
    assert read_spec(path, "smoke").search.kind == "grid"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"typo": 1}, "typo: Extra inputs"),
        ({"name": "a b"}, "name: "),
        ({"pairs": []}, "pairs: "),
        ({"variants": [{"preset": "icss"}, {"preset": "icss"}]}, "two variants have one name"),
        ({"variants": [{"preset": "sdr"}]}, "unknown preset 'sdr'"),
        ({"variants": [{"preset": "icss", "overrides": {"crops.size": 7}}]}, "crops.size"),
        ({"variants": [{"preset": "icss", "vary": {"optimisation.lr": {"grid": [0]}}}]}, "optimisation.lr"),
        ({"variants": [{"preset": "icss", "vary": {"optimisation.lr": {"uniform": [0, 1]}}}]}, "grids"),
        (
            {"variants": [{"preset": "icss", "vary": {"x": {"uniform": [1, 1]}}}]},
            "from a smaller to a larger",
        ),
        ({"variants": [{"preset": "icss", "vary": {"x": {}}}]}, "one of grid"),
        ({"pretraining": {"preset": "mib"}}, "unknown pretraining preset 'mib'"),
        ({"pretraining": {"dataset": "x"}}, "'dataset'"),
        ({"seeds": [0, 0]}, "twice"),
        ({"seeds": [-1]}, "seeds"),
        ({"pairs": [{"dataset": "town", "old": ["road"], "new": "road"}]}, "both old and new"),
        ({"scheduler": {"kind": "asha", "grace": 3}, "images": 2}, "none could stop"),
        ({"plot": {"x": "weight"}}, "plot.x"),
    ],
)
def test_faults_are_named_with_the_file(tmp_path, changes, complaint):
    with pytest.raises(InvalidParameterError, match=rf"spec\.yaml.*{complaint}"):
        read_spec(write(tmp_path, **changes))


def test_a_data_set_without_an_address_is_named_before_anything_starts(tmp_path):
    settings = Settings(data_prefix="s3://icss", mlflow_uri="http://127.0.0.1:9")
    with pytest.raises(InvalidParameterError, match=r"no address for the data sets \['town'\]"):
        plan_interactive(read_spec(write(tmp_path)), {}, settings)


def test_unknown_scales_and_files_are_named(tmp_path):
    with pytest.raises(InvalidParameterError, match=r"no scale 'large'; it has \['smoke'\]"):
        read_spec(write(tmp_path), "large")
    with pytest.raises(InvalidParameterError, match=r"missing\.yaml cannot be read"):
        read_spec(tmp_path / "missing.yaml")


def test_pretraining_by_the_papers_numbers():
    def numbers(**given):
        return pretraining_config("one", ("road",), "s3://icss/dataset.yaml", given)

    paper, code = numbers(preset="icss-paper"), numbers(preset="icss-code")
    for config in (paper, code):
        assert config.crop == 256
        assert config.optimisation.iterations * config.batch * config.workers == 10 * 10_000
    assert (paper.optimisation.optimiser, paper.optimisation.lr) == ("adam", 1e-4)
    assert (code.optimisation.optimiser, code.optimisation.lr, code.optimisation.momentum) == (
        "sgd",
        0.05,
        0.9,
    )
    assert (code.optimisation.weight_decay, code.optimisation.milestones) == (5e-4, (0.4, 0.7))
    changed = numbers(**{"preset": "icss-paper", "optimisation.lr": 1e-3, "encoder": "resnet18"})
    assert (changed.optimisation.lr, changed.encoder, changed.batch) == (1e-3, "resnet18", 2)
    assert isinstance(
        InteractiveSweep.model_validate({k: v for k, v in CONTENT.items() if k != "scales"}), InteractiveSweep
    )
    nested = numbers(optimisation={"iterations": 50})
    assert (nested.optimisation.iterations, nested.optimisation.warmup) == (50, 5)
    assert numbers(**{"optimisation.iterations": 50, "optimisation.warmup": 20}).optimisation.warmup == 20
    with pytest.raises(InvalidParameterError, match=r"pretraining of 'one': crop"):
        numbers(crop=7)
