"""What a cluster takes and regrets: each rule has the place where somebody paid for it.

Each takes all objects of an installation and gives back what is wrong, in words.
"""

import re
from pathlib import Path

from installations import find, label
from pod_templates import groups, pods, ray_cluster
from quantities import number, total

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
OPERATORS_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/created-by")
QUEUE = "kueue.x-k8s.io/queue-name"


def _ray_containers(objects):
    for pod in pods(objects):
        if pod.is_ray:
            yield f"{label(pod.owner)} {pod.name}", pod.spec["containers"][0], pod


def ray_has_the_operators_probes(objects):
    """They change with Ray's version, and a worker's includes Serve's proxy (KubeRay PR 1808, issue 1828)."""
    for where, container, _ in _ray_containers(objects):
        if {"livenessProbe", "readinessProbe", "startupProbe"} & set(container):
            yield f"{where}: a probe of its own on a container of Ray"


def ray_is_the_locked_version(objects):
    """The operator chooses probes and checks by rayVersion, whatever is in the image."""
    (locked,) = re.findall(r"^ray==(\S+)", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for one in objects:
        cluster = ray_cluster(one)
        if cluster is not None and str(cluster.get("rayVersion")) != locked:
            yield f"{label(one)}: rayVersion must be {locked}"


def ray_gets_what_it_asks_for(objects):
    """Ray plans with the limits; with smaller requests the node has not got them. And it rounds CPUs up."""
    for where, container, pod in _ray_containers(objects):
        resources = container.get("resources", {})
        limits = resources.get("limits", {})
        if resources.get("requests") != limits or not {"cpu", "memory"} <= set(limits):
            yield f"{where}: requests must be the limits, of cpu and memory"
        elif number(limits["cpu"]) % 1:
            yield f"{where}: a part of a CPU"
        for one in pod.containers:
            if one["name"] == "autoscaler" and one["resources"]["requests"] != one["resources"]["limits"]:
                yield f"{where}: requests of the autoscaler must be its limits"


def heads_only_lead(objects):
    """A head that is killed for memory takes the cluster with it."""
    for one in objects:
        cluster = ray_cluster(one)
        if cluster is not None and cluster["headGroupSpec"].get("rayStartParams", {}).get("num-cpus") != "0":
            yield f'{label(one)}: num-cpus of the head must be "0"'


def images_do_not_move(objects):
    """Pods of one cluster that start on different days must be the same."""
    for pod in pods(objects):
        for container in pod.containers:
            _, _, tag = container.get("image", "").rpartition("/")[2].partition(":")
            if tag in ("", "latest"):
                yield f"{label(pod.owner)}: image {container.get('image')!r} needs a tag that does not move"


def the_autoscaler_has_a_processor(objects):
    """With less, a burst of requests hung for minutes (KubeRay issue 3794)."""
    for pod in pods(objects):
        for container in pod.containers:
            if container["name"] != "autoscaler":
                continue
            cpu = number(container["resources"]["limits"]["cpu"])
            # on one node there is no burst that nodes are started for
            if cpu < number("500m") or (cpu < 1 and not _is_local(objects)):
                yield f"{label(pod.owner)}: the autoscaler needs a CPU"


def nobody_restarts_workers(objects):
    """Autoscaler v2 replaces pods; one that is restarted comes back as a node that Ray has given up."""
    for where, _, pod in _ray_containers(objects):
        if pod.kind == "worker" and pod.spec.get("restartPolicy") != "Never":
            yield f"{where}: restartPolicy must say Never"


def shared_memory_holds_the_objects(objects):
    """Ray falls back to the disk otherwise; and what is in there counts as memory of the container."""
    for where, container, pod in _ray_containers(objects):
        volumes = {one["name"]: one.get("emptyDir") for one in pod.spec.get("volumes", ())}
        mounted = [one["name"] for one in container.get("volumeMounts", ()) if one["mountPath"] == "/dev/shm"]  # noqa: S108
        volume = volumes.get(mounted[0]) if mounted else None
        if not volume or volume.get("medium") != "Memory" or "sizeLimit" not in volume:
            yield f"{where}: /dev/shm must be an emptyDir in memory with a limit"
            continue
        asked = pod.group.get("rayStartParams", {}).get("object-store-memory", "0")
        size, memory = number(volume["sizeLimit"]), number(container["resources"]["limits"]["memory"])
        if not 0 < number(asked) < size <= memory / 2:
            yield f"{where}: object-store-memory must fit into /dev/shm, and that into half of the memory"


def services_find_their_heads(objects):
    """The operator selects the head by labels that it sets unless the template does."""
    for where, _, pod in _ray_containers(objects):
        template = pod.group["template"].get("metadata", {}).get("labels", {})
        for name in OPERATORS_LABELS:
            if name in template:
                yield f"{where}: the label {name} is the operator's"


def budgets_of_ray_are_numbers(objects):
    """For pods of an operator Kubernetes has no other kind: with maxUnavailable nothing is evicted."""
    found = list(pods(objects))
    for one in objects:
        if one["kind"] != "PodDisruptionBudget":
            continue
        chosen = [
            pod for pod in found if one["spec"]["selector"]["matchLabels"].items() <= pod.labels.items()
        ]
        if not all(pod.is_ray for pod in chosen):
            continue
        if not isinstance(one["spec"].get("minAvailable"), int) or "maxUnavailable" in one["spec"]:
            yield f"{label(one)}: for pods of Ray, minAvailable as a number"


def upgrades_start_a_second_cluster(objects):
    """The incremental strategy has lost requests (KubeRay PR 3166)."""
    for one in objects:
        if one["kind"] == "RayService":
            if one["spec"].get("upgradeStrategy", {}).get("type") != "NewCluster":
                yield f"{label(one)}: upgradeStrategy must be NewCluster"
            storage = one["spec"]["rayClusterConfig"].get("gcsFaultToleranceOptions", {})
            if "externalStorageNamespace" in storage:
                yield f"{label(one)}: the two clusters of an upgrade would share one externalStorageNamespace"


def the_service_survives_a_node(objects):
    """Fault tolerance of the head alone keeps nobody's requests (rayservice-high-availability.md)."""
    for one in objects:
        if one["kind"] != "RayService" or "gcsFaultToleranceOptions" not in one["spec"]["rayClusterConfig"]:
            continue
        if one["spec"].get("excludeHeadPodFromServeSvc") is not True:
            yield f"{label(one)}: requests go through the head"
        for group in one["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
            spread = group["template"]["spec"].get("topologySpreadConstraints", [{}])[0]
            hard = spread.get("whenUnsatisfiable") == "DoNotSchedule"
            if group["minReplicas"] < 2 or not hard or spread.get("topologyKey") != "kubernetes.io/hostname":
                yield f"{label(one)} {group['groupName']}: two workers at least, on different nodes"
            if "preStop" not in group["template"]["spec"]["containers"][0].get("lifecycle", {}):
                yield f"{label(one)} {group['groupName']}: ray stop before the pod goes"


def mlflow_knows_the_names_it_is_called_by(objects):
    """The Host header is compared as a whole, port included; another gets 403 (MLflow issue 22095)."""
    (container,) = find(objects, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"]
    (option,) = [one for one in container["command"] if one.startswith("--allowed-hosts=")]
    service = find(objects, "Service", "mlflow")
    (port,) = service["spec"]["ports"]
    full = f"mlflow.{service['metadata']['namespace']}.svc.cluster.local"
    hosts = option.partition("=")[2].split(",")
    asked = find(objects, "ConfigMap", "icss-settings")["data"]["ICSS_MLFLOW_URI"].partition("://")[2]
    for name in ("mlflow", f"mlflow:{port['port']}", full, f"{full}:{port['port']}", asked):
        if name not in hosts:
            yield f"MLflow refuses requests to {name}"
    if f"--port={port['port']}" not in container["command"]:
        yield "MLflow listens on another port than its Service has"


def mlflow_migrates_before_it_serves(objects):
    """A server whose tables are of another version does not start. SQLAlchemy's own driver is psycopg 3."""
    deployment = find(objects, "Deployment", "mlflow")["spec"]
    spec = deployment["template"]["spec"]
    (container,) = spec["containers"]
    (store,) = [
        one.partition("=")[2] for one in container["command"] if one.startswith("--backend-store-uri=")
    ]
    migrations = [one["command"] for one in spec.get("initContainers", ())]
    if ["mlflow", "db", "upgrade", store] not in migrations:
        yield f"nobody migrates {store} before MLflow starts"
    if deployment.get("strategy", {}).get("type") != "Recreate" or deployment["replicas"] != 1:
        yield "an old server may run beside a migrated database"
    if not store.startswith("postgresql+psycopg2://"):
        yield f"{store}: the driver that is installed is psycopg2"
    if re.search(r"://[^/@]*:[^/@]*@", " ".join(container["command"])):
        yield "a password in the command line"


def queued_jobs_are_of_one_size(objects):
    """Kueue takes all pods of a job at once, and none that scales or keeps its cluster (Kueue issue 7605)."""
    queues = {one["metadata"]["name"]: one for one in objects if one["kind"] == "LocalQueue"}
    for one in objects:
        if one["kind"] != "RayJob" or not queues:
            continue
        name = one["metadata"]["labels"].get(QUEUE)
        cluster = ray_cluster(one)
        if name not in queues:
            yield f"{label(one)}: the label {QUEUE} names no queue"
            continue
        if cluster is None or one["spec"].get("shutdownAfterJobFinishes") is not True:
            yield f"{label(one)}: a queued job has a cluster of its own and shuts it down"
            continue
        if one["spec"].get("ttlSecondsAfterFinished"):
            yield f"{label(one)}: its GPUs would count as free while it keeps them"
        workers = [group for kind, _, group in groups(cluster) if kind == "worker"]
        if cluster.get("enableInTreeAutoscaling") or any(
            not group["replicas"] == group["minReplicas"] == group["maxReplicas"] for group in workers
        ):
            yield f"{label(one)}: a queued job does not scale"
        needed = total(
            container["resources"]["requests"]
            for pod in pods([one])
            for container in pod.spec["containers"]
            for _ in range(pod.replicas)
        )
        queue = find(objects, "ClusterQueue", queues[name]["spec"]["clusterQueue"])
        (group,) = queue["spec"]["resourceGroups"]
        (flavor,) = group["flavors"]
        quota = {one["name"]: number(one["nominalQuota"]) for one in flavor["resources"]}
        if set(needed) - set(group["coveredResources"]) or any(needed[name] > quota[name] for name in needed):
            yield f"{label(one)}: it would wait for ever, the queue has less than it needs"


def one_node_is_enough_for_the_local_overlay(objects):
    """What its kustomization says: 10 CPUs and 24 GiB, of which kubelet and system pods take 1 and 1."""
    if not _is_local(objects):
        return
    found = list(pods(objects))
    jobs = [pod for pod in found if pod.kind == "submitter"]
    needed = total(
        container["resources"]["requests"]
        for pod in [pod for pod in found if pod.kind != "submitter"] + jobs[:1]
        for container in pod.spec["containers"]
        for _ in range(pod.replicas)
    )
    if needed["cpu"] > 9 or needed["memory"] > number("23Gi"):
        yield f"{needed['cpu']} CPUs and {needed['memory'] / 2**30} GiB are too much for one node"


def _is_local(objects):
    return any(one["metadata"]["name"] == "object-store" for one in objects)


RULES = (
    ray_has_the_operators_probes,
    ray_is_the_locked_version,
    ray_gets_what_it_asks_for,
    heads_only_lead,
    images_do_not_move,
    the_autoscaler_has_a_processor,
    nobody_restarts_workers,
    shared_memory_holds_the_objects,
    services_find_their_heads,
    budgets_of_ray_are_numbers,
    upgrades_start_a_second_cluster,
    the_service_survives_a_node,
    mlflow_knows_the_names_it_is_called_by,
    mlflow_migrates_before_it_serves,
    queued_jobs_are_of_one_size,
    one_node_is_enough_for_the_local_overlay,
)
