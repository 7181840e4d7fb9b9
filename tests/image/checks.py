"""What an image must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

INSIDE: Final = "/tmp/checks"  # noqa: S108 - in the image


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A command that must end with 0 and print `expected`."""

    name: str
    command: tuple[str, ...]
    expected: str = ""
    seconds: float = 120


def checks(config: Mapping[str, Any], *, ray_version: str, revision: str) -> list[Check]:
    """All of them, the quick ones first.

    Args:
        config: of the image.
        ray_version: that the lock file names.
        revision: that the image was built for.
    """
    return [
        Check(
            name="user and read-only root",
            command=("bash", f"{INSIDE}/read_only.sh"),
            expected=f"{config['User']} can write to /tmp only",
        ),
        Check(name="programs", command=("bash", f"{INSIDE}/programs.sh"), expected="all there, and no more"),
        Check(name="ray --version", command=("ray", "--version"), expected=ray_version),
        Check(
            name="services.serving --help",
            command=("python", "-m", "services.serving", "--help"),
            expected="--own-cluster",
        ),
        Check(
            name="revision, and a sweep's file",
            command=("python", f"{INSIDE}/revision.py"),
            expected=f"{revision} can run",
        ),
        Check(name="every module", command=("python", f"{INSIDE}/import_all.py"), seconds=300),
        Check(
            name="update from clicks, and a map",
            command=("python", f"{INSIDE}/update_and_map.py", "/tmp"),  # noqa: S108 - in the image
            expected="IoU",
            seconds=600,
        ),
        Check(
            name="a node of a Ray cluster, as KubeRay starts and asks it",
            command=("bash", f"{INSIDE}/ray_node.sh"),
            expected="probes say success, a task ran",
            seconds=300,
        ),
        Check(
            name="the image's own command, and its health check",
            command=(
                *("python", f"{INSIDE}/service.py"),
                config["Healthcheck"]["Test"][1],
                *config["Cmd"],
            ),
            expected="all parts ready",
            seconds=600,
        ),
    ]
