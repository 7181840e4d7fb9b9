"""Machines of a cluster on this one: each a network namespace with an address of its own, joined by a bridge.

What runs on one reaches the others by the network only, and a machine can be lost as a real one is: its
network is cut first, so that nobody hears of its end. Where namespaces cannot be made (not root, or no `ip`),
machines are processes on loopback, and are lost without that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

NETWORK: Final = "10.213.77"
"""First three bytes of all addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where processes of one machine run."""

    name: str
    address: str
    prefix: tuple[str, ...]
    """Before each command."""


class Machines(Protocol):
    """Makes machines, and cuts them off."""

    host: str
    """Address of this machine, which all others reach."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def add(self) -> Machine:
        """A new one."""

    def cut_off(self, machine: Machine) -> None:
        """Let no packet to or from a machine pass any more."""

    def remove(self, machine: Machine) -> None:
        """Take a machine away, whose processes have ended."""


class Namespaces:
    """Machines as network namespaces."""

    host = f"{NETWORK}.1"

    def __init__(self) -> None:
        self._bridge = f"icss{os.getpid() % 100_000}"
        self._made = 0
        self._names: list[str] = []

    @staticmethod
    def possible() -> bool:
        """Whether this process may make them."""
        if os.getuid() != 0 or shutil.which("ip") is None:
            return False
        probe = f"icss-probe-{os.getpid()}"
        made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False)
        if made.returncode == 0:
            subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
        return made.returncode == 0

    def __enter__(self) -> Self:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self.host}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)
        _ip("link", "del", self._bridge)

    def add(self) -> Machine:
        self._made += 1
        number = self._made
        name, outside = f"{self._bridge}n{number}", f"{self._bridge}v{number}"
        address = f"{NETWORK}.{10 + number}"
        _ip("netns", "add", name)
        self._names.append(name)
        _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", outside, "master", self._bridge, "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        return Machine(name=name, address=address, prefix=("ip", "netns", "exec", name))

    def cut_off(self, machine: Machine) -> None:
        _ip("-n", machine.name, "link", "set", "eth0", "down")

    def remove(self, machine: Machine) -> None:
        _ip("netns", "del", machine.name)
        self._names.remove(machine.name)


class Loopback:
    """Machines as processes of this one."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add(self) -> Machine:
        self._made += 1
        return Machine(name=f"process {self._made}", address=self.host, prefix=())

    def cut_off(self, machine: Machine) -> None:
        pass

    def remove(self, machine: Machine) -> None:
        pass


def _ip(*arguments: str) -> None:
    command: Sequence[str] = ["ip", *arguments]
    subprocess.run(command, check=True, capture_output=True)
