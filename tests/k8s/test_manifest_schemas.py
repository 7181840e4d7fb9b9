"""Every object is of its kind's form; a misspelt field would be dropped by the API server in silence."""

import pytest
from installations import INSTALLATIONS, find, installation, label
from manifest_schemas import faults


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_every_object_has_the_form_of_its_kind(name):
    assert {label(one): found for one in installation(name) if (found := faults(one))} == {}


def at(one, *path):
    for key in path:
        one = one[key]
    return one


MISSPELT = {
    "core field": ("Deployment", "mlflow", ("spec", "template", "spec"), "serviceAccount_name", "mlflow"),
    "core value": ("NetworkPolicy", "deny-all", ("spec",), "policyTypes", "Ingress"),
    "Ray field": ("RayService", "icss", ("spec", "rayClusterConfig"), "authOption", {"mode": "token"}),
    "Ray value": ("RayCluster", "icss-jobs", ("spec", "authOptions"), "mode", "Token"),
    "Ray container": (
        "RayService",
        "icss",
        ("spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "containers", 0),
        "volumeMount",
        [],
    ),
    "job field": ("RayJob", "map", ("spec",), "backOffLimit", 2),
    "job value": ("RayJob", "map", ("spec",), "deletionStrategy", {"deletionRules": [{"policy": "Delete"}]}),
    "queue": ("LocalQueue", "icss", ("spec",), "clusterqueue", "icss"),
}


@pytest.mark.parametrize(("kind", "name", "path", "key", "value"), MISSPELT.values(), ids=MISSPELT)
def test_misspelt_fields_and_values_are_found(kind, name, path, key, value):
    one = find(installation("kueue"), kind, name)
    at(one, *path)[key] = value
    assert faults(one)


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("RayCluster", "icss-jobs", ("spec", "headGroupSpec", "template")),
        ("RayCluster", "icss-jobs", ("spec", "workerGroupSpecs", 0, "groupName")),
        ("StatefulSet", "postgres", ("spec", "selector")),
    ],
)
def test_missing_fields_are_found(kind, name, path):
    one = find(installation("gpu"), kind, name)
    del at(one, *path[:-1])[path[-1]]
    assert faults(one)


def test_defaults_are_filled_in_before_fields_are_missed():
    one = find(installation("gpu"), "RayCluster", "icss-jobs")
    del one["spec"]["workerGroupSpecs"][0]["minReplicas"]
    assert faults(one) == []
