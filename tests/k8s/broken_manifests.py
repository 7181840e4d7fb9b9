"""Proofs of rules: an installation with one value changed, which the rule must notice.

A proof is (rule, installation, kind/name, path to a value, the value, a part of what the rule says).
"""

from installations import find, installation

GONE = object()
"""In place of a value: it is removed."""

SERVICE = "RayService/icss"
JOBS = "RayCluster/icss-jobs"
CLUSTER = "spec rayClusterConfig"
HEAD = f"{CLUSTER} headGroupSpec"
HEAD_POD = f"{HEAD} template spec"
CPU = f"{CLUSTER} workerGroupSpecs 0"
CPU_POD = f"{CPU} template spec"
JOB_CLUSTER = "spec rayClusterSpec"
MLFLOW_POD = "spec template spec"


def unkept(rules, name):
    """What each rule finds wrong with an installation."""
    objects = installation(name)
    return {rule.__name__: found for rule in rules if (found := list(rule(objects)))}


def noticed_by(rules, proof):
    """What the rule of a proof says about its broken manifest."""
    rule, name, where, path, value, _ = proof
    (chosen,) = [one for one in rules if one.__name__ == rule]
    return list(chosen(_broken(name, where, path, value)))


def unproven(rules, proofs):
    """Names of rules without a proof."""
    return {rule.__name__ for rule in rules} - {rule for rule, *_ in proofs}


def ids_of(proofs):
    """Names of tests."""
    return [f"{rule}-{number}" for number, (rule, *_) in enumerate(proofs)]


def _broken(name, where, path, value):
    """The objects, with a value set, appended to a list (+), or removed."""
    objects = installation(name)
    kind, _, called = where.partition("/")
    node = find(objects, kind, called)
    *above, last = [int(part) if part.isdigit() else part for part in path.split()]
    for part in above:
        node = node[part]
    if value is GONE:
        del node[last]
    elif last == "+":
        node.append(value)
    else:
        node[last] = value
    return objects
