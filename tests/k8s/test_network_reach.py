"""Who may reach whom: exactly what this table says, as computed from the NetworkPolicies."""

from fnmatch import fnmatchcase

import pytest
from installations import INSTALLATIONS, find, installation
from network_reach import ANY, PORTS, connections, places

JOBS = ("pretraining", "sweep", "protocol", "update", "map")
RAY = ("service-*", "jobs-*", *(f"{job}-head" for job in JOBS), *(f"{job}-gpu" for job in JOBS))
HEADS = ("service-head", "jobs-head", *(f"{job}-head" for job in JOBS))
SUBMITTERS = tuple(f"{job}-submitter" for job in JOBS)

EVERYWHERE = (
    # pods of one Ray cluster, and no others, on every port
    *((f"{one}-*", f"{one}-*", ANY, "Ray chooses its ports as it goes") for one in ("service", "jobs")),
    *((f"{one}-[hg]*", f"{one}-[hg]*", ANY, "the same for the cluster of a job") for one in JOBS),
    ("operator", HEADS, 8265, "configures Serve, watches jobs"),
    (SUBMITTERS, HEADS, 8265, "submit RayJobs"),
    (("service-cpu", "service-gpu"), "jobs-head", 8265, "mapping jobs that the API is asked for"),
    ("gateway", "service-*", 8000, "the API, from outside"),
    ("operator", "service-head", 8000, "is its proxy well?"),
    (RAY, "mlflow", 5000, "runs, versions"),
    ("gateway", "mlflow", 5000, "its pages, from outside"),
    ("mlflow", "postgres", 5432, "its tables"),
    ((*RAY, *SUBMITTERS, "mlflow", "intruder"), ("kube-dns", "node-dns"), 53, "names"),
    (HEADS, "internet", 443, "the autoscaler asks the API server, by its Service"),
    (HEADS, "internet", 6443, "or where it is"),
)
OUTSIDE_STORE = ((*RAY, "mlflow"), "internet", 443, "S3 over TLS")
TABLE = {
    "local": (
        *EVERYWHERE,
        ((*RAY, "mlflow"), "object-store", 9000, "S3 in the cluster"),
    ),
    "gpu": (*EVERYWHERE, OUTSIDE_STORE),
    "one-gpu": (*EVERYWHERE, OUTSIDE_STORE),
    "ha": (
        *EVERYWHERE,
        OUTSIDE_STORE,
        (("service-head", "service-cleanup"), "redis", 6379, "what the head knows"),
    ),
    "kueue": (*EVERYWHERE, OUTSIDE_STORE),
    "monitoring": (*EVERYWHERE, OUTSIDE_STORE, ("prometheus", RAY, 8080, "metrics")),
}


def named(patterns, names):
    patterns = (patterns,) if isinstance(patterns, str) else patterns
    return {name for name in names for pattern in patterns if fnmatchcase(name, pattern)}


def needed(name, objects):
    names = {place.name for place in places(objects)}
    return {
        (sender, receiver, port)
        for senders, receivers, asked, _ in TABLE[name]
        for sender in named(senders, names)
        for receiver in named(receivers, names)
        for port in (PORTS if asked == ANY else [asked])
    }


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_exactly_what_is_needed_is_open(name):
    objects = installation(name)
    found = connections(objects)
    assert found - needed(name, objects) == set(), "open, and nobody needs it"
    assert needed(name, objects) - found == set(), "needed, and closed"
    assert ("service-head", "service-cpu", ANY) in found
    assert not any("stranger" in one or "cloud-metadata" in one for one in found)


def without(kind, name):
    def change(objects):
        objects.remove(find(objects, kind, name))

    return change


def policy(name):
    def choose(objects):
        return find(objects, "NetworkPolicy", name)["spec"]

    return choose


def wider(name):
    def change(objects):
        policy(name)(objects)["ingress"][0]["from"].append({"namespaceSelector": {}})

    return change


def one_label_for_all_jobs(objects):
    for one in objects:
        if one["kind"] == "NetworkPolicy" and one["metadata"].get("labels", {}).get("icss/job"):
            peers = [{"podSelector": {"matchLabels": {"ray.io/is-ray-node": "yes"}}}]
            one["spec"]["ingress"][0]["from"] = one["spec"]["egress"][0]["to"] = peers


def every_address(objects):
    policy("ray-to-object-store")(objects)["egress"][0]["to"] = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]


@pytest.mark.parametrize(
    ("change", "opened", "closed"),
    [
        (without("NetworkPolicy", "deny-all"), ("postgres", "internet", 8000), None),
        (without("NetworkPolicy", "dns"), None, ("service-cpu", "kube-dns", 53)),
        (without("NetworkPolicy", "ray-service"), None, ("service-cpu", "service-head", 6379)),
        (without("NetworkPolicy", "ray-map"), None, ("map-gpu", "map-head", ANY)),
        (without("NetworkPolicy", "ray-submitter"), None, ("map-submitter", "map-head", 8265)),
        (without("NetworkPolicy", "ray-dashboard"), None, ("operator", "service-head", 8265)),
        (without("NetworkPolicy", "service-to-jobs"), None, ("service-cpu", "jobs-head", 8265)),
        (without("NetworkPolicy", "ray-autoscaler"), None, ("jobs-head", "internet", 6443)),
        (without("NetworkPolicy", "api"), None, ("gateway", "service-cpu", 8000)),
        (without("NetworkPolicy", "ray-to-mlflow"), None, ("map-gpu", "mlflow", 5000)),
        (without("NetworkPolicy", "postgres"), None, ("mlflow", "postgres", 5432)),
        (without("NetworkPolicy", "mlflow-to-object-store"), None, ("mlflow", "internet", 443)),
        (wider("ray-service"), ("stranger", "service-cpu", ANY), None),
        (wider("mlflow"), ("stranger", "mlflow", 5000), None),
        (one_label_for_all_jobs, ("map-gpu", "sweep-gpu", ANY), None),
        (every_address, ("map-gpu", "cloud-metadata", 443), None),
    ],
)
def test_a_policy_that_is_missing_or_too_wide_shows(change, opened, closed):
    objects = installation("gpu")
    before = connections(objects)
    change(objects)
    after = connections(objects)
    if opened:
        assert opened in after - before
    if closed:
        assert closed in before - after
