"""A Dockerfile as stages of instructions, and what a .dockerignore lets through."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stage:
    """From one FROM to the next."""

    base: str
    name: str | None
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        """What follows each instruction of a kind."""
        return [rest for name, rest in self.instructions if name == keyword]

    def only(self, keyword: str) -> str:
        """What follows the only instruction of a kind."""
        (rest,) = self.all(keyword)
        return rest

    def pairs(self, keyword: str) -> dict[str, str]:
        """NAME=value pairs of all ENV, LABEL or ARG instructions."""
        words = [word for rest in self.all(keyword) for word in shlex.split(rest)]
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def copied(self) -> list[str]:
        """What COPY takes from the build's context."""
        copies = [rest.split() for rest in self.all("COPY") if not rest.startswith("--from")]
        return [source.rstrip("/") for words in copies for source in words[:-1]]


def read_dockerfile(text: str) -> tuple[dict[str, str], list[Stage]]:
    """The ARGs before the first stage, and the stages."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    logical = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    first, stages = Stage("", None), []
    for line in filter(None, map(str.strip, logical)):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base.strip(), name.strip() or None))
        else:
            (stages[-1] if stages else first).instructions.append((keyword, rest.strip()))
    return first.pairs("ARG"), stages


def command(rest: str) -> list[str]:
    """CMD or ENTRYPOINT in its exec form."""
    words: list[str] = json.loads(rest)
    return words


def is_sent(dockerignore: str, path: str) -> bool:
    """Whether a file is part of the build's context: the last pattern that matches it, or a folder above it,
    decides.
    """
    sent = True
    parents = ["/".join(path.split("/")[:count]) for count in range(1, path.count("/") + 2)]
    for line in dockerignore.splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            expression = _expression(pattern.removeprefix("!").strip("/"))
            if any(expression.fullmatch(one) for one in parents):
                sent = pattern.startswith("!")
    return sent


def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*)", pattern)
    known = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts))
