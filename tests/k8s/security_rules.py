"""Pod Security "restricted", accounts without tokens, and no secret in a manifest.

The fields of the standard: https://kubernetes.io/docs/concepts/security/pod-security-standards/. Each rule
takes all objects of an installation and gives back what is wrong, in words.
"""

import re

from installations import find, label
from pod_templates import pods

VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
SECRET_NAMES = re.compile(r"TOKEN|PASSWORD|SECRET|ACCESS_KEY|AUTH_KEY")


def the_namespace_enforces_it(objects):
    labels = find(objects, "Namespace", "icss")["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
            yield f"the namespace does not {mode} the restricted standard"


def pods_are_restricted(objects):
    for pod in pods(objects):
        where = f"{label(pod.owner)} {pod.name}"
        context = pod.spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("runAsUser", 1) == 0:
            yield f"{where}: runAsNonRoot"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where}: seccompProfile RuntimeDefault"
        if {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec):
            yield f"{where}: a namespace of the node"
        for volume in pod.spec.get("volumes", ()):
            if not set(volume) - {"name"} <= VOLUMES:
                yield f"{where}: volume {volume['name']}"
        for container in pod.containers:
            yield from (f"{where} {container['name']}: {fault}" for fault in _faults_of(container))


def _faults_of(container):
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation: false"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities: {drop: [ALL]}"
    if context.get("privileged") or context.get("runAsUser", 1) == 0:
        yield "privileged"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem: true"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "hostPort"
    if not container.get("resources", {}).get("limits", {}).get("memory"):
        yield "a limit of memory"


def read_only_roots_have_a_place_to_write(objects):
    """Ray, MLflow and PostgreSQL do not start without /tmp."""
    for pod in pods(objects):
        for container in pod.containers:
            paths = {mount["mountPath"] for mount in container.get("volumeMounts", ())}
            if "icss" in container["image"] and "/tmp" not in paths:  # noqa: S108
                yield f"{label(pod.owner)} {container['name']}: nothing is mounted at /tmp"


def only_the_autoscaler_has_a_token(objects):
    """Whoever has it may change Ray clusters, and by that read every Secret of the namespace."""
    for one in objects:
        if one["kind"] == "ServiceAccount" and one.get("automountServiceAccountToken") is not False:
            yield f"{label(one)}: automountServiceAccountToken: false"
    for pod in pods(objects):
        where = f"{label(pod.owner)} {pod.name}"
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{where}: automountServiceAccountToken: false"
        tokens = {
            volume["name"]
            for volume in pod.spec.get("volumes", ())
            if any(
                "serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", ())
            )
        }
        holders = [
            container["name"]
            for container in pod.containers
            for mount in container.get("volumeMounts", ())
            if mount["name"] in tokens or mount["mountPath"] == TOKEN_PATH
        ]
        scales = any(container["name"] == "autoscaler" for container in pod.containers)
        if holders != (["autoscaler"] if scales else []) or bool(tokens) != scales:
            yield f"{where}: a token for {holders}"


def no_secret_is_written_down(objects):
    for one in objects:
        if one["kind"] == "Secret":
            yield f"{label(one)}: Secrets are made by hand"
        if one["kind"] == "ConfigMap":
            yield from (
                f"{label(one)}: {key} belongs into a Secret"
                for key, value in one["data"].items()
                if SECRET_NAMES.search(key) and value
            )
    for pod in pods(objects):
        for container in pod.containers:
            for variable in container.get("env", ()):
                literal = re.sub(r"\$\([A-Z_]+\)", "", variable.get("value", ""))
                if SECRET_NAMES.search(variable["name"]) and re.search(r"\w", literal):
                    yield f"{label(pod.owner)} {container['name']}: {variable['name']} in clear"


def tokens_are_where_they_are_needed(objects):
    """The API's is for its replicas alone; the database's for MLflow and the database."""
    allowed = {
        "icss-api": {"service-cpu", "service-gpu"},
        "icss-postgres": {"mlflow", "postgres"},
        "icss-redis": {"redis"},
    }
    for pod in pods(objects):
        for container in pod.containers:
            for variable in container.get("env", ()):
                name = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name")
                if pod.name not in allowed.get(name, {pod.name}):
                    yield f"{label(pod.owner)} {pod.name}: has {name}"


RULES = (
    the_namespace_enforces_it,
    pods_are_restricted,
    read_only_roots_have_a_place_to_write,
    only_the_autoscaler_has_a_token,
    no_secret_is_written_down,
    tokens_are_where_they_are_needed,
)
