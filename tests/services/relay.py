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
        self._lock = threading.Lock()  # guards the two below
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None  # None: cut
        self.port = self._listen(0)

    def cut(self) -> None:
        """Drop every connection and refuse new ones."""
        with self._lock:
            sockets = self._open if self._listener is None else {self._listener, *self._open}
            self._listener, self._open = None, set()
        for one in sockets:
            _close(one)

    def mend(self) -> None:
        """Pass connections on again."""
        self._listen(self.port)

    def _listen(self, port: int) -> int:
        listener = socket.create_server(("127.0.0.1", port))
        with self._lock:
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            with self._lock:
                is_cut = listener is not self._listener
                if not is_cut:
                    self._open |= {client, server}
            if is_cut:  # while this connection was being made
                _close(client)
                _close(server)
                return
            ours, theirs = (f"127.0.0.1:{port}".encode() for port in (self.port, self._target))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, sink, ours, theirs), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, ours: bytes, theirs: bytes) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk.replace(ours, theirs))
    _close(source)
    _close(sink)


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
