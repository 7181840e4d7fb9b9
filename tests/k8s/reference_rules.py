"""Whatever is named, exists: accounts, Secrets, ConfigMaps, volumes, ports, and pods that a selector means.

Each rule takes all objects of an installation and gives back what is wrong, in words.
"""

import re

from installations import label
from kustomize_resolver import ROOT, read
from pod_templates import pods, ray_cluster

MADE_BY_KUBERNETES = {"kube-root-ca.crt"}
OTHERS_PODS = {
    # pods outside of the installation that policies name
    ("app.kubernetes.io/component", "kuberay-operator"),
    ("app.kubernetes.io/name", "prometheus"),
    ("k8s-app", "kube-dns"),
    # the operator's pod that clears up behind a cluster, made from the head's template
    ("ray.io/node-type", "redis-cleanup"),
}


def matches(selector, labels):
    """Whether a label selector of Kubernetes means something with these labels."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions", ()):
        inside = labels.get(one["key"]) in one["values"]
        if one["operator"] not in ("In", "NotIn"):
            raise ValueError(f"the operator {one['operator']} is not known here")
        if inside != (one["operator"] == "In"):
            return False
    return True


def known_secrets():
    """Secret by name, with its keys, as secrets.example.yaml lists them."""
    return {one["metadata"]["name"]: set(one["stringData"]) for one in read(ROOT / "secrets.example.yaml")}


def _walk(node, key):
    """Every value under a key, however deep."""
    if isinstance(node, list):
        for one in node:
            yield from _walk(one, key)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from _walk(value, key)


def secrets_are_listed(objects):
    secrets = known_secrets()
    for one in objects:
        for reference in _walk(one, "secretKeyRef"):
            if reference["key"] not in secrets.get(reference["name"], ()):
                name = f"{reference['name']} with {reference['key']}"
                yield f"{label(one)}: the Secret {name} is not in the example"
        cluster = ray_cluster(one)
        if cluster is not None:
            name = cluster.get("authOptions", {}).get("secretName")
            if name is not None and "auth_token" not in secrets.get(name, ()):
                yield f"{label(one)}: the Secret {name} with auth_token is not in the example"


def config_maps_exist(objects):
    known = {one["metadata"]["name"] for one in objects if one["kind"] == "ConfigMap"} | MADE_BY_KUBERNETES
    for one in objects:
        for key in ("configMapRef", "configMap", "configMapKeyRef"):
            for reference in _walk(one, key):
                if reference["name"] not in known:
                    yield f"{label(one)}: there is no ConfigMap {reference['name']}"


def accounts_exist_and_are_used(objects):
    known = {one["metadata"]["name"] for one in objects if one["kind"] == "ServiceAccount"}
    used = set()
    for pod in pods(objects):
        used.add(name := pod.spec.get("serviceAccountName"))
        if name not in known:
            yield f"{label(pod.owner)} {pod.name}: there is no account {name}"
    for name in sorted(known - used):
        yield f"nobody uses the account {name}"


def volumes_exist_and_are_used(objects):
    for pod in pods(objects):
        claims = [one["metadata"]["name"] for one in pod.owner["spec"].get("volumeClaimTemplates", ())]
        known = {one["name"] for one in pod.spec.get("volumes", ())} | set(claims)
        used = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", ())}
        if known != used:
            yield f"{label(pod.owner)} {pod.name}: volumes {sorted(known)}, mounted {sorted(used)}"


def variables_of_arguments_are_set(objects):
    for pod in pods(objects):
        for container in pod.containers:
            known = {one["name"] for one in container.get("env", ())}
            for source in container.get("envFrom", ()):
                known |= _keys(objects, source["configMapRef"]["name"])
            values = [one.get("value", "") for one in container.get("env", ())]
            text = " ".join([*container.get("command", ()), *container.get("args", ()), *values])
            for name in re.findall(r"\$\((\w+)\)", text):
                if name not in known:
                    yield f"{label(pod.owner)} {container['name']}: $({name}) is not set"


def _keys(objects, name):
    return {
        key
        for one in objects
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name
        for key in one["data"]
    }


def ports_are_named_once(objects):
    """By their names Services, probes and monitors find them."""
    for pod in pods(objects):
        for container in pod.containers:
            names = {port["name"] for port in container.get("ports", ())}
            if len(names) != len(container.get("ports", ())):
                yield f"{label(pod.owner)} {container['name']}: two ports of one name"
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                for action in container.get(probe, {}).values():
                    if isinstance(action, dict) and "port" in action and action["port"] not in names:
                        yield f"{label(pod.owner)} {container['name']}: no port {action['port']}"


def services_have_pods_and_ports(objects):
    found = list(pods(objects))
    for one in objects:
        if one["kind"] != "Service":
            continue
        chosen = [pod for pod in found if matches({"matchLabels": one["spec"]["selector"]}, pod.labels)]
        if len(chosen) != 1:
            yield f"{label(one)}: selects {[pod.name for pod in chosen]}"
        for port in one["spec"]["ports"]:
            named = {
                (own["name"], own["containerPort"])
                for pod in chosen
                for container in pod.containers
                for own in container.get("ports", ())
            }
            if (port["targetPort"], port["port"]) not in named:
                yield f"{label(one)}: no container has the port {port['targetPort']} {port['port']}"
    services = {one["metadata"]["name"] for one in objects if one["kind"] == "Service"}
    for one in objects:
        if one["kind"] == "StatefulSet" and one["spec"]["serviceName"] not in services:
            yield f"{label(one)}: there is no Service {one['spec']['serviceName']}"


def workloads_select_their_own_pods(objects):
    for one in objects:
        if one["kind"] in ("Deployment", "StatefulSet"):
            labels = one["spec"]["template"]["metadata"]["labels"]
            if not matches(one["spec"]["selector"], labels):
                yield f"{label(one)}: its selector does not fit its pods"


def selectors_mean_somebody(objects):
    """Of policies, budgets and monitors: one that means nobody says nothing, and looks as if it did."""
    found = list(pods(objects))
    ports = {
        pod.name: {port["name"] for container in pod.containers for port in container.get("ports", ())}
        for pod in found
    }
    for one in objects:
        if one["kind"] == "PodMonitor":
            chosen = [pod for pod in found if matches(one["spec"]["selector"], pod.labels)]
            asked = {endpoint["port"] for endpoint in one["spec"]["podMetricsEndpoints"]}
            lacking = [pod.name for pod in chosen if not asked <= ports[pod.name]]
            if not chosen or lacking:
                yield f"{label(one)}: {lacking or 'nobody'} has {sorted(asked)}"
        if one["kind"] == "PodDisruptionBudget":
            chosen = [pod for pod in found if matches(one["spec"]["selector"], pod.labels)]
            if not chosen:
                yield f"{label(one)}: its selector means nobody"
        if one["kind"] == "NetworkPolicy":
            for selector in _pod_selectors(one):
                if not _is_others(selector) and not any(matches(selector, pod.labels) for pod in found):
                    yield f"{label(one)}: {selector} means nobody"


def _pod_selectors(policy):
    yield policy["spec"]["podSelector"]
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for rule in policy["spec"].get(direction, ()):
            for peer in rule.get(side, ()):
                if "podSelector" in peer:
                    yield peer["podSelector"]


def _is_others(selector):
    return any(item in OTHERS_PODS for item in selector.get("matchLabels", {}).items())


def numbers_of_policies_are_ports(objects):
    """A policy names ports by number; each of ours must be one that a pod it means listens on."""
    found = list(pods(objects))
    for one in objects:
        if one["kind"] != "NetworkPolicy" or not one["spec"].get("ingress"):
            continue
        chosen = [pod for pod in found if matches(one["spec"]["podSelector"], pod.labels)]
        known = {
            port["containerPort"] for pod in chosen for c in pod.containers for port in c.get("ports", ())
        }
        for rule in one["spec"]["ingress"]:
            for port in rule.get("ports", ()):
                if port["port"] not in known:
                    yield f"{label(one)}: nobody listens on {port['port']}"


def namespaces_are_said(objects):
    """Of objects for the whole cluster, none has one."""
    for one in objects:
        wide = one["kind"] in ("Namespace", "ClusterQueue", "ResourceFlavor")
        if one["metadata"].get("namespace") != (None if wide else "icss"):
            yield f"{label(one)}: namespace {one['metadata'].get('namespace')}"


RULES = (
    secrets_are_listed,
    config_maps_exist,
    accounts_exist_and_are_used,
    volumes_exist_and_are_used,
    variables_of_arguments_are_set,
    ports_are_named_once,
    services_have_pods_and_ports,
    workloads_select_their_own_pods,
    selectors_mean_somebody,
    numbers_of_policies_are_ports,
    namespaces_are_said,
)
