"""A TCP relay in front of a server, which can be cut: the server is then away, as after a crash of it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Relay:
    """Passes connections on to a port of this machine, until it is cut and once it is mended.

    MLflow answers only requests to its own address, so that address is put into their headers.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = _listener(0)
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._accept(self._listener)

    def cut(self) -> None:
        """Drop every connection and refuse new ones."""
        with self._lock:
            sockets = {self._listener, *self._open}
            self._open.clear()
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def mend(self) -> None:
        """Pass connections on again."""
        self._listener = _listener(self.port)
        self._accept(self._listener)

    def _accept(self, listener: socket.socket) -> None:
        def accept() -> None:
            while True:
                try:
                    client = listener.accept()[0]
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    return
                with self._lock:
                    self._open |= {client, server}
                ours, theirs = (f"127.0.0.1:{port}".encode() for port in (self.port, self._target))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, sink, ours, theirs), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


def _pump(source: socket.socket, sink: socket.socket, ours: bytes, theirs: bytes) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk.replace(ours, theirs))
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
