"""Who may open a connection to whom, computed from the NetworkPolicies of an installation.

As Kubernetes defines it: a pod that no policy selects for a direction is open in it; one that some select is
open to what any of these allows. A connection needs the sender's egress and the receiver's ingress.
"""

import ipaddress
from dataclasses import dataclass

from pod_templates import pods
from reference_rules import matches

NAMESPACE = "icss"
ANY = "any"
"""A port that nobody names: what is open there is open on every port."""
PORTS = (ANY, 53, 443, 5000, 5432, 6379, 6443, 8000, 8080, 8265, 9000)


@dataclass(frozen=True)
class Place:
    """An end of a connection: a pod, or an address where no policy holds."""

    name: str
    namespace: str | None = None
    labels: tuple = ()
    namespace_labels: tuple = ()
    address: str = "10.244.0.9"

    @property
    def is_pod(self):
        return self.namespace is not None


def _pod(name, namespace, labels, namespace_labels=None):
    own = {"kubernetes.io/metadata.name": namespace, **(namespace_labels or {})}
    return Place(name, namespace, tuple(labels.items()), tuple(own.items()))


OUTSIDE = (
    _pod("operator", "kuberay", {"app.kubernetes.io/component": "kuberay-operator"}),
    _pod(
        "gateway", "ingress", {"app": "gateway"}, {"icss/reaches-api": "true", "icss/reaches-mlflow": "true"}
    ),
    _pod("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}),
    _pod("kube-dns", "kube-system", {"k8s-app": "kube-dns"}),
    _pod("stranger", "elsewhere", {"app": "stranger"}),
    # in our own namespace, and none of ours
    _pod("intruder", NAMESPACE, {"app": "intruder"}),
    Place("node-dns", address="169.254.20.10"),
    Place("cloud-metadata", address="169.254.169.254"),
    Place("internet", address="52.216.0.1"),
)


def places(objects):
    """Every place, each kind of pod once."""
    ours = {}
    for pod in pods(objects):
        ours.setdefault(pod.name, _pod(pod.name, NAMESPACE, pod.labels))
        if pod.name == "service-head" and "gcsFaultToleranceOptions" in pod.owner["spec"]["rayClusterConfig"]:
            labels = {**pod.labels, "ray.io/node-type": "redis-cleanup"}
            ours["service-cleanup"] = _pod("service-cleanup", NAMESPACE, labels)
    return [*ours.values(), *OUTSIDE]


def connections(objects):
    """All (sender, receiver, port) that are open, where one end is in our namespace."""
    policies = [one["spec"] for one in objects if one["kind"] == "NetworkPolicy"]
    everywhere = places(objects)
    sends = {one.name: _allowed(policies, one, everywhere, "Egress") for one in everywhere}
    takes = {one.name: _allowed(policies, one, everywhere, "Ingress") for one in everywhere}
    return {
        (sender.name, receiver.name, port)
        for sender in everywhere
        for receiver in everywhere
        if NAMESPACE in (sender.namespace, receiver.namespace) and sender.is_pod
        for port in sends[sender.name][receiver.name] & takes[receiver.name][sender.name]
    }


def _allowed(policies, own, others, direction):
    """Ports by the name of the other end, as far as the policies of this end decide."""
    if own.namespace != NAMESPACE:
        return {other.name: set(PORTS) for other in others}
    mine = [
        one
        for one in policies
        if direction in one["policyTypes"] and matches(one["podSelector"], dict(own.labels))
    ]
    allowed = {other.name: set() if mine else set(PORTS) for other in others}
    for rule in (rule for one in mine for rule in one.get(direction.lower(), ())):
        ports = {one["port"] for one in rule.get("ports", ())} or set(PORTS)
        peers = rule.get("from" if direction == "Ingress" else "to")
        for other in others:
            if not peers or any(_is_meant(peer, other) for peer in peers):
                allowed[other.name] |= ports
    return allowed


def _is_meant(peer, other):
    if "ipBlock" in peer:
        # what a plugin makes of addresses of pods differs; nothing here relies on it
        return not other.is_pod and _is_inside(peer["ipBlock"], other.address)
    if not other.is_pod:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], dict(other.namespace_labels)):
            return False
    elif other.namespace != NAMESPACE:
        return False
    return matches(peer.get("podSelector", {}), dict(other.labels))


def _is_inside(block, address):
    parsed = ipaddress.ip_address(address)

    def holds(cidr):
        network = ipaddress.ip_network(cidr)
        return parsed.version == network.version and parsed in network

    return holds(block["cidr"]) and not any(holds(one) for one in block.get("except", ()))
