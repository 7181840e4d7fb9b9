"""What the KubeRay operator refuses, beyond the schemas of its kinds.

Facts: `ray-operator/controllers/ray/utils/validation.go`, `pkg/features/features.go` and `common/service.go`
of KubeRay 1.7. Each rule takes all objects of an installation and gives back what is wrong, in words.
"""

import re

from installations import label
from pod_templates import groups, ray_cluster

NAME_LENGTHS = {"RayCluster": 53, "RayService": 47, "RayJob": 47}
GATED = ("networkPolicy", "tlsOptions", "historyServerOptions")
"""Fields of a Ray cluster whose feature gates are off by default: an object with one of them is refused."""
SUBMISSION_MODES = ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")


def _clusters(objects):
    return [(one, cluster) for one in objects if (cluster := ray_cluster(one)) is not None]


def _groups(objects):
    for one, cluster in _clusters(objects):
        for kind, name, group in groups(cluster):
            yield f"{label(one)} {name}", kind, group, cluster


def _kind(objects, kind):
    return [one for one in objects if one["kind"] == kind]


def _variables(group):
    containers = group["template"]["spec"].get("containers") or [{}]
    return {variable["name"] for variable in containers[0].get("env", ())}


def _version(text):
    return tuple(int(part) for part in re.findall(r"\d+", str(text))[:3])


def names_are_short_labels(objects):
    """The operator makes names of Services and pods from them."""
    for kind, length in NAME_LENGTHS.items():
        for one in _kind(objects, kind):
            name = one["metadata"]["name"]
            if len(name) > length or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
                yield f"{label(one)}: the name must be a DNS label of at most {length} characters"


def every_group_has_a_container(objects):
    for where, _, group, _ in _groups(objects):
        if not group["template"].get("spec", {}).get("containers"):
            yield f"{where}: no container"


def replicas_are_in_their_range(objects):
    for where, kind, group, cluster in _groups(objects):
        if kind == "head":
            continue
        low, high = group.get("minReplicas"), group.get("maxReplicas")
        if not cluster.get("enableInTreeAutoscaling") and (low is None or high is None):
            yield f"{where}: without autoscaling minReplicas and maxReplicas are both needed"
        elif not (low or 0) <= group.get("replicas", low or 0) <= (high if high is not None else 2**31):
            yield f"{where}: minReplicas <= replicas <= maxReplicas does not hold"


def resources_are_said_once(objects):
    for where, _, group, _ in _groups(objects):
        start = group.get("rayStartParams", {})
        if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & set(start):
            yield f"{where}: resources in rayStartParams and in resources"
        if "labels" in start:
            yield f"{where}: labels belong into the field of that name, not into rayStartParams"
        if not all(isinstance(value, str) for value in start.values()):
            yield f"{where}: rayStartParams are strings"


def tokens_are_asked_by_a_ray_that_can(objects):
    for one, cluster in _clusters(objects):
        options = cluster.get("authOptions", {})
        if options.get("mode") != "token":
            yield f"{label(one)}: authOptions.mode must be token"
        if _version(cluster.get("rayVersion", "")) < (2, 52, 0):
            yield f"{label(one)}: token mode needs rayVersion 2.52.0 or later"
        if options.get("enableK8sTokenAuth"):
            if "secretName" in options:
                yield f"{label(one)}: enableK8sTokenAuth excludes secretName"
            if one["kind"] in ("RayJob", "RayService"):
                yield f"{label(one)}: enableK8sTokenAuth is not for a {one['kind']}"


def autoscaler_is_v2_and_alone(objects):
    for one, cluster in _clusters(objects):
        if not cluster.get("enableInTreeAutoscaling"):
            if cluster.get("autoscalerOptions"):
                yield f"{label(one)}: autoscalerOptions without autoscaling"
            continue
        if cluster.get("autoscalerOptions", {}).get("version") != "v2":
            yield f"{label(one)}: autoscalerOptions.version must be v2"
        for kind, name, group in groups(cluster):
            if group["template"]["spec"].get("restartPolicy", "Never") != "Never":
                yield f"{label(one)} {name}: restartPolicy must be Never with autoscaler v2"
            if kind == "head" and "RAY_enable_autoscaler_v2" in _variables(group):
                yield f"{label(one)}: RAY_enable_autoscaler_v2 beside autoscalerOptions.version"
            if group.get("suspend"):
                yield f"{label(one)} {name}: suspended with autoscaling"
            if group.get("priority") is not None and _version(cluster["rayVersion"]) < (2, 56, 0):
                yield f"{label(one)} {name}: priority needs Ray 2.56"


def fault_tolerance_is_set_by_its_own_field(objects):
    for one, cluster in _clusters(objects):
        head = cluster["headGroupSpec"]
        options = cluster.get("gcsFaultToleranceOptions")
        secret = _variables(head) & {"REDIS_PASSWORD", "REDIS_USERNAME", "RAY_REDIS_ADDRESS"}
        start = set(head.get("rayStartParams", {})) & {"redis-password", "redis-username"}
        annotations = {key for key in one["metadata"].get("annotations", {}) if key.startswith("ray.io/ft-")}
        for name in sorted(secret | start | annotations):
            yield f"{label(one)}: {name} is for gcsFaultToleranceOptions to say"
        if options and options.get("backend", "redis") == "redis" and "storage" in options:
            yield f"{label(one)}: storage is for the backend rocksdb"


