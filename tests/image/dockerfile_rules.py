"""Rules that our Dockerfile keeps, each with the words for its breach."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from icss_core.raster.environment import READING
from services.settings import ENV_PREFIX, Settings
from tests.image.dockerfile import Stage, read_dockerfile

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK: Final = "requirements-runtime.lock"
PLACES: Final = ("HOME", "TMPDIR", "CPL_TMPDIR", "MPLCONFIGDIR", "ICSS_CACHE_DIR")
WRITABLE: Final = "/tmp"  # noqa: S108 - in the image
_BUILDERS: Final = re.compile(r"(?<![\w-])(gcc|make|binutils|build-essential|python3-pip|git|\S+-dev)\b")
_LABELS: Final = {"revision": "REVISION", "version": "VERSION", "base.name": "BASE_IMAGE"}


@dataclass(frozen=True, slots=True)
class Read:
    """A Dockerfile whose stages have the names that ours have."""

    text: str
    arguments: dict[str, str]
    stages: list[Stage]

    def named(self, name: str) -> Stage:
        """The stage of this name; an empty one if there is none."""
        return next((stage for stage in self.stages if stage.name == name), Stage("", name))

    @property
    def last(self) -> Stage:
        """What becomes the image, with the stage that it begins as."""
        return self.stages[-1]

    def runs(self, name: str) -> str:
        """All that a stage runs."""
        return " ; ".join(self.named(name).all("RUN"))


def _bases_are_arguments(read: Read) -> bool:
    return {stage.base for stage in read.stages} == {"${BASE_IMAGE}", "base", "base-${VARIANT}"}


def _user_comes_last(read: Read) -> bool:
    keywords = [keyword for keyword, _ in read.last.instructions]
    return "USER" in keywords and not {"RUN", "COPY", "ADD"} & set(keywords[keywords.index("USER") :])


def _packages_are_hashed(read: Read) -> bool:
    installs = re.findall(r"(?:\$pip|pip --python \S+) install ([^;&]*)", read.runs("build"))
    ours = [one for one in installs if one.split()[-1] == "."]
    locked = [
        one for one in installs if LOCK in one and {"--require-hashes", "--no-deps"} <= set(one.split())
    ]
    return len(ours) == len(locked) == 1 and len(installs) == 2 and "--no-deps" in ours[0]


def _small_base(read: Read) -> bool:
    installs = read.runs("base").split("apt-get install")[1:]
    return all("--no-install-recommends" in one for one in installs) and "apt/lists/*" in read.runs("base")


def _labels(read: Read) -> bool:
    labels = read.last.pairs("LABEL")
    return all(labels.get(f"org.opencontainers.image.{name}") == f"${{{of}}}" for name, of in _LABELS.items())


def _known_settings(read: Read) -> bool:
    names = [name for name in read.last.pairs("ENV") if name.startswith(ENV_PREFIX)]
    return {name.removeprefix(ENV_PREFIX).lower() for name in names} <= set(Settings.model_fields)


def _health_check(read: Read) -> bool:
    port = Settings.model_fields["api_port"].default
    address = f'"http://127.0.0.1:${{ICSS_API_PORT:-{port}}}/healthz"'
    return any(address in one and "wget" in one for one in read.last.all("HEALTHCHECK"))


RULES: Final[dict[str, Callable[[Read], bool]]] = {
    "the base is python:3.11-slim-bookworm by default": lambda read: (
        read.arguments.get("BASE_IMAGE") == "python:3.11-slim-bookworm"
    ),
    "all stages begin with an argument or a stage": _bases_are_arguments,
    "no tag is latest": lambda read: "latest" not in read.text,
    "no address of another machine is written down": lambda read: (
        not re.search(r"https?://(?!127\.0\.0\.1)", read.text)
    ),
    "the user is a number, and not root": lambda read: bool(
        re.fullmatch(r"[1-9]\d*:[1-9]\d*", " ".join(read.last.all("USER")))
    ),
    "all is made before the user changes": _user_comes_last,
    "no entry point is in KubeRay's way": lambda read: read.last.all("ENTRYPOINT") == ["[]"],
    "there is one command": lambda read: len(read.last.all("CMD")) == 1,
    "the last stage installs nothing": lambda read: (
        not re.search(r"\b(apt-get|pip)\b", " ".join(read.last.all("RUN")))
    ),
    "no stage but one has tools to build with": lambda read: not _BUILDERS.search(read.runs("base")),
    "KubeRay's probes find their programs": lambda read: (
        {"bash", "wget", "grep"} <= set(read.runs("base").split())
    ),
    "the base has nothing else": _small_base,
    "packages come from the lock, by their hashes": _packages_are_hashed,
    "pip keeps no cache": lambda read: read.named("build").pairs("ENV").get("PIP_NO_CACHE_DIR") == "1",
    "the environment comes from the stage that built it": lambda read: (
        "--from=build /opt/icss /opt/icss" in read.last.all("COPY")
    ),
    "the labels are there": _labels,
    "the services know the revision": lambda read: (
        read.last.pairs("ENV").get("ICSS_REVISION") == "${REVISION}"
    ),
    "what is written is written to /tmp": lambda read: all(
        f"{read.last.pairs('ENV').get(name)}/".startswith(f"{WRITABLE}/") for name in PLACES
    ),
    "each setting is one that the services know": _known_settings,
    "threads share their memory": lambda read: read.last.pairs("ENV").get("MALLOC_ARENA_MAX") == "1",
    "GDAL is set as where a raster is read": lambda read: read.last.pairs("ENV").items() >= READING.items(),
    "a plain run is checked": _health_check,
}


def broken_rules(text: str) -> list[str]:
    """The rules that a Dockerfile does not keep."""
    read = Read(text, *read_dockerfile(text))
    return [rule for rule, holds in RULES.items() if not holds(read)]
