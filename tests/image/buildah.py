"""Buildah with a store of its own: base image, build, and the files of an image."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BASE: Final = "localhost/icss-base:bookworm"
SUITE: Final = "bookworm"
MIRROR: Final = "http://deb.debian.org/debian"


class Buildah:
    """Buildah without a daemon, user namespaces or overlays: it works inside of a container too.

    Args:
        folder: for the store; each layer is a full copy of those below it.
    """

    def __init__(self, folder: Path) -> None:
        self._options = [
            *("--root", str(folder / "store"), "--runroot", str(folder / "run")),
            *("--storage-driver", "vfs"),
        ]

    def run(self, *arguments: str) -> str:
        """Run a command of Buildah; returns what it prints, without the messages."""
        command = ["buildah", *self._options, *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def has(self, image: str) -> bool:
        """Whether the store has the image."""
        return image in self.run("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()

    def make_base(self) -> None:
        """The smallest Debian with its Python, as `BASE`."""
        container = self.run("from", "scratch")
        root = self.run("mount", container)
        subprocess.run(
            [
                *("debootstrap", "--variant=minbase", "--include=ca-certificates,python3.11"),
                *(SUITE, root, MIRROR),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for rubbish in ("var/cache/apt/archives", "var/lib/apt/lists"):
            for path in sorted(Path(root, rubbish).rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
        self.run("umount", container)
        self.run("commit", "--quiet", "--rm", "--format", "docker", container, BASE)

    def build(
        self,
        context: Path,
        image: str,
        *,
        arguments: Mapping[str, str],
        volumes: Mapping[str, str],
        log: Path,
    ) -> None:
        """Build a Dockerfile.

        Args:
            context: its folder.
            image: name of the result.
            arguments: values of its ARG lines.
            volumes: folders of this machine that its RUN lines see, by their place there; read only.
            log: what the build says.
        """
        command = ["buildah", *self._options, "build", "--isolation", "chroot", "--no-cache", "--force-rm"]
        command += ["--format", "docker"]  # the OCI's own format has no HEALTHCHECK
        for name, value in arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        for place, folder in volumes.items():
            command += ["--volume", f"{folder}:{place}:ro"]
        with log.open("w") as output:
            subprocess.run(
                [*command, "--tag", image, str(context)], check=True, stdout=output, stderr=subprocess.STDOUT
            )

    def config(self, image: str) -> dict[str, Any]:
        """The image's configuration: Env, User, Cmd, Labels and so on."""
        described = json.loads(self.run("inspect", "--type", "image", image))
        config: dict[str, Any] = described["Docker"]["config"]
        return config

    @contextmanager
    def files(self, image: str) -> Iterator[Path]:
        """The root folder of a container of the image, until the block ends."""
        container = self.run("from", "--pull-never", image)
        try:
            yield Path(self.run("mount", container))
        finally:
            self.run("rm", container)
