"""A name of nothing is noticed before it is applied."""

import pytest
from broken_manifests import CPU_POD, GONE, JOBS, MLFLOW_POD, SERVICE, ids_of, noticed_by, unkept, unproven
from installations import INSTALLATIONS
from reference_rules import RULES

BROKEN = [
    (
        "secrets_are_listed",
        "gpu",
        "Deployment/mlflow",
        f"{MLFLOW_POD} containers 0 env 0 valueFrom secretKeyRef key",
        "pass",
        "icss-postgres with pass",
    ),
    ("secrets_are_listed", "gpu", JOBS, "spec authOptions secretName", "ray", "the Secret ray"),
    ("config_maps_exist", "gpu", "ConfigMap/icss-settings", "metadata name", "settings", "no ConfigMap"),
    (
        "accounts_exist_and_are_used",
        "gpu",
        "ServiceAccount/mlflow",
        "metadata name",
        "m",
        "no account mlflow",
    ),
    ("accounts_exist_and_are_used", "gpu", SERVICE, f"{CPU_POD} serviceAccountName", GONE, "no account None"),
    ("volumes_exist_and_are_used", "gpu", SERVICE, f"{CPU_POD} volumes 0 name", "temp", "temp"),
    (
        "variables_of_arguments_are_set",
        "gpu",
        "ConfigMap/mlflow-settings",
        "data",
        {},
        "ARTIFACTS_DESTINATION",
    ),
    (
        "variables_of_arguments_are_set",
        "local",
        "StatefulSet/object-store",
        f"{MLFLOW_POD} containers 0 env 0 name",
        "KEY",
        "ACCESS_KEY",
    ),
    (
        "ports_are_named_once",
        "gpu",
        "Deployment/mlflow",
        f"{MLFLOW_POD} containers 0 readinessProbe httpGet port",
        "web",
        "no port web",
    ),
    (
        "ports_are_named_once",
        "gpu",
        JOBS,
        "spec headGroupSpec template spec containers 0 ports 2 name",
        "dashboard",
        "two",
    ),
    ("services_have_pods_and_ports", "gpu", "Service/mlflow", "spec selector", {"a": "b"}, "selects []"),
    (
        "services_have_pods_and_ports",
        "gpu",
        "Service/postgres",
        "spec ports 0 targetPort",
        "sql",
        "the port sql",
    ),
    (
        "services_have_pods_and_ports",
        "gpu",
        "StatefulSet/postgres",
        "spec serviceName",
        "pg",
        "no Service pg",
    ),
    (
        "workloads_select_their_own_pods",
        "gpu",
        "Deployment/mlflow",
        "spec selector matchLabels",
        {"app": "mlflow"},
        "does not fit",
    ),
    (
        "selectors_mean_somebody",
        "gpu",
        "NetworkPolicy/postgres",
        "spec podSelector matchLabels",
        {"app": "postgres"},
        "means nobody",
    ),
    (
        "selectors_mean_somebody",
        "gpu",
        "NetworkPolicy/ray-map",
        "spec egress 0 to 0 podSelector matchLabels",
        {"icss/cluster": "maps"},
        "means nobody",
    ),
    (
        "selectors_mean_somebody",
        "gpu",
        "PodDisruptionBudget/service-workers",
        "spec selector matchLabels ray.io/group",
        "workers",
        "means nobody",
    ),
    (
        "selectors_mean_somebody",
        "monitoring",
        "PodMonitor/ray",
        "spec podMetricsEndpoints 0 port",
        "prom",
        "prom",
    ),
    (
        "selectors_mean_somebody",
        "monitoring",
        "PodMonitor/ray",
        "spec selector matchLabels",
        {"a": "b"},
        "nobody",
    ),
    (
        "numbers_of_policies_are_ports",
        "gpu",
        "NetworkPolicy/mlflow",
        "spec ingress 0 ports 0 port",
        5001,
        "listens on 5001",
    ),
    ("namespaces_are_said", "kueue", "ClusterQueue/icss", "metadata namespace", "icss", "namespace icss"),
    ("namespaces_are_said", "kueue", "LocalQueue/icss", "metadata namespace", GONE, "namespace None"),
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
