"""Sockets that an app took over, byte by byte, on both event loops: who closes, who is cut off, and what nobody may lose."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from isobase_deploy.websocket import WebSocketProtocol
from isobase_deploy.websocket import socket as adopted
from isobase_deploy.websocket.protocol import UNACKNOWLEDGED_TIMEOUT_MS, give_up_on_silence
from isobase_platform.http.raw_socket import EXTENSION, RawSocket, adopter
from tests.deploy.test_websocket_reader import masked

TIMEOUT_S = 60.0
MAX_MESSAGE_BYTES = 1_000_000

HANDSHAKE = (
    b"GET /%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass
class App:
    """Echoes what it gets, and does what ``close CODE``, ``hold`` and ``flood COUNT SIZE`` say."""

    messages: list[str | bytes] = field(default_factory=list)
    paused: threading.Event = field(default_factory=threading.Event)
    ended: list[str] = field(default_factory=list)
    has_ended: threading.Event = field(default_factory=threading.Event)
    is_deciding: threading.Event = field(default_factory=threading.Event)
    has_decided: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket."""
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] != "/slow/after":
            await self._decide(scope["path"])
        await send({"type": "websocket.accept"})
        if scope["path"] == "/slow/after":
            await self._decide(scope["path"])
        if scope["path"] == "/slow/asgi":
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            return
        adopt = adopter(scope)
        assert adopt is not None
        handler = _Handler(self, scope["path"])
        handler.socket = adopt(handler)
        assert EXTENSION not in scope["extensions"]

    async def _decide(self, path: str) -> None:
        if path.startswith("/slow"):
            self.is_deciding.set()
            while not self.has_decided.is_set():
                await asyncio.sleep(0.01)


class _Handler:
    def __init__(self, app: App, path: str) -> None:
        self._app = app
        self._path = path
        self.socket: RawSocket | None = None

    def message_received(self, message: str | bytes) -> None:
        assert self.socket is not None
        self._app.messages.append(message)
        content = message.encode() if isinstance(message, str) else message
        match content.split():
            case [b"close", code]:
                self.socket.close(int(code))
            case [b"hold"]:
                self.socket.hold_reading()
                asyncio.get_running_loop().call_later(0.1, self.socket.resume_reading)
            case [b"flood", count, size]:
                for _ in range(int(count)):
                    self.socket.write(frame(b"x" * int(size)))
            case _:
                self.socket.write(frame(content))

    def writing_paused(self) -> None:
        self._app.paused.set()

    def writing_resumed(self) -> None:
        self._app.paused.clear()

    def socket_ended(self) -> None:
        self._app.ended.append(self._path)
        self._app.has_ended.set()


def frame(content: bytes) -> bytes:
    """A server's text frame."""
    size = len(content)
    return (b"\x81" + bytes((size,)) if size < 126 else b"\x81\x7f" + struct.pack("!Q", size)) + content


class Client:
    """A plain connection after its handshake."""

    def __init__(self, port: int, path: str = "", before: Callable[[socket.socket], None] | None = None) -> None:
        self.raw = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.raw.sendall(HANDSHAKE % path.encode())
        if before is not None:
            before(self.raw)
        self.held = b""
        while b"\r\n\r\n" not in self.held:
            self.held += self._more()
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")

    def _more(self) -> bytes:
        data = self.raw.recv(65536)
        if not data:
            raise ConnectionError("the server has closed")
        return data

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        while len(self.held) < size:
            self.held += self._more()
        data, self.held = self.held[:size], self.held[size:]
        return data

    def at_end(self) -> bool:
        """True when the server has closed and nothing is left."""
        return not self.held and self.raw.recv(1) == b""


@dataclass
class Running:
    """A server in a thread, with its app."""

    app: App
    server: uvicorn.Server
    port: int
    thread: threading.Thread

    def connect(self) -> Client:
        """A client's connection."""
        return Client(self.port)

    def wait_for_end(self) -> None:
        """Until the app was told that a socket ended."""
        assert self.app.has_ended.wait(TIMEOUT_S)


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


