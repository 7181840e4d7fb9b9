"""What would be more than Pod Security allows, or a secret in a manifest, is noticed."""

import pytest
from broken_manifests import (
    CLUSTER,
    CPU_POD,
    GONE,
    HEAD_POD,
    JOBS,
    MLFLOW_POD,
    SERVICE,
    ids_of,
    noticed_by,
    unkept,
    unproven,
)
from installations import INSTALLATIONS
from security_rules import RULES

BROKEN = [
    (
        "the_namespace_enforces_it",
        "gpu",
        "Namespace/icss",
        "metadata labels pod-security.kubernetes.io/enforce",
        "baseline",
        "enforce",
    ),
    ("pods_are_restricted", "gpu", SERVICE, f"{CPU_POD} securityContext runAsNonRoot", False, "runAsNonRoot"),
    (
        "pods_are_restricted",
        "gpu",
        SERVICE,
        f"{CPU_POD} securityContext seccompProfile",
        GONE,
        "seccompProfile",
    ),
    ("pods_are_restricted", "gpu", SERVICE, f"{CPU_POD} hostNetwork", True, "of the node"),
    (
        "pods_are_restricted",
        "gpu",
        SERVICE,
        f"{CPU_POD} volumes 0",
        {"name": "tmp", "hostPath": {"path": "/srv"}},
        "volume tmp",
    ),
    (
        "pods_are_restricted",
        "gpu",
        SERVICE,
        f"{CPU_POD} containers 0 securityContext",
        {"allowPrivilegeEscalation": True, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "wait-gcs-ready: allowPrivilegeEscalation",
    ),
    (
        "pods_are_restricted",
        "gpu",
        JOBS,
        "spec autoscalerOptions securityContext",
        GONE,
        "autoscaler: capabilities",
    ),
    ("pods_are_restricted", "gpu", "RayJob/map", "spec submitterPodTemplate", GONE, "ray-job-submitter"),
    (
        "pods_are_restricted",
        "gpu",
        "Deployment/mlflow",
        f"{MLFLOW_POD} containers 0 securityContext readOnlyRootFilesystem",
        False,
        "readOnlyRootFilesystem",
    ),
    (
        "pods_are_restricted",
        "gpu",
        "Deployment/mlflow",
        f"{MLFLOW_POD} containers 0 resources limits memory",
        GONE,
        "a limit of memory",
    ),
    (
        "read_only_roots_have_a_place_to_write",
        "gpu",
        JOBS,
        "spec autoscalerOptions volumeMounts 0 mountPath",
        "/temp",
        "autoscaler: nothing",
    ),
    (
        "only_the_autoscaler_has_a_token",
        "gpu",
        "ServiceAccount/ray-head",
        "automountServiceAccountToken",
        True,
        "automountServiceAccountToken",
    ),
    (
        "only_the_autoscaler_has_a_token",
        "gpu",
        SERVICE,
        f"{HEAD_POD} automountServiceAccountToken",
        GONE,
        "automountServiceAccountToken",
    ),
    (
        "only_the_autoscaler_has_a_token",
        "gpu",
        SERVICE,
        f"{HEAD_POD} containers 0 volumeMounts +",
        {"name": "kube-api-access", "mountPath": "/token"},
        "'ray-head', 'autoscaler'",
    ),
    (
        "only_the_autoscaler_has_a_token",
        "gpu",
        SERVICE,
        f"{CLUSTER} autoscalerOptions volumeMounts 1",
        GONE,
        "a token for []",
    ),
    ("no_secret_is_written_down", "gpu", "ConfigMap/icss-settings", "kind", "Secret", "by hand"),
    (
        "no_secret_is_written_down",
        "gpu",
        "ConfigMap/icss-settings",
        "data ICSS_API_TOKEN",
        "abc",
        "into a Secret",
    ),
    (
        "no_secret_is_written_down",
        "gpu",
        "StatefulSet/postgres",
        f"{MLFLOW_POD} containers 0 env 2",
        {"name": "POSTGRES_PASSWORD", "value": "secret"},
        "in clear",
    ),
    (
        "no_secret_is_written_down",
        "local",
        "StatefulSet/object-store",
        f"{MLFLOW_POD} containers 0 env 2 value",
        "$(ACCESS_KEY),known",
        "in clear",
    ),
    (
        "tokens_are_where_they_are_needed",
        "gpu",
        JOBS,
        "spec workerGroupSpecs 0 template spec containers 0 env 0 valueFrom secretKeyRef name",
        "icss-api",
        "has icss-api",
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
