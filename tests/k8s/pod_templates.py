"""The pods that the manifests lead to, with what the KubeRay operator adds to them.

Facts about the operator: `ray-operator/controllers/ray/common/pod.go` and `job.go` of KubeRay 1.7.
"""

import copy
from dataclasses import dataclass, field

from installations import label

CLUSTER_SPEC = {
    "RayCluster": ("spec",),
    "RayService": ("spec", "rayClusterConfig"),
    "RayJob": ("spec", "rayClusterSpec"),
}
"""Where each of KubeRay's kinds has its Ray cluster."""


@dataclass
class Pod:
    """A pod of an object."""

    name: str
    """How the tests call it: service-head, jobs-gpu, pretraining-submitter, mlflow."""
    owner: dict
    labels: dict
    spec: dict
    kind: str
    """head, worker, submitter or other."""
    group: dict = field(default_factory=dict)
    """Of Ray: headGroupSpec, or one of workerGroupSpecs."""
    replicas: int = 1
    """As many as there can be."""

    @property
    def is_ray(self):
        return self.kind in ("head", "worker")

    @property
    def containers(self):
        """All that run in it, the operator's too."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def ray_cluster(one):
    """The Ray cluster that an object describes; None: it describes none."""
    if one["kind"] not in CLUSTER_SPEC or not one["apiVersion"].startswith("ray.io/"):
        return None
    node = one
    for key in CLUSTER_SPEC[one["kind"]]:
        node = node.get(key)
        if node is None:
            return None
    return node


def groups(cluster):
    """Head and workers of a Ray cluster, each with its kind and its group."""
    yield "head", "headgroup", cluster["headGroupSpec"]
    for group in cluster.get("workerGroupSpecs", ()):
        yield "worker", group["groupName"], group


def pods(objects):
    """Every pod of the objects."""
    for one in objects:
        if one["kind"] in ("Deployment", "StatefulSet"):
            yield Pod(
                one["metadata"]["name"],
                one,
                dict(one["spec"]["template"]["metadata"]["labels"]),
                copy.deepcopy(one["spec"]["template"]["spec"]),
                "other",
                replicas=one["spec"]["replicas"],
            )
        cluster = ray_cluster(one)
        if cluster is not None:
            yield from _ray_pods(one, cluster)
        if one["kind"] == "RayJob" and one["spec"].get("submissionMode", "K8sJobMode") == "K8sJobMode":
            yield _submitter(one, cluster)


def _ray_pods(one, cluster):
    for kind, group_name, group in groups(cluster):
        template = copy.deepcopy(group["template"])
        labels = {
            "app.kubernetes.io/name": "kuberay",
            "app.kubernetes.io/created-by": "kuberay-operator",
            **template.get("metadata", {}).get("labels", {}),
            "ray.io/is-ray-node": "yes",
            "ray.io/node-type": kind,
            "ray.io/group": group_name,
            "ray.io/cluster": f"{one['metadata']['name']}-abcde",
        }
        spec = template["spec"]
        container = spec["containers"][0]
        if kind == "head" and cluster.get("enableInTreeAutoscaling"):
            options = cluster.get("autoscalerOptions", {})
            half = {"cpu": "500m", "memory": "512Mi"}
            autoscaler = {
                "name": "autoscaler",
                "image": container["image"],
                "resources": options.get("resources", {"requests": half, "limits": half}),
                "volumeMounts": list(options.get("volumeMounts", ())),
            }
            if "securityContext" in options:
                autoscaler["securityContext"] = options["securityContext"]
            spec["containers"].append(autoscaler)
        if kind == "worker":
            small = {"cpu": "200m", "memory": "256Mi"}
            kept = {
                key: container[key]
                for key in ("image", "env", "volumeMounts", "securityContext")
                if key in container
            }
            spec.setdefault("initContainers", []).append(
                {"name": "wait-gcs-ready", "resources": {"requests": small, "limits": small}, **kept}
            )
        base = labels.get("icss/cluster", label(one))
        yield Pod(
            f"{base}-{'head' if kind == 'head' else group_name}",
            one,
            labels,
            spec,
            kind,
            group,
            1 if kind == "head" else group.get("maxReplicas", 1),
        )


def _submitter(one, cluster):
    template = copy.deepcopy(one["spec"].get("submitterPodTemplate"))
    if template is None:
        head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0] if cluster else {}
        template = {
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "ray-job-submitter",
                        "image": head.get("image", ""),
                        "resources": {
                            "requests": {"cpu": "500m", "memory": "200Mi"},
                            "limits": {"cpu": "1", "memory": "1Gi"},
                        },
                    }
                ],
            }
        }
    labels = template.get("metadata", {}).get("labels", {})
    return Pod(f"{one['metadata']['name']}-submitter", one, labels, template["spec"], "submitter")
