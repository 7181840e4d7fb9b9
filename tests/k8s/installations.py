"""What is on a cluster once an overlay and its jobs have been applied; rules are asked of that as a whole."""

import functools
import json
from pathlib import Path

from kustomize_resolver import ROOT, render

OVERLAYS = ROOT / "overlays"
INSTALLATIONS = {
    "local": (OVERLAYS / "local", OVERLAYS / "local/jobs"),
    "gpu": (OVERLAYS / "gpu", OVERLAYS / "gpu/jobs"),
    "one-gpu": (OVERLAYS / "one-gpu", OVERLAYS / "one-gpu/jobs"),
    "ha": (OVERLAYS / "ha", OVERLAYS / "gpu/jobs"),
    "kueue": (OVERLAYS / "kueue", OVERLAYS / "kueue/jobs"),
    "monitoring": (Path(__file__).parent / "with_monitoring", OVERLAYS / "gpu/jobs"),
}
"""By name, the folders that make it up."""
FOLDERS = sorted({folder for folders in INSTALLATIONS.values() for folder in folders})


def installation(name):
    """The objects of an installation, to change at will."""
    return json.loads(_text(name))


@functools.cache
def _text(name):
    # reading JSON is the fastest way to a copy
    return json.dumps([one for folder in INSTALLATIONS[name] for one in render(folder)])


def find(objects, kind, name):
    """The one object with this kind and name."""
    (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def label(one):
    """How messages call an object."""
    return f"{one['kind']}/{one['metadata']['name']}"
