"""`make image-test`: build the image for real, and try it out: `python -m tests.image cpu cuda`.

Base is a Debian made by debootstrap, the builder is Buildah, and neither needs a daemon or a registry of
images. Each variant is built, measured, and run read-only as its user (`read_only_root`); the process ends
with 1 if a check fails. It needs root, takes minutes, and is no part of `make test`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.image.buildah import BASE, Buildah
from tests.image.checks import Check, checks
from tests.image.faults import faults
from tests.image.host import MissingError, prepare_host
from tests.image.pip_settings import pip_settings
from tests.image.read_only_root import ReadOnlyRoot
from tests.image.sizes import bytes_below, largest_folders

REPOSITORY: Final = Path(__file__).resolve().parent.parent.parent
VARIANTS: Final = ("cpu", "cuda")
MB: Final = 10**6


def say(text: str) -> None:
    """Print at once, also into a file."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def revision() -> str:
    """The commit of the checkout, with "-dirty" after it where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.strip()


def try_variant(buildah: Buildah, variant: str, folder: Path) -> list[str]:
    """Build and check one variant; returns what is wrong with it."""
    image, log, commit = f"localhost/icss:{variant}", folder / f"build-{variant}.log", revision()
    pip_arguments, volumes = pip_settings(folder / "certificates")
    began = time.monotonic()
    try:
        buildah.build(
            REPOSITORY,
            image,
            arguments={"BASE_IMAGE": BASE, "VARIANT": variant, "REVISION": commit, **pip_arguments},
            volumes=volumes,
            log=log,
        )
    except subprocess.CalledProcessError:
        say("\n".join(log.read_text(errors="replace").splitlines()[-30:]))
        raise
    say(f"{variant}: built in {time.monotonic() - began:.0f} s")
    config = buildah.config(image)
    with buildah.files(image) as root:
        say(f"{variant}: {bytes_below(root) / MB:.0f} MB; the ten largest folders:")
        for size, path in largest_folders(root):
            say(f"  {size / MB:6.0f} MB  /{path}")
        failed = faults(root, config, revision=commit)
        failed += run_checks(
            ReadOnlyRoot(root, config, folder), checks(config, ray_version=ray_version(), revision=commit)
        )
    return [f"{variant}: {name}" for name in failed]


def run_checks(inside: ReadOnlyRoot, wanted: list[Check]) -> list[str]:
    """Run checks; returns the names of those that failed."""
    failed = []
    for check in wanted:
        done = inside.run(*check.command, timeout=check.seconds)
        passed = done.code == 0 and check.expected in done.output
        last = done.output.splitlines()[-1] if passed and done.output else ""
        say(f"  {'passed' if passed else 'FAILED'} {done.seconds:6.1f} s  {check.name}: {last}")
        if not passed:
            failed.append(check.name)
            say(f"    exit code {done.code}, expected {check.expected!r}; it printed:\n{done.output}")
    return failed


def ray_version() -> str:
    """The version that the lock file names."""
    lock = (REPOSITORY / "requirements-runtime.lock").read_text(encoding="utf-8")
    return re.findall(r"^ray(?:\[.*\])?==(\S+)", lock, flags=re.MULTILINE)[0]


def main() -> None:
    """Try all variants that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.image", description="Build the image and try it.")
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="cpu, cuda; both if none is named")
    parser.add_argument(
        "--work", type=Path, help="folder for the images, which stay (default: a temporary one)"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.variants) - set(VARIANTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    with tempfile.TemporaryDirectory(prefix="icss-image-", dir="/var/tmp") as temporary:
        folder = arguments.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            prepare_host(folder)
        except MissingError as error:
            raise SystemExit(str(error)) from error
        buildah = Buildah(folder)
        if not buildah.has(BASE):
            buildah.make_base()
        failed = [
            name
            for variant in arguments.variants or VARIANTS
            for name in try_variant(buildah, variant, folder)
        ]
    if failed:
        raise SystemExit(f"failed: {'; '.join(failed)}")
    say("the image passes")


if __name__ == "__main__":
    main()
