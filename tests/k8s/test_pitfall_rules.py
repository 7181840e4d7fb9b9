"""What a cluster takes and regrets is noticed before it is applied."""

import re

import pytest
from broken_manifests import (
    CLUSTER,
    CPU,
    CPU_POD,
    GONE,
    HEAD,
    JOB_CLUSTER,
    JOBS,
    MLFLOW_POD,
    SERVICE,
    ids_of,
    noticed_by,
    unkept,
    unproven,
)
from installations import INSTALLATIONS
from kustomize_resolver import ROOT
from pitfall_rules import RULES

BROKEN = [
    ("ray_has_the_operators_probes", "gpu", SERVICE, f"{CPU_POD} containers 0 readinessProbe", {}, "a probe"),
    ("ray_is_the_locked_version", "gpu", JOBS, "spec rayVersion", "2.59.0", "2.60.0"),
    (
        "ray_gets_what_it_asks_for",
        "gpu",
        JOBS,
        "spec workerGroupSpecs 0 template spec containers 0 resources requests cpu",
        "1",
        "requests must be the limits",
    ),
    (
        "ray_gets_what_it_asks_for",
        "gpu",
        JOBS,
        "spec workerGroupSpecs 0 template spec containers 0 resources",
        {"requests": {"cpu": "1500m", "memory": "8Gi"}, "limits": {"cpu": "1500m", "memory": "8Gi"}},
        "part of a CPU",
    ),
    (
        "ray_gets_what_it_asks_for",
        "gpu",
        JOBS,
        "spec autoscalerOptions resources requests cpu",
        "1m",
        "autoscaler",
    ),
    ("heads_only_lead", "gpu", JOBS, "spec headGroupSpec rayStartParams num-cpus", "2", "num-cpus"),
    (
        "images_do_not_move",
        "gpu",
        "Deployment/mlflow",
        f"{MLFLOW_POD} containers 0 image",
        "icss",
        "needs a tag",
    ),
    (
        "images_do_not_move",
        "gpu",
        "StatefulSet/postgres",
        f"{MLFLOW_POD} containers 0 image",
        "postgres:latest",
        "needs a tag",
    ),
    (
        "images_do_not_move",
        "gpu",
        "RayJob/map",
        "spec submitterPodTemplate spec containers 0 image",
        "registry:5000/icss",
        "needs a tag",
    ),
    (
        "the_autoscaler_has_a_processor",
        "gpu",
        JOBS,
        "spec autoscalerOptions resources limits cpu",
        "500m",
        "needs a CPU",
    ),
    (
        "the_autoscaler_has_a_processor",
        "local",
        JOBS,
        "spec autoscalerOptions resources limits cpu",
        "100m",
        "needs a CPU",
    ),
    ("the_autoscaler_has_a_processor", "gpu", JOBS, "spec autoscalerOptions resources", GONE, "needs a CPU"),
    ("nobody_restarts_workers", "gpu", SERVICE, f"{CPU_POD} restartPolicy", GONE, "must say Never"),
    (
        "shared_memory_holds_the_objects",
        "gpu",
        SERVICE,
        f"{CPU} rayStartParams object-store-memory",
        "2147483648",
        "must fit",
    ),
    ("shared_memory_holds_the_objects", "gpu", SERVICE, f"{CPU_POD} volumes 1 emptyDir", {}, "in memory"),
    (
        "shared_memory_holds_the_objects",
        "gpu",
        SERVICE,
        f"{CPU_POD} volumes 1 emptyDir sizeLimit",
        "5Gi",
        "half of the memory",
    ),
    (
        "services_find_their_heads",
        "gpu",
        SERVICE,
        f"{HEAD} template metadata labels app.kubernetes.io/name",
        "icss",
        "the operator's",
    ),
    (
        "budgets_of_ray_are_numbers",
        "gpu",
        "PodDisruptionBudget/service-workers",
        "spec minAvailable",
        "50%",
        "as a number",
    ),
    (
        "budgets_of_ray_are_numbers",
        "gpu",
        "PodDisruptionBudget/service-workers",
        "spec maxUnavailable",
        1,
        "as a number",
    ),
    (
        "upgrades_start_a_second_cluster",
        "gpu",
        SERVICE,
        "spec upgradeStrategy type",
        "NewClusterWithIncrementalUpgrade",
        "NewCluster",
    ),
    (
        "upgrades_start_a_second_cluster",
        "ha",
        SERVICE,
        f"{CLUSTER} gcsFaultToleranceOptions externalStorageNamespace",
        "icss",
        "share",
    ),
    (
        "the_service_survives_a_node",
        "ha",
        SERVICE,
        "spec excludeHeadPodFromServeSvc",
        False,
        "through the head",
    ),
    ("the_service_survives_a_node", "ha", SERVICE, f"{CPU} minReplicas", 1, "two workers"),
    (
        "the_service_survives_a_node",
        "ha",
        SERVICE,
        f"{CPU_POD} topologySpreadConstraints",
        GONE,
        "different nodes",
    ),
    (
        "the_service_survives_a_node",
        "ha",
        SERVICE,
        f"{CPU_POD} topologySpreadConstraints 0 whenUnsatisfiable",
        "ScheduleAnyway",
        "different nodes",
    ),
    ("the_service_survives_a_node", "ha", SERVICE, f"{CPU_POD} containers 0 lifecycle", GONE, "ray stop"),
    (
        "mlflow_knows_the_names_it_is_called_by",
        "gpu",
        "Deployment/mlflow",
        f"{MLFLOW_POD} containers 0 command 7",
        "--allowed-hosts=mlflow,mlflow.icss.svc.cluster.local",
        "refuses requests to mlflow:5000",
    ),
    (
        "mlflow_knows_the_names_it_is_called_by",
        "gpu",
        "ConfigMap/icss-settings",
        "data ICSS_MLFLOW_URI",
        "http://mlflow.icss:5000",
        "mlflow.icss:5000",
    ),
    (
        "mlflow_knows_the_names_it_is_called_by",
        "gpu",
        "Service/mlflow",
        "spec ports 0 port",
        80,
        "another port",
    ),
    (
        "mlflow_migrates_before_it_serves",
        "gpu",
        "Deployment/mlflow",
        f"{MLFLOW_POD} initContainers 0 command 3",
        "postgresql+psycopg2://mlflow@elsewhere:5432/mlflow",
        "nobody migrates",
    ),
    (
        "mlflow_migrates_before_it_serves",
        "gpu",
        "Deployment/mlflow",
        "spec strategy type",
        "RollingUpdate",
        "old",
    ),
    (
        "mlflow_migrates_before_it_serves",
        "gpu",
        "Deployment/mlflow",
        f"{MLFLOW_POD} containers 0 command 3",
        "--backend-store-uri=postgresql://mlflow@postgres:5432/mlflow",
        "psycopg2",
    ),
    (
        "mlflow_migrates_before_it_serves",
        "gpu",
        "Deployment/mlflow",
        f"{MLFLOW_POD} containers 0 command 3",
        "--backend-store-uri=postgresql+psycopg2://mlflow:secret@postgres:5432/mlflow",
        "a password",
    ),
    (
        "queued_jobs_are_of_one_size",
        "kueue",
        "RayJob/map",
        "spec shutdownAfterJobFinishes",
        False,
        "shuts it down",
    ),
    (
        "queued_jobs_are_of_one_size",
        "kueue",
        "RayJob/map",
        "spec ttlSecondsAfterFinished",
        60,
        "count as free",
    ),
    (
        "queued_jobs_are_of_one_size",
        "kueue",
        "RayJob/map",
        f"{JOB_CLUSTER} enableInTreeAutoscaling",
        True,
        "does not scale",
    ),
    (
        "queued_jobs_are_of_one_size",
        "kueue",
        "RayJob/map",
        f"{JOB_CLUSTER} workerGroupSpecs 0 minReplicas",
        1,
        "does not scale",
    ),
    (
        "queued_jobs_are_of_one_size",
        "kueue",
        "RayJob/map",
        "metadata labels",
        {"kueue.x-k8s.io/queue-name": "other"},
        "names no queue",
    ),
    (
        # the workers and the head fit, the pod that submits does not
        "queued_jobs_are_of_one_size",
        "kueue",
        "ClusterQueue/icss",
        "spec resourceGroups 0 flavors 0 resources 0 nominalQuota",
        34,
        "wait for ever",
    ),
    (
        "one_node_is_enough_for_the_local_overlay",
        "local",
        JOBS,
        "spec workerGroupSpecs 0 maxReplicas",
        2,
        "too much for one node",
    ),
]


DOCKERFILE = ROOT.parent / "Dockerfile"


@pytest.mark.parametrize("program", ["bash", "wget", "grep"])
def test_the_image_has_what_the_operators_probes_call(program):
    """The readiness of a worker of a RayService is a command of a shell, for every Ray (KubeRay PR 4480)."""
    installed = re.findall(r"apt-get install ([^&|;]*)", DOCKERFILE.read_text(encoding="utf-8"))
    assert any(program in words.split() for words in installed)


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
