"""Manifests that ask for other GPUs than they get are noticed before they are applied."""

import pytest
from broken_manifests import CPU_POD, GONE, JOB_CLUSTER, JOBS, SERVICE, ids_of, noticed_by, unkept, unproven
from gpu_rules import RULES
from installations import INSTALLATIONS

BROKEN = [
    (
        "trainings_say_that_they_want_gpus",
        "gpu",
        "RayJob/protocol",
        "spec entrypoint",
        "python -m services.continual --workers 2",
        "--gpu",
    ),
    (
        "jobs_fit_on_their_workers",
        "gpu",
        "RayJob/pretraining",
        f"{JOB_CLUSTER} workerGroupSpecs 0 maxReplicas",
        1,
        "places for 1",
    ),
    (
        "jobs_fit_on_their_workers",
        "local",
        "RayJob/pretraining",
        "spec entrypoint",
        "python -m services.training --no-gpu --workers 2 --cpus-per-worker 2",
        "places for 1",
    ),
    (
        "gpus_are_asked_for_in_full",
        "gpu",
        "RayJob/map",
        f"{JOB_CLUSTER} workerGroupSpecs 0 template spec tolerations",
        [],
        "toleration",
    ),
    (
        "gpus_are_asked_for_in_full",
        "gpu",
        "RayJob/map",
        f"{JOB_CLUSTER} workerGroupSpecs 0 template spec containers 0 resources requests nvidia.com/gpu",
        GONE,
        "requests and limits",
    ),
    (
        "sweeps_want_the_gpus_of_their_workers",
        "gpu",
        "RayJob/sweep",
        "spec entrypoint",
        "python -m services.tune /app/tune_specs/icss_table1.yaml --scale smoke",
        "asks for 0 GPUs",
    ),
    (
        "sweeps_want_the_gpus_of_their_workers",
        "local",
        "RayJob/sweep",
        "spec entrypoint",
        "python -m services.tune /app/tune_specs/mib_table1.yaml",
        "there are 0",
    ),
    (
        "sweeps_want_the_gpus_of_their_workers",
        "one-gpu",
        "RayJob/sweep",
        f"{JOB_CLUSTER} workerGroupSpecs 0 maxReplicas",
        0,
        "asks for 1 GPUs at this scale, and there are 0",
    ),
    (
        "workers_of_jobs_start_from_none",
        "gpu",
        JOBS,
        "spec workerGroupSpecs 1 minReplicas",
        1,
        "gpu must start from none",
    ),
    (
        "workers_of_jobs_start_from_none",
        "gpu",
        "RayJob/map",
        f"{JOB_CLUSTER} workerGroupSpecs 0 replicas",
        1,
        "gpu must start from none",
    ),
    (
        "one_gpu_is_enough_where_the_service_has_none",
        "one-gpu",
        "RayJob/sweep",
        f"{JOB_CLUSTER} workerGroupSpecs 0 maxReplicas",
        4,
        "4 GPUs, of which there is one",
    ),
    (
        "one_gpu_is_enough_where_the_service_has_none",
        "one-gpu",
        SERVICE,
        f"{CPU_POD} containers 0 resources requests memory",
        "20Gi",
        "too much for one node",
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
