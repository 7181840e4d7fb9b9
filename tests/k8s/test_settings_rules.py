"""A variable that nobody reads, or one that is missing, is noticed."""

import pytest
from broken_manifests import CPU_POD, GONE, MLFLOW_POD, SERVICE, ids_of, noticed_by, unkept, unproven
from installations import INSTALLATIONS
from settings_rules import RULES

BROKEN = [
    (
        "variables_are_known",
        "gpu",
        "ConfigMap/icss-settings",
        "data ICSS_DATA",
        "s3://icss",
        "nobody reads ICSS_DATA",
    ),
    (
        "variables_are_known",
        "gpu",
        SERVICE,
        f"{CPU_POD} containers 0 env 0 name",
        "ICSS_TOKEN",
        "nobody reads ICSS_TOKEN",
    ),
    ("variables_are_known", "gpu", "ConfigMap/icss-settings", "data ICSS_LIMITS__MAX_CLICKS", 5, "a string"),
    (
        "required_settings_are_there",
        "gpu",
        "ConfigMap/icss-settings",
        "data ICSS_DATA_PREFIX",
        GONE,
        "ICSS_DATA_PREFIX",
    ),
    (
        "required_settings_are_there",
        "gpu",
        "ConfigMap/icss-settings",
        "data ICSS_DATA_PREFIX",
        "icss",
        "ICSS_DATA_PREFIX",
    ),
    ("required_settings_are_there", "gpu", SERVICE, f"{CPU_POD} containers 0 env 0", GONE, "ICSS_API_TOKEN"),
    ("required_settings_are_there", "gpu", SERVICE, f"{CPU_POD} containers 0 env 1", GONE, "MLflow asks"),
    (
        "required_settings_are_there",
        "gpu",
        SERVICE,
        f"{CPU_POD} containers 0 env 2",
        GONE,
        "together or not at all",
    ),
    ("required_settings_are_there", "gpu", SERVICE, f"{CPU_POD} containers 0 env 4", GONE, "as many threads"),
    ("required_settings_are_there", "gpu", SERVICE, f"{CPU_POD} containers 0 envFrom", [], "ICSS_MLFLOW_URI"),
    (
        "mlflow_has_its_token",
        "gpu",
        "Deployment/mlflow",
        f"{MLFLOW_POD} containers 0 env 3",
        GONE,
        "ICSS_MLFLOW_TOKEN",
    ),
    (
        "the_store_of_mlflow_is_another",
        "gpu",
        "ConfigMap/mlflow-settings",
        "data ARTIFACTS_DESTINATION",
        "s3://icss/mlflow",
        "under the data prefix",
    ),
]


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_every_installation_keeps_the_rules(name):
    assert unkept(RULES, name) == {}


@pytest.mark.parametrize("broken", BROKEN, ids=ids_of(BROKEN))
def test_a_broken_manifest_is_noticed(broken):
    *_, message = broken
    found = noticed_by(RULES, broken)
    assert any(message in one for one in found), found


def test_every_rule_is_proven():
    assert unproven(RULES, BROKEN) == set()
