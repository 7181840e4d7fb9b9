"""The small decisions of the demo; the whole of it runs in tests/e2e."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from services.demo.job import scores_shown
from services.demo.options import DemoOptions
from services.demo.progress import Stages
from services.demo.scenes import _is_dubai
from services.demo.up import commands


def test_what_is_not_asked_for_depends_on_the_data(tmp_path) -> None:
    town, real = DemoOptions(), DemoOptions(data=tmp_path / "my-images")
    assert (town.name, town.old, town.sessions) == ("town", ("road", "vegetation", "water"), 1)
    assert (real.name, real.old, real.sessions) == ("my-images", ("road",), 3)
    asked = DemoOptions(asked_old=("water",), clicks=5, images=2, minutes=0.5, backbone="resnet50")
    assert (asked.old, asked.clicks_per_class, asked.sessions) == (("water",), 5, 2)
    assert (asked.pretraining_minutes, asked.encoder) == (0.5, "resnet50")


def test_without_a_terminal_a_line_comes_with_each_tenth_of_the_way() -> None:
    console = Console(file=io.StringIO(), width=100)
    stages = Stages(console)
    with stages.stage("training", "a network") as stage:
        for done in range(101):
            stage.at(done, 100, f"at {done}")
    lines = console.file.getvalue().splitlines()
    assert [line.strip() for line in lines if "at" in line] == [f"at {tenth * 10}" for tenth in range(11)]
    assert set(stages.seconds) == {"training"}


def test_only_ious_of_classes_are_shown() -> None:
    scores = {"val_iou/wide road": 0.784, "val_miou": 0.9}
    assert scores_shown(scores) == ", IoU wide road 78 %"
    assert scores_shown({}) == ""


@pytest.mark.parametrize(("made", "is_dubai"), [(["Tile 1"], True), (["images"], False), ([], False)])
def test_the_dubai_set_is_known_by_its_folders(made: list[str], *, is_dubai: bool, tmp_path) -> None:
    for name in made:
        (tmp_path / name).mkdir()
    assert _is_dubai(tmp_path) == is_dubai


def test_printed_commands_survive_names_that_a_shell_would_take_apart(tmp_path) -> None:
    job = SimpleNamespace(
        stack=SimpleNamespace(
            addresses={"API": "http://127.0.0.1:1"},
            settings=SimpleNamespace(require_api_token=lambda: "token", mlflow_uri="http://127.0.0.1:2"),
        ),
        model="town",
        options=SimpleNamespace(new="flat roof; rm x"),
        out=tmp_path / "my out",
    )
    clicks = tmp_path / "my out" / "clicks.geojson"
    printed = dict(commands(job, "s3://icss/a.tif", clicks, pixel=True))
    add = shlex.split(printed["Add the class 'flat roof; rm x'"])
    assert add[3:6] == ["add-class", "town", "flat roof; rm x"]
    assert Path(add[add.index("--clicks") + 1]) == clicks
    assert add[-2:] == ["--crs", "pixel"]
