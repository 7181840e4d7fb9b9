"""What `kubectl kustomize` makes of a folder, in Python: the features that `k8s/` uses, and no others.

So that the checks need nothing but Python, and never look at a rendering that somebody forgot to renew. Where
kubectl is installed, test_kustomize.py compares the two. Whatever is not known here is an error.
"""

import copy
import functools
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2] / "k8s"

FIELDS = {
    "apiVersion", "kind", "namespace", "labels", "resources", "components", "patches", "images",
    "configMapGenerator",
}  # fmt: skip
CLUSTER_WIDE = {"Namespace", "ResourceFlavor", "ClusterQueue"}
HAS_NAMESPACES_INSIDE = {"RoleBinding", "ClusterRoleBinding"}
"""Kinds in which `namespace:` changes more than the metadata."""
CUSTOM = ("ray.io/", "kueue.x-k8s.io/", "monitoring.coreos.com/")
"""Groups whose lists a merge replaces; lists of Kubernetes' own kinds are merged by keys that differ."""


class KustomizeError(Exception):
    """The folder cannot be rendered, or not by the means here."""


def render(folder):
    """The objects that a folder of `k8s/` describes: a list of its own, to change at will."""
    return copy.deepcopy(_render(Path(folder).resolve()))


@functools.cache
def _render(folder):
    objects = []
    _apply(folder, objects, kind="Kustomization")
    return objects


def read(path):
    """The documents of a YAML file."""
    documents = yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return [one for one in documents if one is not None]


def _apply(folder, objects, *, kind):
    content = _read_kustomization(folder / "kustomization.yaml", kind)
    for name in content.get("resources", ()):
        source = folder / name
        objects += copy.deepcopy(_render(source.resolve())) if source.is_dir() else read(source)
    objects += [_config_map(folder, **one) for one in content.get("configMapGenerator", ())]
    ids = [_identity(one) for one in objects]
    if len(set(ids)) != len(ids):
        raise KustomizeError(f"{folder}: {[one for one in ids if ids.count(one) > 1]} is there twice")
    for name in content.get("components", ()):
        _apply((folder / name).resolve(), objects, kind="Component")
    for patch in content.get("patches", ()):
        _patch(folder, objects, patch)
    if "namespace" in content:
        _set_namespace(objects, content["namespace"])
    for label in content.get("labels", ()):
        for one in objects:
            one["metadata"].setdefault("labels", {}).update(label["pairs"])
    for image in content.get("images", ()):
        _set_image(objects, **image)


def _read_kustomization(path, kind):
    if not path.is_file():
        raise KustomizeError(f"there is no {path}")
    (content,) = read(path)
    if content.get("kind") != kind:
        raise KustomizeError(f"{path} is a {content.get('kind')}, not a {kind}")
    unknown = set(content) - FIELDS
    if unknown:
        raise KustomizeError(f"{path}: {sorted(unknown)} is not known here")
    if any(set(label) != {"pairs"} for label in content.get("labels", ())):
        raise KustomizeError(f"{path}: labels know only pairs here")
    return content


def _config_map(folder, *, name, namespace, files, options):
    """A ConfigMap of files, under a name without a hash of them."""
    if set(options) != {"disableNameSuffixHash", "labels"} or options["disableNameSuffixHash"] is not True:
        raise KustomizeError(f"{folder}: {name}: options are labels and disableNameSuffixHash: true here")
    pairs = [one.split("=") for one in files]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(options["labels"])},
        "data": {key: (folder / file).read_text(encoding="utf-8") for key, file in pairs},
    }


def _identity(one):
    metadata = one["metadata"]
    return one["apiVersion"], one["kind"], metadata.get("namespace"), metadata["name"]


def _set_namespace(objects, namespace):
    for one in objects:
        if one["kind"] in HAS_NAMESPACES_INSIDE:
            raise KustomizeError(f"namespace: is not known for {one['kind']}")
        if one["kind"] not in CLUSTER_WIDE:
            one["metadata"]["namespace"] = namespace


def _set_image(node, *, name, newName, newTag):  # noqa: N803 - kustomize's words
    if isinstance(node, list):
        for one in node:
            _set_image(one, name=name, newName=newName, newTag=newTag)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("containers", "initContainers") and isinstance(value, list):
                for container in value:
                    if container.get("image", "").rpartition(":")[0] == name:
                        container["image"] = f"{newName}:{newTag}"
            _set_image(value, name=name, newName=newName, newTag=newTag)


def _patch(folder, objects, entry):
    unknown = set(entry) - {"path", "patch", "target"}
    if unknown:
        raise KustomizeError(f"{folder}: {sorted(unknown)} of a patch is not known here")
    contents = read(folder / entry["path"]) if "path" in entry else list(yaml.safe_load_all(entry["patch"]))
    target = entry.get("target")
    for content in contents:
        if target is None:
            chosen = [one for one in objects if _identity(one) == _identity(content)]
        else:
            if set(target) - {"kind", "name"}:
                raise KustomizeError(f"{folder}: a target has kind and name here")
            name = re.compile(target.get("name", ".*"))
            chosen = [
                one
                for one in objects
                if one["kind"] == target["kind"] and name.fullmatch(one["metadata"]["name"])
            ]
        if not chosen:
            raise KustomizeError(f"{folder}: the patch for {target or _identity(content)} fits nothing")
        for one in chosen:
            if isinstance(content, list):
                for operation in content:
                    _operate(one, **operation)
            elif content.get("$patch") == "delete":
                objects.remove(one)
            else:
                changes = {key: value for key, value in content.items() if key != "metadata"}
                metadata = {key: value for key, value in content["metadata"].items() if key != "name"}
                _merge(one, changes | ({"metadata": metadata} if metadata else {}))


def _merge(one, changes):
    """Merge a patch into an object, as JSON is merged."""
    custom = one.get("apiVersion", "").startswith(CUSTOM)

    def merge(old, new, where):
        for key, value in new.items():
            if key.startswith("$"):
                raise KustomizeError(f"{where}{key} is not known here")
            if isinstance(value, list) and not custom:
                raise KustomizeError(f"{where}{key}: change a list of {one['kind']} by a JSON patch")
            if value is None:
                old.pop(key, None)
            elif isinstance(value, dict) and isinstance(old.get(key), dict):
                merge(old[key], value, f"{where}{key}.")
            else:
                old[key] = copy.deepcopy(value)

    merge(one, changes, "")


def _operate(one, *, op, path, value=None):
    """One operation of a JSON patch (RFC 6902)."""
    *above, last = [part.replace("~1", "/").replace("~0", "~") for part in path.lstrip("/").split("/")]
    node = one
    try:
        for part in above:
            node = node[int(part)] if isinstance(node, list) else node[part]
        if isinstance(node, list):
            index = len(node) if last == "-" else int(last)
            if op == "add":
                node.insert(index, copy.deepcopy(value))
                return
            last = index
        if op != "add":
            node[last]
        if op == "remove":
            del node[last]
        elif op in ("add", "replace"):
            node[last] = copy.deepcopy(value)
        else:
            raise KustomizeError(f"{op} is not known here")
    except (KeyError, IndexError) as error:
        raise KustomizeError(f"{op} {path}: {_identity(one)} has no {error}") from error
