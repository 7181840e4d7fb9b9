"""Whether each object is of the form that its kind has, without a field that nobody knows."""

import functools
import gzip
import json
from pathlib import Path

import jsonschema
import kubernetes_validate

SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.37"

NAME = {"type": "string"}
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}


def _closed(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items):
    return {"type": "array", "items": items}


OTHERS = {
    # Kueue and the Prometheus operator: the fields that we use, from their API references
    ("kueue.x-k8s.io/v1beta2", "ResourceFlavor"): _closed(nodeLabels=LABELS),
    ("kueue.x-k8s.io/v1beta2", "ClusterQueue"): _closed(
        ("resourceGroups", "namespaceSelector"),
        namespaceSelector=_closed(matchLabels=LABELS),
        resourceGroups=_list(
            _closed(
                ("coveredResources", "flavors"),
                coveredResources=_list(NAME),
                flavors=_list(
                    _closed(
                        ("name", "resources"),
                        name=NAME,
                        resources=_list(
                            _closed(
                                ("name", "nominalQuota"),
                                name=NAME,
                                nominalQuota={"type": ["string", "integer"]},
                            )
                        ),
                    )
                ),
            )
        ),
    ),
    ("kueue.x-k8s.io/v1beta2", "LocalQueue"): _closed(("clusterQueue",), clusterQueue=NAME),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _closed(
        ("groups",),
        groups=_list(
            _closed(
                ("name", "rules"),
                name=NAME,
                rules=_list(
                    _closed(
                        ("alert", "expr", "for", "labels", "annotations"),
                        alert=NAME,
                        expr=NAME,
                        labels=LABELS,
                        annotations=LABELS,
                        **{"for": {"type": "string", "pattern": "^[0-9]+[smh]$"}},
                    )
                ),
            )
        ),
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): _closed(
        ("selector", "podMetricsEndpoints"),
        selector=_closed(matchLabels=LABELS),
        podMetricsEndpoints=_list(
            _closed(
                ("port",),
                port=NAME,
                interval={"type": "string", "pattern": "^[0-9]+s$"},
                relabelings=_list(
                    _closed(("sourceLabels", "targetLabel"), sourceLabels=_list(NAME), targetLabel=NAME)
                ),
            )
        ),
    ),
}


def faults(one):
    """What is wrong with the form of an object."""
    return _faults(json.dumps(one, sort_keys=True))


@functools.cache  # most objects are in every overlay
def _faults(text):
    one = json.loads(text)
    version, kind = one["apiVersion"], one["kind"]
    if version.startswith("ray.io/"):
        return [fault.message for fault in _ray_validator(kind).iter_errors(one)]
    if (version, kind) in OTHERS:
        whole = _closed(
            ("apiVersion", "kind", "metadata"),
            apiVersion=NAME,
            kind=NAME,
            metadata=_closed(("name",), name=NAME, namespace=NAME, labels=LABELS),
            spec=OTHERS[version, kind],
        )
        return [fault.message for fault in jsonschema.Draft202012Validator(whole).iter_errors(one)]
    try:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


@functools.cache
def _ray_validator(kind):
    path = SCHEMAS / f"{kind.lower()}.json.gz"
    schema = json.loads(gzip.decompress(path.read_bytes()))
    return jsonschema.Draft202012Validator(_strict(schema, top=True))


def _strict(node, *, top=False):
    """The schema of a CustomResourceDefinition as the API server means it, and without unknown fields."""
    if isinstance(node, list):
        return [_strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    strict = {key: _strict(value) for key, value in node.items() if key != "properties"}
    if node.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
        strict["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if isinstance(node.get("properties"), dict):
        properties = {name: _strict(value) for name, value in node["properties"].items()}
        if top:
            properties["metadata"] = {"type": "object"}
        strict["properties"] = properties
        if not node.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in node:
            strict["additionalProperties"] = False
        # the API server fills in defaults before it looks whether anything is missing
        required = [
            one for one in node.get("required", ()) if "default" not in node["properties"].get(one, {})
        ]
        if required:
            strict["required"] = required
        else:
            strict.pop("required", None)
    return strict
