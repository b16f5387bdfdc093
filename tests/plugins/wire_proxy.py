"""A proxy of bare TCP before any server, for sync and async clients: it cuts, delays, goes silent and half-closes.

Threads forward, so sync clients may block beside it. ``fault_proxy`` knows requests instead, and gives each a connection of
its own.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.plugins.ports import free_ports

__all__ = ["Link", "WireProxy", "wire_proxy"]

PIECE_BYTES = 65536
RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Link:
    """One connection through the proxy. ``number`` counts them from 1; ``sent`` and ``answered`` are bytes so far."""

    number: int
    client: socket.socket
    server: socket.socket
    sent: int = 0
    answered: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def cut(self) -> None:
        """End it with a reset in both directions."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def half_close(self) -> None:
        """Tell the client that nothing more comes, and listen on."""
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_WR)


class WireProxy:
    """Forwards to ``target`` (an HTTP URL); what is wrong with the network is said by its attributes, at any time.

    refuses: new connections are reset: a client may have sent its request by then, and cannot know who read it.
    is_gone: nobody listens, new connections do not come about. is_silent: nothing is forwarded any more, nothing is
    closed. delay_s: waited before each piece. on_request, on_answer: called with the link before a piece goes on; they
    may ``cut`` it and then return True: the piece is dropped.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        # By its number: a port that was chosen for a socket is given back when that stops to listen.
        (port,) = free_ports(1)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{port}"
        self.refuses = False
        self.is_silent = False
        self.delay_s = 0.0
        self.on_request: Callable[[Link, bytes], bool | None] | None = None
        self.on_answer: Callable[[Link, bytes], bool | None] | None = None
        self.links: list[Link] = []
        self.accepted = 0
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self._listens = threading.Event()
        self._listens.set()

    @property
    def is_gone(self) -> bool:
        """Whether nobody listens."""
        return not self._listens.is_set()

    @is_gone.setter
    def is_gone(self, value: bool) -> None:
        if value and not self.is_gone:
            self._listens.clear()
            self._listener.shutdown(socket.SHUT_RDWR)
        elif not value and self.is_gone:
            self._listener.listen()
            self._listens.set()

    def heals(self) -> None:
        """Nothing goes wrong any more; what is cut stays cut."""
        self.refuses = self.is_silent = self.is_gone = False
        self.delay_s = 0.0
        self.on_request = self.on_answer = None

    def cut_all(self) -> int:
        """Cut every connection there is; gives how many."""
        links = list(self.links)
        for link in links:
            link.cut()
        return len(links)

    def serve(self) -> None:
        """Accept until closed."""
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                self._listens.wait()
                continue
            self.accepted += 1
            if self.refuses:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, timeout=60)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(self.accepted, client, server)
            self.links.append(link)
            for is_request in (True, False):
                thread = threading.Thread(
                    target=self._forward,
                    args=(link, is_request),
                    name=f"link-{link.number}-{'request' if is_request else 'answer'}",
                    daemon=True,
                )
                thread.start()
                self._threads.append(thread)

    def _forward(self, link: Link, is_request: bool) -> None:
        source, target = (link.client, link.server) if is_request else (link.server, link.client)
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                if self.delay_s:
                    time.sleep(self.delay_s)
                while self.is_silent and not self._is_closed:
                    time.sleep(0.01)
                judge = self.on_request if is_request else self.on_answer
                if judge is not None and judge(link, piece):
                    continue
                target.sendall(piece)
                if is_request:
                    link.sent += len(piece)
                else:
                    link.answered += len(piece)
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)
            if is_request:
                return
        if link in self.links:
            with contextlib.suppress(ValueError):
                self.links.remove(link)
        link.cut()

    def close(self) -> None:
        """End everything."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listens.set()
        self.cut_all()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def wire_proxy(target: str) -> Iterator[WireProxy]:
    """A running proxy before the server at ``target``."""
    proxy = WireProxy(target)
    accepting = threading.Thread(target=proxy.serve, daemon=True)
    accepting.start()
    try:
        yield proxy
    finally:
        proxy.close()
        accepting.join(10)
