"""What the operator would refuse is noticed before it is applied."""

import pytest
from broken_manifests import (
    CLUSTER,
    CPU,
    GONE,
    HEAD,
    HEAD_POD,
    JOBS,
    SERVICE,
    ids_of,
    noticed_by,
    unkept,
    unproven,
)
from installations import INSTALLATIONS
from operator_rules import RULES

REDIS = {"name": "RAY_REDIS_ADDRESS", "value": "redis:6379"}

BROKEN = [
    ("names_are_short_labels", "gpu", SERVICE, "metadata name", "i" * 48, "at most 47"),
    ("names_are_short_labels", "gpu", "RayJob/map", "metadata name", "Map", "DNS label"),
    (
        "every_group_has_a_container",
        "gpu",
        JOBS,
        "spec headGroupSpec template spec containers",
        [],
        "headgroup",
    ),
    ("replicas_are_in_their_range", "gpu", JOBS, "spec workerGroupSpecs 0 minReplicas", 5, "does not hold"),
    ("replicas_are_in_their_range", "local", SERVICE, f"{CPU} maxReplicas", GONE, "both needed"),
    ("resources_are_said_once", "gpu", SERVICE, f"{HEAD} resources", {"cpu": "2"}, "in resources"),
    ("resources_are_said_once", "gpu", SERVICE, f"{HEAD} rayStartParams labels", "a=b", "labels belong"),
    ("resources_are_said_once", "gpu", SERVICE, f"{HEAD} rayStartParams num-cpus", 0, "are strings"),
    (
        "tokens_are_asked_by_a_ray_that_can",
        "gpu",
        JOBS,
        "spec authOptions",
        {"mode": "disabled"},
        "must be token",
    ),
    ("tokens_are_asked_by_a_ray_that_can", "gpu", JOBS, "spec authOptions", GONE, "must be token"),
    ("tokens_are_asked_by_a_ray_that_can", "gpu", JOBS, "spec rayVersion", "2.51.9", "2.52.0"),
    (
        "tokens_are_asked_by_a_ray_that_can",
        "gpu",
        JOBS,
        "spec authOptions enableK8sTokenAuth",
        True,
        "excludes",
    ),
    (
        "tokens_are_asked_by_a_ray_that_can",
        "gpu",
        SERVICE,
        f"{CLUSTER} authOptions",
        {"mode": "token", "enableK8sTokenAuth": True},
        "not for a RayService",
    ),
    ("autoscaler_is_v2_and_alone", "gpu", JOBS, "spec autoscalerOptions version", "v1", "must be v2"),
    ("autoscaler_is_v2_and_alone", "gpu", JOBS, "spec enableInTreeAutoscaling", False, "without autoscaling"),
    ("autoscaler_is_v2_and_alone", "gpu", SERVICE, f"{HEAD_POD} restartPolicy", "Always", "must be Never"),
    (
        "autoscaler_is_v2_and_alone",
        "gpu",
        JOBS,
        "spec headGroupSpec template spec containers 0 env +",
        {"name": "RAY_enable_autoscaler_v2", "value": "1"},
        "beside",
    ),
    ("autoscaler_is_v2_and_alone", "gpu", JOBS, "spec workerGroupSpecs 0 suspend", True, "suspended"),
    (
        "fault_tolerance_is_set_by_its_own_field",
        "ha",
        SERVICE,
        f"{HEAD_POD} containers 0 env",
        [REDIS],
        "RAY_REDIS",
    ),
    (
        "fault_tolerance_is_set_by_its_own_field",
        "ha",
        SERVICE,
        f"{HEAD} rayStartParams redis-password",
        "x",
        "redis-password",
    ),
    (
        "fault_tolerance_is_set_by_its_own_field",
        "ha",
        SERVICE,
        f"{CLUSTER} gcsFaultToleranceOptions storage",
        {"size": "1Gi"},
        "rocksdb",
    ),
    (
        "fault_tolerance_is_set_by_its_own_field",
        "ha",
        SERVICE,
        "metadata annotations ray.io/ft-enabled",
        "true",
        "ft-enabled",
    ),
    (
        "no_gate_is_needed_that_is_off",
        "gpu",
        JOBS,
        "spec networkPolicy",
        {"mode": "DenyAll"},
        "networkPolicy",
    ),
    ("no_gate_is_needed_that_is_off", "gpu", JOBS, "spec tlsOptions", {"enabled": True}, "tlsOptions"),
    ("no_gate_is_needed_that_is_off", "gpu", "RayJob/map", "kind", "RayCronJob", "RayCronJob"),
    (
        "no_gate_is_needed_that_is_off",
        "ha",
        SERVICE,
        f"{CLUSTER} gcsFaultToleranceOptions backend",
        "rocksdb",
        "rocksdb",
    ),
    ("jobs_end_in_one_way", "gpu", "RayJob/map", "spec ttlSecondsAfterFinished", 60, "needs shutdown"),
    ("jobs_end_in_one_way", "gpu", "RayJob/map", "spec suspend", True, "suspend needs"),
    ("jobs_end_in_one_way", "gpu", "RayJob/map", "spec shutdownAfterJobFinishes", True, "exclude"),
    ("jobs_end_in_one_way", "gpu", "RayJob/map", "spec activeDeadlineSeconds", 0, "positive"),
    (
        "jobs_end_in_one_way",
        "gpu",
        "RayJob/map",
        "spec deletionStrategy deletionRules 1 condition ttlSeconds",
        10,
        "before the cluster",
    ),
    (
        "jobs_end_in_one_way",
        "gpu",
        "RayJob/map",
        "spec deletionStrategy deletionRules 0 policy",
        "DeleteWorkers",
        "not for clusters that scale",
    ),
    (
        "jobs_end_in_one_way",
        "gpu",
        "RayJob/map",
        "spec deletionStrategy deletionRules 0 policy",
        "DeleteSelf",
        "two rules",
    ),
    (
        "jobs_end_in_one_way",
        "gpu",
        "RayJob/map",
        "spec deletionStrategy deletionRules 0 condition",
        {"ttlSeconds": 1},
        "exactly one",
    ),
    ("jobs_on_another_cluster_leave_it_alone", "local", "RayJob/map", "spec backoffLimit", 2, "backoffLimit"),
    ("jobs_on_another_cluster_leave_it_alone", "local", "RayJob/map", "spec suspend", True, "suspend"),
    (
        "jobs_on_another_cluster_leave_it_alone",
        "local",
        "RayJob/map",
        "spec clusterSelector",
        {"a": "b"},
        "names",
    ),
    (
        "jobs_on_another_cluster_leave_it_alone",
        "gpu",
        "RayJob/map",
        "spec clusterSelector",
        {"ray.io/cluster": "icss-jobs"},
        "not both",
    ),
    ("jobs_on_another_cluster_leave_it_alone", "gpu", "RayJob/map", "spec submissionMode", "Mode", "one of"),
    (
        "jobs_on_another_cluster_leave_it_alone",
        "gpu",
        "RayJob/map",
        "spec submissionMode",
        "SidecarMode",
        "no pod",
    ),
    (
        "jobs_on_another_cluster_leave_it_alone",
        "local",
        "RayJob/map",
        "spec deletionStrategy",
        {"deletionRules": [{"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED"}}]},
        "another cluster",
    ),
    (
        "services_upgrade_in_a_known_way",
        "gpu",
        SERVICE,
        f"{HEAD} headService",
        {"metadata": {"name": "x"}},
        "no name of its own",
    ),
    (
        "services_upgrade_in_a_known_way",
        "gpu",
        SERVICE,
        "spec rayClusterDeletionDelaySeconds",
        -1,
        "negative",
    ),
    (
        "services_upgrade_in_a_known_way",
        "gpu",
        SERVICE,
        f"{HEAD_POD} containers 0 ports 2 name",
        "http",
        "serve",
    ),
    ("services_upgrade_in_a_known_way", "gpu", SERVICE, f"{CLUSTER} upgradeStrategy", {}, "belongs"),
    (
        "services_upgrade_in_a_known_way",
        "gpu",
        SERVICE,
        "metadata annotations ray.io/initializing-timeout",
        "soon",
        "a duration",
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
