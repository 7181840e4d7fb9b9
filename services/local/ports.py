"""Free ports on the loopback address."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, all different.

    Another program may take one before it is used; the part that wanted it then says so in its log.
    """
    with ExitStack() as held:
        ports = []
        for _ in range(count):
            holder = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            holder.bind(("127.0.0.1", 0))
            ports.append(int(holder.getsockname()[1]))
        return ports
