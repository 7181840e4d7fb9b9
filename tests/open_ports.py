"""Which ports processes listen on."""

from __future__ import annotations

import socket
from pathlib import Path


def listening_addresses(pids: set[int]) -> list[tuple[str, int]]:
    """Addresses and ports on which these processes listen for TCP connections."""
    inodes = set()
    for pid in pids:
        try:
            links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
            inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
        except FileNotFoundError:
            continue
    listening = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] != "0A" or fields[9] not in inodes:
                continue
            host, port = fields[1].split(":")
            words = bytes.fromhex(host)
            packed = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
            address = socket.inet_ntop(family, packed).removeprefix("::ffff:")
            listening.append((address, int(port, 16)))
    return listening


def beyond_loopback(pids: set[int]) -> list[int]:
    """Ports of these processes that other machines can reach."""
    return [port for host, port in listening_addresses(pids) if not host.startswith("127.") and host != "::1"]