def no_gate_is_needed_that_is_off(objects):
    for one in objects:
        if one["apiVersion"].startswith("ray.io/") and one["kind"] not in NAME_LENGTHS:
            yield f"{label(one)}: its feature gate is off by default"
    for one, cluster in _clusters(objects):
        for name in GATED:
            if name in cluster:
                yield f"{label(one)}: the feature gate of {name} is off by default"
        if cluster.get("gcsFaultToleranceOptions", {}).get("backend") == "rocksdb":
            yield f"{label(one)}: the feature gate of the backend rocksdb is off by default"


def jobs_end_in_one_way(objects):
    for one in _kind(objects, "RayJob"):
        spec = one["spec"]
        shutdown = spec.get("shutdownAfterJobFinishes", False)
        rules = spec.get("deletionStrategy", {}).get("deletionRules", [])
        if spec.get("ttlSecondsAfterFinished", 0) and not shutdown:
            yield f"{label(one)}: ttlSecondsAfterFinished needs shutdownAfterJobFinishes"
        if spec.get("suspend") and not shutdown:
            yield f"{label(one)}: suspend needs shutdownAfterJobFinishes"
        if rules and shutdown:
            yield f"{label(one)}: deletionRules exclude shutdownAfterJobFinishes"
        yield from (f"{label(one)}: {fault}" for fault in _faults_of(rules, spec))
        for name in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
            if spec.get(name, 1) <= 0:
                yield f"{label(one)}: {name} must be positive"


def _faults_of(rules, spec):
    seconds = {}
    for rule in rules:
        states = [key for key in ("jobStatus", "jobDeploymentStatus") if key in rule["condition"]]
        if len(states) != 1:
            yield "a deletion rule has exactly one of jobStatus and jobDeploymentStatus"
            continue
        state = (states[0], rule["condition"][states[0]])
        if rule["policy"] in seconds.setdefault(state, {}):
            yield f"two rules {rule['policy']} for {state[1]}"
        seconds[state][rule["policy"]] = rule["condition"].get("ttlSeconds", 0)
        if rule["policy"] == "DeleteWorkers" and spec.get("rayClusterSpec", {}).get(
            "enableInTreeAutoscaling"
        ):
            yield "DeleteWorkers is not for clusters that scale"
    for (_, state), found in seconds.items():
        order = [found[one] for one in ("DeleteWorkers", "DeleteCluster", "DeleteSelf") if one in found]
        if order != sorted(order):
            yield f"for {state}, workers go before the cluster, and that before the job"


def jobs_on_another_cluster_leave_it_alone(objects):
    for one in _kind(objects, "RayJob"):
        spec = one["spec"]
        mode = spec.get("submissionMode", "K8sJobMode")
        if mode not in SUBMISSION_MODES:
            yield f"{label(one)}: submissionMode is one of {', '.join(SUBMISSION_MODES)}"
        if mode == "SidecarMode" and {"submitterPodTemplate", "submitterConfig"} & set(spec):
            yield f"{label(one)}: SidecarMode has no pod that submits"
        if ("clusterSelector" in spec) == ("rayClusterSpec" in spec):
            yield f"{label(one)}: one of rayClusterSpec and clusterSelector, and not both"
        if "clusterSelector" not in spec:
            continue
        if not spec["clusterSelector"].get("ray.io/cluster"):
            yield f"{label(one)}: clusterSelector names a cluster by ray.io/cluster"
        if spec.get("backoffLimit", 0) > 0:
            yield f"{label(one)}: backoffLimit is not for a job on another cluster"
        if spec.get("suspend") or mode == "SidecarMode":
            yield f"{label(one)}: suspend and SidecarMode are not for a job on another cluster"
        rules = spec.get("deletionStrategy", {}).get("deletionRules", [])
        if {"DeleteCluster", "DeleteWorkers"} & {rule["policy"] for rule in rules}:
            yield f"{label(one)}: a job may not delete another cluster"


def services_upgrade_in_a_known_way(objects):
    for one in _kind(objects, "RayService"):
        spec = one["spec"]
        head = spec["rayClusterConfig"]["headGroupSpec"]
        if head.get("headService", {}).get("metadata", {}).get("name"):
            yield f"{label(one)}: headService has no name of its own"
        if spec.get("rayClusterDeletionDelaySeconds", 0) < 0:
            yield f"{label(one)}: rayClusterDeletionDelaySeconds is not negative"
        ports = {port["name"] for port in head["template"]["spec"]["containers"][0].get("ports", ())}
        if ports and "serve" not in ports:
            yield f"{label(one)}: the head needs a port called serve, or there is no Service for the API"
        if "upgradeStrategy" in spec["rayClusterConfig"]:
            yield f"{label(one)}: upgradeStrategy belongs to the RayService, not to its cluster"
        timeout = one["metadata"].get("annotations", {}).get("ray.io/initializing-timeout", "1s")
        if not re.fullmatch(r"([1-9]\d*)|(([1-9]\d*)(h|m|s))+", timeout):
            yield f"{label(one)}: ray.io/initializing-timeout is a duration"


RULES = (
    names_are_short_labels,
    every_group_has_a_container,
    replicas_are_in_their_range,
    resources_are_said_once,
    tokens_are_asked_by_a_ray_that_can,
    autoscaler_is_v2_and_alone,
    fault_tolerance_is_set_by_its_own_field,
    no_gate_is_needed_that_is_off,
    jobs_end_in_one_way,
    jobs_on_another_cluster_leave_it_alone,
    services_upgrade_in_a_known_way,
)
