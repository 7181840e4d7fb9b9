"""Jobs get the GPUs that they ask for, ask for those that there are, and hold none that they do not use."""

import re

from installations import find, label
from kustomize_resolver import ROOT
from pitfall_rules import QUEUE
from pod_templates import groups, pods, ray_cluster
from quantities import number, total

from services.tune.continual.spec import ContinualSweep
from services.tune.interactive.networks import memory_config
from services.tune.read_spec import read_spec


def _groups(one):
    cluster = ray_cluster(one)
    return () if cluster is None else groups(cluster)


def _requests(pods_and_numbers):
    return total(
        container["resources"]["requests"]
        for pod, number_of_them in pods_and_numbers
        for container in pod.spec["containers"]
        for _ in range(number_of_them)
    )


def trainings_say_that_they_want_gpus(objects):
    """The default counts the GPUs that are there when the job starts: none, with workers from zero."""
    for one in objects:
        if one["kind"] != "RayJob" or not re.search(
            r"services\.(training|continual|updating|mapping)\b", one["spec"]["entrypoint"]
        ):
            continue
        words = one["spec"]["entrypoint"].split()
        if not {"--gpu", "--no-gpu"} & set(words):
            yield f"{label(one)}: --gpu or --no-gpu"


def sweeps_want_the_gpus_of_their_workers(objects):
    """Their files say it, for the trials and their networks; and no more than there are."""
    for one in objects:
        if one["kind"] != "RayJob" or "services.tune" not in one["spec"]["entrypoint"]:
            continue
        words = one["spec"]["entrypoint"].split()
        file = ROOT.parent / words[words.index("services.tune") + 1].removeprefix("/app/")
        scale = words[words.index("--scale") + 1] if "--scale" in words else None
        spec = read_spec(file, scale)
        if isinstance(spec, ContinualSweep):
            training = spec
        else:
            training = memory_config(spec.pairs[0], "s3://where/dataset.yaml", spec.network_numbers)
        wanted = training.workers if training.gpu else 0
        places = sum(
            pod.replicas
            for pod in pods([one])
            if pod.kind == "worker" and "nvidia.com/gpu" in pod.spec["containers"][0]["resources"]["limits"]
        )
        if wanted > places or (places and not wanted):
            yield f"{label(one)}: {file.name} asks for {wanted} GPUs at this scale, and there are {places}"


def workers_of_jobs_start_from_none(objects):
    """Workers of jobs come from none: a node that waits for a job costs what one costs that works."""
    for one in objects:
        if one["kind"] not in ("RayJob", "RayCluster") or QUEUE in one["metadata"].get("labels", {}):
            continue
        for kind, _, group in _groups(one):
            if kind == "worker" and (group["replicas"], group["minReplicas"]) != (0, 0):
                yield f"{label(one)}: {group['groupName']} must start from none"


def one_gpu_is_enough_where_the_service_has_none(objects):
    """Then jobs share what there is: none may need two at once."""
    asking = {
        pod.owner["kind"]
        for pod in pods(objects)
        for container in pod.containers
        if "nvidia.com/gpu" in container["resources"]["limits"]
    }
    if "RayService" in asking or not asking:
        return
    standing = [pod for pod in pods(objects) if pod.owner["kind"] != "RayJob"]
    always = _requests((pod, pod.group.get("minReplicas", 1)) for pod in standing)
    of_jobs = [_requests((pod, 1) for pod in pods([one])) for one in objects if one["kind"] == "RayJob"]
    for what, limit in (("cpu", 23), ("memory", number("78Gi"))):
        needed = always[what] + max(one[what] for one in of_jobs)
        if needed > limit:  # docs/deploy.md: 24 CPUs and 80 GiB, of which kubelet and system pods take some
            yield f"{needed} of {what} are too much for one node"
    for one in objects:
        for kind, _, group in _groups(one):
            limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
            if kind == "worker" and "nvidia.com/gpu" in limits and group["maxReplicas"] != 1:
                yield f"{label(one)}: {group['maxReplicas']} GPUs, of which there is one"


def jobs_fit_on_their_workers(objects):
    """A training that asks for more workers than there can be waits for ever."""
    for one in objects:
        if one["kind"] != "RayJob":
            continue
        cluster = (
            ray_cluster(one)
            or find(objects, "RayCluster", one["spec"]["clusterSelector"]["ray.io/cluster"])["spec"]
        )
        words = one["spec"]["entrypoint"].split()
        options = {word: words[index + 1] for index, word in enumerate(words[:-1]) if word.startswith("--")}
        workers, cpus = int(options.get("--workers", 1)), int(options.get("--cpus-per-worker", 1))
        places = 0
        for kind, _, group in groups(cluster):
            if kind == "worker":
                limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
                each = number(limits["cpu"]) // cpus
                if "--gpu" in words:
                    each = min(each, number(limits.get("nvidia.com/gpu", 0)))
                places += int(each) * group["maxReplicas"]
        if workers > places:
            yield f"{label(one)}: {workers} workers, and places for {places}"


def gpus_are_asked_for_in_full(objects):
    """Without the toleration no node takes the pod, and others could take nodes with GPUs from it."""
    for pod in pods(objects):
        if not pod.is_ray:
            continue
        where, container = f"{label(pod.owner)} {pod.name}", pod.spec["containers"][0]
        resources = container["resources"]
        if "nvidia.com/gpu" not in {**resources["limits"], **resources["requests"]}:
            continue
        if "nvidia.com/gpu" not in resources["limits"] or "nvidia.com/gpu" not in resources["requests"]:
            yield f"{where}: nvidia.com/gpu in requests and limits"
        keys = {one.get("key") for one in pod.spec.get("tolerations", ())}
        if "nvidia.com/gpu" not in keys or not pod.spec.get("nodeSelector"):
            yield f"{where}: a toleration for nvidia.com/gpu, and a node selector"


RULES = (
    trainings_say_that_they_want_gpus,
    sweeps_want_the_gpus_of_their_workers,
    workers_of_jobs_start_from_none,
    one_gpu_is_enough_where_the_service_has_none,
    jobs_fit_on_their_workers,
    gpus_are_asked_for_in_full,
)
