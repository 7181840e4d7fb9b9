"""What k8s/README.md, docs/deploy.md and the commands for the Secrets name, exists."""

import re
import shlex

import pytest
import yaml
from installations import INSTALLATIONS, installation
from kustomize_resolver import ROOT
from reference_rules import known_secrets
from settings_rules import OURS
from typer.testing import CliRunner

from services.cli.app import app

README = (ROOT / "README.md").read_text(encoding="utf-8")
DEPLOY = (ROOT.parent / "docs" / "deploy.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "secrets.example.yaml").read_text(encoding="utf-8")


def test_files_that_are_named_exist():
    named = set(re.findall(r"`((?:k8s|tests)/[\w./*-]+)`", README)) | set(
        re.findall(r"k8s/[\w./-]+\w", README)
    )
    local = set(re.findall(r"`((?:base|components|overlays|jobs)/[\w./*-]*)`", README))
    assert named
    assert local
    for path in named:
        assert list(ROOT.parent.glob(path)), path
    for path in local:
        assert list(ROOT.glob(path)) or list(ROOT.glob(f"{path}*")), path


def test_services_and_jobs_that_are_named_exist():
    objects = installation("gpu")
    known = {one["metadata"]["name"] for one in objects if one["kind"] == "Service"}
    for one in objects:
        if one["kind"] == "RayService":  # as the operator calls them
            known |= {f"{one['metadata']['name']}-serve-svc", f"{one['metadata']['name']}-head-svc"}
        if one["kind"] == "RayCluster":
            known.add(f"{one['metadata']['name']}-head-svc")
    assert set(re.findall(r"svc/([\w-]+)", README)) <= known
    jobs = {one["metadata"]["labels"]["icss/job"] for one in objects if one["kind"] == "RayJob"}
    assert set(re.findall(r"icss/job=([\w-]+)", README)) <= jobs
    assert all(f"`{job}`" in README for job in jobs)


def test_what_the_way_to_the_first_class_names_exists():
    paths = set(re.findall(r"(?:k8s|tests|docs)/[\w./-]+\w", DEPLOY))
    assert paths
    assert [path for path in paths if not (ROOT.parent / path).exists()] == []
    settings = set(re.findall(r"ICSS_[A-Z0-9_]+[A-Z0-9]", DEPLOY))
    assert settings <= OURS | {"ICSS_S3", "ICSS_API_URL"}, "a prefix, and a variable of the client"
    kinds = "raycluster|rayservice|statefulset|deployment"
    words = set(re.findall(rf"(?:{kinds})[/ ](icss[\w-]*|postgres|mlflow)", DEPLOY))
    names = {one["metadata"]["name"] for one in installation("one-gpu")}
    assert words <= names
    assert "sed -n 's/^#   //p' k8s/secrets.example.yaml" in DEPLOY
    printed = re.findall(r"(?m)^#   (.*)$", EXAMPLE)
    assert printed[0].startswith("kubectl create namespace")
    assert all(re.match(r"kubectl |new\(\)|  --from", one) for one in printed), "no prose among the commands"


@pytest.mark.parametrize("page", [README, DEPLOY], ids=["k8s/README.md", "docs/deploy.md"])
def test_one_version_of_the_operator(page):
    """Upgrades of it have restarted services (KubeRay issue 2315)."""
    assert set(re.findall(r"kuberay-operator.* --version (\S+)", page)) == {"1.7.1"}


@pytest.mark.parametrize("command", [line for line in DEPLOY.splitlines() if line.startswith("icss ")])
def test_icss_takes_the_options_of_the_page(command):
    words = shlex.split(command)
    described = (
        CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "300"}, terminal_width=300).output
    )
    for option in (word for word in words[2:] if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", described), (option, described)


def test_every_secret_has_a_command_and_no_value():
    made = {
        name: set(re.findall(r"--from-literal=([\w-]+)=", options))
        for name, options in re.findall(r"secret generic (\S+) ((?:.*\\\n)*.*)", EXAMPLE)
    }
    assert made == known_secrets()
    values = [one["stringData"].values() for one in yaml.safe_load_all(EXAMPLE)]
    assert {value for mapping in values for value in mapping} == {""}
    for name, key in re.findall(r"\$\(secret (\S+) (\w+)\)", README):
        assert key in made[name]


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_every_secret_that_is_listed_is_used_somewhere(name):
    text = yaml.safe_dump_all(installation(name))
    for secret in known_secrets():
        assert secret in text or (secret == "icss-redis" and name != "ha")
