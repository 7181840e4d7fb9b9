from __future__ import annotations

import warnings

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from icss_core.methods import get_dense_preset
from icss_core.training import Optimisation
from services.training import TrainingConfig
from services.training.config import NEUTRAL, LearnerChoice

CONFIG = TrainingConfig(dataset="s3://icss/set/dataset.yaml", model="town", classes=("road", "roof"))


def test_the_same_request_on_the_same_data_is_the_same_job() -> None:
    again = TrainingConfig.model_validate(CONFIG.model_dump(mode="json"))
    assert again.job_name("hash") == CONFIG.job_name("hash")
    assert CONFIG.job_name("hash").startswith("town-")


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"classes": ("roof", "road")}, {"optimisation": Optimisation(lr=0.5)}, {"crop": 64}],
)
def test_another_request_or_other_data_is_another_job(change) -> None:
    assert CONFIG.model_copy(update=change).job_name("hash") != CONFIG.job_name("hash")
    assert CONFIG.job_name("other data") != CONFIG.job_name("hash")


def test_a_jobs_name_outlives_the_code() -> None:
    """Changed only on purpose: every job would be done again."""
    assert CONFIG.job_name("hash") == "town-fb82abaa4913"
    preset = get_dense_preset("mib-paper/mib", {"area": None, "scale": [0.5, 2.0]})
    config = TrainingConfig(
        dataset="s3://icss/set/dataset.yaml",
        model="town",
        classes=("road", "roof"),
        optimisation=Optimisation(iterations=10),
        memory=3,
        scenes="x",
        learner=LearnerChoice(kind="continual", parameters={"preset": preset.model_dump(mode="json")}),
    )
    assert config.job_name("hash") == "town-eabb4b4293e1"


def test_nothing_said_on_purpose_is_lost_on_the_way_to_a_worker() -> None:
    preset = get_dense_preset("mib-paper/mib", {"area": None, "scale": [0.5, 2.0], "epochs": None})
    choice = LearnerChoice(kind="continual", parameters={"preset": preset.model_dump(mode="json")})
    sent = LearnerChoice.model_validate_json(choice.model_dump_json())
    assert sent.resolve()[1].preset == preset


@pytest.mark.parametrize("name", sorted(NEUTRAL - {"job", "workers"}))
def test_neutral_settings_change_neither_the_job_nor_what_decides_its_numbers(name) -> None:
    changed = CONFIG.model_copy(update={name: True if name == "gpu" else 9})
    assert changed.job_name("hash") == CONFIG.job_name("hash")
    assert changed.decisive() == CONFIG.decisive()
    assert changed.neutral() != CONFIG.neutral()


@pytest.mark.parametrize("name", sorted(set(TrainingConfig.model_fields) - NEUTRAL - {"learner"}))
def test_every_other_setting_makes_another_job(name) -> None:
    changed = CONFIG.model_copy(update={name: "another"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, about values of other types
        assert changed.job_name("hash") != CONFIG.job_name("hash")
        assert changed.decisive() != CONFIG.decisive()


def test_one_worker_and_the_jobs_own_process_do_the_same_job_and_two_another() -> None:
    none, one, two = (CONFIG.model_copy(update={"workers": n}) for n in (0, 1, 2))
    assert none.job_name("hash") == one.job_name("hash") != two.job_name("hash")
    assert none.decisive() == one.decisive() != two.decisive()


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset": "/local/dataset.yaml"},
        {"dataset": "s3://icss/scene.tif"},
        {"crop": 100},
        {"workers": -1},
        {"classes": ("road", "road")},
        {"decoder": "dpt"},
        {"minutes": 0},
        {"job": "../elsewhere"},
        {"unknown": 1},
    ],
)
def test_wrong_requests_are_refused(wrong) -> None:
    with pytest.raises(ValidationError):
        TrainingConfig.model_validate(CONFIG.model_dump() | wrong)


def test_the_command_line_says_what_is_wrong() -> None:
    import typer

    from services.training.__main__ import main

    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, ["--dataset", "s3://icss/dataset.yaml", "--model", "m", "--crop", "100"])
    assert result.exit_code == 2
    assert "crop" in result.output
    assert "multiple of 32" in result.output
