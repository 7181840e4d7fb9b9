"""The overlays render, here as with kubectl."""

import json
import shutil
import subprocess

import pytest
import yaml
from installations import FOLDERS
from kustomize_resolver import ROOT, KustomizeError, render


def sorted_objects(objects):
    return sorted(json.dumps(one, sort_keys=True) for one in objects)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_makes_the_same_of_every_overlay():
    running = {
        folder: subprocess.Popen(
            ["kubectl", "kustomize", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in FOLDERS
    }
    for folder, process in running.items():
        output, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, complaints
        assert complaints == "", "warnings are errors"
        theirs = list(yaml.load_all(output, Loader=yaml.CSafeLoader))
        assert sorted_objects(render(folder)) == sorted_objects(theirs), folder


def test_every_file_is_used():
    """A manifest that no overlay takes in is checked by nobody."""
    named = {ROOT / "secrets.example.yaml"}
    for path in ROOT.rglob("kustomization.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        patches = [one["path"] for one in content.get("patches", ()) if "path" in one]
        listed = [path.parent / one for one in (*content.get("resources", ()), *patches)]
        named |= {path, *(one.resolve() for one in listed)}
    assert {one for one in ROOT.rglob("*.yaml") if one not in named} == set()


SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}\n"


@pytest.mark.parametrize(
    ("kustomization", "message"),
    [
        ("namePrefix: x-", "namePrefix"),
        ("labels: [{pairs: {a: b}, includeSelectors: true}]", "only pairs"),
        (
            "patches: [{target: {kind: ConfigMap, name: b}, patch: '[{op: remove, path: /data}]'}]",
            "fits nothing",
        ),
        (
            "patches: [{target: {kind: ConfigMap}, patch: '[{op: replace, path: /data/y, value: 1}]'}]",
            "has no 'y'",
        ),
        (
            "patches: [{target: {kind: ConfigMap}, patch: '{metadata: {name: a}, data: [1]}'}]",
            "change a list of ConfigMap by a JSON patch",
        ),
        ("patches: [{target: {kind: ConfigMap}, patch: '[{op: move, path: /data/x}]'}]", "move is not known"),
        ("patches: [{target: {kind: ConfigMap, labelSelector: a=b}, patch: '[]'}]", "kind and name"),
        ("components: [.]", "not a Component"),
        ("resources: [a.yaml, a.yaml]", "twice"),
        (
            "configMapGenerator: [{name: b, namespace: c, files: [a.yaml=a.yaml], options: {labels: {}}}]",
            "disableNameSuffixHash: true",
        ),
    ],
)
def test_what_the_resolver_does_not_know_is_an_error(tmp_path, kustomization, message):
    (tmp_path / "a.yaml").write_text(SETTINGS, encoding="utf-8")
    resources = "" if "resources" in kustomization else "resources: [a.yaml]\n"
    (tmp_path / "kustomization.yaml").write_text(
        f"kind: Kustomization\n{resources}{kustomization}\n", encoding="utf-8"
    )
    with pytest.raises(KustomizeError, match=message):
        render(tmp_path)