@pytest.fixture(params=LOOPS)
def running(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server on each kind of loop."""
    monkeypatch.setattr(adopted, "CLOSE_TIMEOUT_S", 1.0)
    app = App()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        ws=WebSocketProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)

    def serve() -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(server.serve(sockets=[listener]))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Running(app, server, listener.getsockname()[1], thread)
    finally:
        server.should_exit = True
        thread.join(TIMEOUT_S)
        listener.close()
    assert not thread.is_alive()


def test_messages_pings_and_fragments_are_answered_in_order(running: Running) -> None:
    client = running.connect()
    client.raw.sendall(masked(0x81, b"one") + masked(0x89, b"p") + masked(0x01, b"t") + masked(0x89, b"") + b"")
    client.raw.sendall(masked(0x80, b"wo") + masked(0x8A, b"unasked"))
    assert client.take(5) == frame(b"one")
    assert client.take(3) == b"\x8a\x01p"
    assert client.take(2) == b"\x8a\x00"
    assert client.take(5) == frame(b"two")
    client.raw.close()
    running.wait_for_end()


def test_a_chunk_of_many_messages_is_answered_whole(running: Running) -> None:
    client = running.connect()
    client.raw.sendall(b"".join(masked(0x81, b"%d" % number) for number in range(1000)))
    expected = b"".join(frame(b"%d" % number) for number in range(1000))
    assert client.take(len(expected)) == expected
    client.raw.close()


@pytest.mark.parametrize("path", ["slow", "slow/asgi"])
def test_frames_that_come_before_the_app_has_decided_are_not_lost(running: Running, path: str) -> None:
    def hasty(raw: socket.socket) -> None:
        assert running.app.is_deciding.wait(TIMEOUT_S)
        raw.sendall(masked(0x81, b"early"))
        raw.sendall(masked(0x81, b"still")[:3])
        running.app.has_decided.set()

    client = Client(running.port, path, hasty)
    client.raw.sendall(masked(0x81, b"still")[3:])
    assert client.take(14) == frame(b"early") + frame(b"still")
    client.raw.close()


def test_a_client_that_leaves_before_the_app_takes_its_socket_ends(running: Running) -> None:
    for path, ended in ((b"slow", []), (b"slow/after", ["/slow/after"])):
        running.app.is_deciding.clear()
        running.app.has_decided.clear()
        raw = socket.create_connection(("127.0.0.1", running.port))
        raw.sendall(HANDSHAKE % path)
        assert running.app.is_deciding.wait(TIMEOUT_S)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
        while running.server.server_state.connections:
            time.sleep(0.01)
        running.app.has_decided.set()
        while running.server.server_state.tasks:
            time.sleep(0.01)
        if ended:
            running.wait_for_end()
        assert running.app.ended == ended


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"", b"\x88\x00"), (b"\x03\xe8", b"\x88\x02\x03\xe8"), (b"\x0f\xa0bye", b"\x88\x02\x0f\xa0")],
    ids=["no code", "1000", "4000 with a reason"],
)
def test_a_clients_close_is_answered_with_its_code(running: Running, sent: bytes, answer: bytes) -> None:
    client = running.connect()
    client.raw.sendall(masked(0x88, sent))
    assert client.take(len(answer)) == answer
    assert client.at_end()
    running.wait_for_end()
    client.raw.close()


def test_the_servers_close_waits_for_the_clients(running: Running) -> None:
    client = running.connect()
    client.raw.sendall(masked(0x81, b"close 1013") + masked(0x81, b"not for you any more"))
    assert client.take(4) == b"\x88\x02" + (1013).to_bytes(2, "big")
    assert not running.app.ended
    client.raw.sendall(masked(0x81, b"nor this") + masked(0x88, (1013).to_bytes(2, "big")))
    assert client.at_end()
    running.wait_for_end()
    assert running.app.messages == ["close 1013"]
    client.raw.close()


def test_a_client_that_does_not_answer_a_close_is_cut_off(running: Running) -> None:
    client = running.connect()
    client.raw.sendall(masked(0x81, b"close 1000"))
    assert client.take(4) == b"\x88\x02\x03\xe8"
    running.wait_for_end()
    client.raw.close()


def test_a_client_that_reads_nothing_pauses_writing_and_is_cut_off(running: Running) -> None:
    client = running.connect()
    client.raw.sendall(masked(0x81, b"flood 100 1000000"))
    assert running.app.paused.wait(TIMEOUT_S)
    client.raw.sendall(b"".join(masked(0x89, b"x" * 125) for _ in range(1000)))  # answers to these would only add to it
    client.raw.sendall(masked(0x88, b""))
    running.wait_for_end()
    client.raw.close()


def test_what_was_written_before_a_close_arrives(running: Running) -> None:
    client = running.connect()
    client.raw.sendall(masked(0x81, b"flood 50 100000") + masked(0x81, b"close 1012"))
    one = frame(b"x" * 100_000)
    for _ in range(50):
        assert client.take(len(one)) == one
    assert client.take(4) == b"\x88\x02" + (1012).to_bytes(2, "big")
    client.raw.close()


@pytest.mark.parametrize(
    ("sent", "code"),
    [(b"\x81\x01x", 1002), (masked(0x81, b"\xff"), 1007), (masked(0x82, b"", length=MAX_MESSAGE_BYTES + 1), 1009)],
    ids=["1002", "1007", "1009"],
)
def test_a_broken_protocol_is_told_even_while_the_client_still_sends(running: Running, sent: bytes, code: int) -> None:
    client = running.connect()
    client.raw.sendall(masked(0x81, b"one") + sent)
    client.raw.sendall(b"\x00" * 3_000_000)
    assert client.take(9) == frame(b"one") + b"\x88\x02" + code.to_bytes(2, "big")
    assert client.at_end()
    running.wait_for_end()
    client.raw.close()


def test_half_a_connection_ends_the_whole(running: Running) -> None:
    client = running.connect()
    client.raw.shutdown(socket.SHUT_WR)
    assert client.at_end()
    running.wait_for_end()
    client.raw.close()


def test_held_messages_come_after_resuming(running: Running) -> None:
    client = running.connect()
    client.raw.sendall(masked(0x81, b"hold") + masked(0x81, b"a") + masked(0x89, b""))
    client.raw.sendall(masked(0x81, b"b"))
    assert client.take(8) == frame(b"a") + b"\x8a\x00" + frame(b"b")
    client.raw.close()


def test_the_end_of_the_server_closes_sockets_with_1012(running: Running) -> None:
    client = running.connect()
    client.raw.sendall(masked(0x81, b"one"))
    assert client.take(5) == frame(b"one")
    running.server.should_exit = True
    assert client.take(4) == b"\x88\x02" + (1012).to_bytes(2, "big")
    client.raw.sendall(masked(0x88, (1012).to_bytes(2, "big")))
    assert client.at_end()
    running.thread.join(TIMEOUT_S)
    assert not running.thread.is_alive()
    client.raw.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux ends connections by this option")
async def test_a_client_that_is_gone_without_a_word_is_given_up_by_the_kernel() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    give_up_on_silence(writer.transport)
    connected = writer.get_extra_info("socket")
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNACKNOWLEDGED_TIMEOUT_MS
    writer.close()
    server.close()
