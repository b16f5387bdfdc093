"""Servers for the tests of the transport: plain sockets that answer as a test says, one thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from isobase import Client
from tests.plugins.stack import Stack

PASSWORD = "correct horse battery staple"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"


@dataclass
class Heard:
    """One request as the server heard it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WireServer:
    """An HTTP server made of sockets. ``answer(heard, number)`` gives the bytes to send, or None to cut the connection.

    ``act`` may be set instead, to have the socket itself.
    """

    url: str
    answer: Callable[[Heard, int], bytes | None] = lambda _heard, _number: OK
    act: Callable[[socket.socket, Heard, int], None] | None = None
    refuse_bodies_with: bytes | None = None
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    ended: int = 0
    """How many connections the server itself has closed."""
    closing: threading.Event = field(default_factory=threading.Event)


def _read_request(peer: socket.socket, refusal: bytes | None) -> Heard | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = peer.recv(65536)
        if not more:
            return None
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    if refusal is not None and "content-length" in headers:
        peer.sendall(refusal)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):  # else the client gets a reset before it can read
            pass
        return None
    while len(body) < int(headers.get("content-length", "0")):
        body += peer.recv(65536)
    return Heard(method, target, headers, body)


def _serve(server: WireServer, peer: socket.socket) -> None:
    try:
        _answer(server, peer)
    finally:
        peer.close()
        server.ended += 1


def _answer(server: WireServer, peer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while (heard := _read_request(peer, server.refuse_bodies_with)) is not None:
            server.heard.append(heard)
            number = len(server.heard)
            if server.act is not None:
                server.act(peer, heard, number)
                return
            answer = server.answer(heard, number)
            if answer is None:
                return
            peer.sendall(answer)


@pytest.fixture
def wire() -> Iterator[WireServer]:
    """A server that answers ``[]`` until the test says else."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = WireServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
    peers: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                server.connections += 1
                peers.append(peer)
                threading.Thread(target=_serve, args=(server, peer), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server
    server.closing.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for peer in peers:
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
    thread.join()


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """An address where nobody listens, which nobody else is given meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def answer(body: bytes = b"[]", status: str = "200 OK", *headers: str) -> bytes:
    """An answer with a body of a length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def drip(server: WireServer, peer: socket.socket, *, head: bytes, piece: bytes, pause_s: float = 0.05) -> None:
    """Answer with ``head``, then with ``piece`` again and again until the client goes or the test ends."""
    with contextlib.suppress(OSError):
        peer.sendall(head)
        while not server.closing.wait(pause_s):
            peer.sendall(piece)


@pytest.fixture(scope="session")
def email(stack: Stack) -> str:
    """The address of a user of the running stack; its password is ``PASSWORD``."""
    address = "core@example.com"
    with Client(stack.url, stack.service_role_key) as admin:
        admin.auth.admin.create_user({"email": address, "password": PASSWORD, "email_confirm": True})
    return address
