"""What k8s/README.md and the commands for the Secrets name, exists."""

import re

import pytest
import yaml
from installations import INSTALLATIONS, installation
from kustomize_resolver import ROOT
from reference_rules import known_secrets

README = (ROOT / "README.md").read_text(encoding="utf-8")
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
