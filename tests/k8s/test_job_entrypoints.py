"""What a RayJob runs: the command takes these very arguments, and its configuration is a valid one.

The command is run in this process, with the variables of its pod, up to where it connects to anything.
"""

import importlib
import itertools
import shlex
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import typer
from installations import INSTALLATIONS, installation
from kustomize_resolver import ROOT
from pod_templates import pods
from settings_rules import environment
from typer.testing import CliRunner

from services.updating.__main__ import pair

# Ray 2.60's own schema still uses pydantic 1's way to annotate fields (ray/serve/schema.py)
pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")

REPOSITORY = ROOT.parent
ENTRYPOINTS = {
    f"{folder} {one['metadata']['name']}": one["spec"]["entrypoint"]
    for folder in ("gpu", "one-gpu", "local")
    for one in installation(folder)
    if one["kind"] == "RayJob"
}
TRAINING = "python -m services.training --dataset s3://icss/a/dataset.yaml"
UPDATING = "python -m services.updating --model a --new-class b"
CONTINUAL = "python -m services.continual --dataset s3://icss/a/dataset.yaml --model a"


VERSION = SimpleNamespace(version=1, card=SimpleNamespace(label_space=SimpleNamespace(colours=())))


class ConnectedError(BaseException):
    """The job would connect to Ray or another part. No Exception: clients would catch that and try again."""


def run(entrypoint, name):
    """Run the command of an entrypoint of an installation up to where it connects to anything."""
    objects = installation(name)
    (head,) = [pod for pod in pods(objects) if pod.name == "jobs-head"]
    python, option, module, *arguments = shlex.split(entrypoint)
    assert (python, option) == ("python", "-m")
    application = typer.Typer(add_completion=False)
    application.command()(importlib.import_module(f"{module}.__main__").main)
    with (
        patch("ray.init", side_effect=ConnectedError),
        patch("socket.getaddrinfo", side_effect=ConnectedError),
        # an alias is resolved before what is asked for it can be checked
        patch("services.registry.Registry.resolve", return_value=VERSION),
    ):
        return CliRunner(env={"COLUMNS": "250"}).invoke(
            application,
            # where the image has tune_specs
            [one.replace("/app/", f"{REPOSITORY}/") for one in arguments],
            env=environment(objects, head, head.spec["containers"][0]),
        )


@pytest.mark.parametrize("job", ENTRYPOINTS)
def test_the_command_takes_its_arguments(job):
    with pytest.raises(ConnectedError):
        pytest.fail(run(ENTRYPOINTS[job], job.partition(" ")[0]).output)


def test_keys_of_clicked_images_may_have_an_equals_sign():
    assert pair("s3://a/y=1/b.tif=s3://a/y=2/b.geojson") == {
        "image": "s3://a/y=1/b.tif", "clicks": "s3://a/y=2/b.geojson"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("entrypoint", "message"),
    [
        (f"{TRAINING} --model a --gpus 2", "No such option"),
        (TRAINING, "Missing option"),
        ("python -m services.training --dataset s3://icss/a.tif --model a", "dataset"),
        (f"{TRAINING} --model a --workers many", "--workers"),
        (f"{TRAINING} --model a --schedule nothing", "schedule"),
        (f"{CONTINUAL} --protocol voc-15", "voc-15"),
        (f"{CONTINUAL} --protocol voc-15-1 --preset mib", "mib"),
        (f"{UPDATING} --clicks s3://icss/a.tif", "IMAGE=POINTS.geojson"),
        (f"{UPDATING} --clicks s3://icss/a.tif=s3://icss/a.geojson --preset ics", "UnknownPresetError"),
        (f"{UPDATING} --clicks s3://icss/a.tif=s3://icss/a.geojson --workers -1", "--workers"),
        ("python -m services.tune /app/tune_specs/nothing.yaml", "InvalidParameterError"),
        ("python -m services.tune /app/tune_specs/icss_table1.yaml --scale none", "InvalidParameterError"),
    ],
)
def test_a_wrong_argument_is_noticed(entrypoint, message):
    done = run(entrypoint, "gpu")
    assert done.exit_code != 0
    assert message in done.output


@pytest.mark.parametrize("job", [one for one in ENTRYPOINTS if one.endswith("sweep")])
def test_a_sweep_is_given_its_data_sets(job):
    from services.tune.read_spec import read_spec

    words = shlex.split(ENTRYPOINTS[job])
    options = list(itertools.pairwise(words))
    given = {value.partition("=")[0] for option, value in options if option == "--dataset"}
    path = REPOSITORY / words[3].removeprefix("/app/")
    assert given == {pair.dataset for pair in read_spec(path, dict(options).get("--scale")).pairs}


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_every_installation_has_these_jobs(name):
    found = {one["spec"]["entrypoint"] for one in installation(name) if one["kind"] == "RayJob"}
    assert found
    assert found <= set(ENTRYPOINTS.values())
