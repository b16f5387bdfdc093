"""The load generator: one process, one epoll, raw sockets; it carries out the orders of ``orders`` that come over a pipe.

Of a frame it reads the header, and of a sampled socket's frames the time stamp in them. Sockets are bound to several source
addresses, as one address has 28,000 ports. Only loopback addresses are ever connected to.
"""

from __future__ import annotations

import base64
import os
import resource
import select
import socket
import time
from collections.abc import Container
from multiprocessing.connection import Connection

from benchmarks.realtime.frames import (
    MARKER,
    STAMP_DIGITS,
    Version,
    broadcast,
    heartbeat,
    join,
    split_frames,
    track,
)
from benchmarks.realtime.orders import (
    Close,
    Collect,
    Counted,
    Failed,
    Hold,
    Latency,
    Open,
    Opened,
    Order,
    Publish,
    Track,
)

__all__ = ["SPARE_FILES", "allow_files", "run"]

SPARE_FILES = 500
READ_BYTES = 16 * 1024
SOCKETS_PER_ADDRESS = 10_000
OPEN_TIMEOUT_S = 120.0
STALL_TIMEOUT_S = 10.0
BEAT_INTERVAL_S = 25.0
BEAT_TIMEOUT_S = 20.0
MAX_EVENTS = 1_024
_CLOSING, _SPACE = 0x88, 0x20
_READY = {
    "accept": b"",
    "reply": b'"phx_reply"',
    "changes": b"Subscribed to PostgreSQL",
    "room": b'"action":"joinRoom"',
}
"""What the last frame holds that a new socket waits for."""


class SwarmError(Exception):
    """A server refused, closed or did not answer."""


def allow_files(files: int) -> None:
    """Let this process and those it starts have ``files`` open files. Only root may go beyond the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(hard, files)))


def run(pipe: Connection, core: int | None) -> None:
    """Carry out orders until the pipe closes."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    swarm = Swarm()
    while True:
        try:
            order: Order = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(swarm.carry_out(order))
        except (SwarmError, OSError) as error:
            swarm.close()
            pipe.send(Failed(f"{type(order).__name__}: {error}"))


class _Greeting:
    """A socket that is not ready yet."""

    __slots__ = ("data", "is_accepted", "joins", "left", "started_s")

    def __init__(self, joins: bytes, left: int) -> None:
        self.data = b""
        self.joins = joins
        self.left = left
        self.is_accepted = False
        self.started_s = time.monotonic()


class Swarm:
    """All sockets of the load generator, by their file descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._rests: dict[int, bytes] = {}
        self._groups: list[Open] = []
        self._group_of: dict[int, int] = {}
        self._sampled: set[int] = set()
        self._latencies: list[list[int]] = []
        self._received = 0
        self._last_us = 0
        self._opened = 0
        self._publisher_fd = -1

    def carry_out(self, order: Order) -> Opened | Counted | None:
        """Do one thing; raises ``SwarmError``."""
        match order:
            case Open():
                return self._open(order)
            case Publish():
                return self._publish(order)
            case Collect():
                return self._collect(order)
            case Track():
                return self._track(order)
            case Hold():
                self._hold(order.seconds)
            case Close():
                self.close()
        return None

    def close(self) -> None:
        """Close every socket."""
        for one in self._sockets.values():
            one.close()
        self._epoll.close()
        self.__init__()  # type: ignore[misc]

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self, order: Open) -> Opened:
        group = len(self._groups)
        self._groups.append(order)
        self._latencies.append([])
        greetings: dict[int, _Greeting] = {}
        taken_us: list[int] = []
        started_s = beaten_s = time.monotonic()
        made = 0
        while made < order.sockets or greetings:
            while made < order.sockets and len(greetings) < order.window:
                fd, greeting = self._connect(order, made)
                greetings[fd] = greeting
                self._group_of[fd] = group
                if made % order.sample_every == 0:
                    self._sampled.add(fd)
                made += 1
            if time.monotonic() - beaten_s > BEAT_INTERVAL_S:
                beaten_s = time.monotonic()
                self._send_beats(but=greetings)
            if time.monotonic() - started_s > OPEN_TIMEOUT_S:
                raise SwarmError(f"{len(greetings)} sockets were not ready in time, {made} were begun")
            for fd, _ in self._epoll.poll(1.0, MAX_EVENTS):
                data = self._recv(fd)
                greeting_or_none = greetings.get(fd)
                if greeting_or_none is not None and self._greet(fd, greeting_or_none, data, order):
                    taken_us.append(round((time.monotonic() - greeting_or_none.started_s) * 1e6))
                    del greetings[fd]
        return Opened(time.monotonic() - started_s, Latency.of(taken_us))

    def _connect(self, order: Open, number: int) -> tuple[int, _Greeting]:
        token = order.tokens[number % len(order.tokens)] if order.tokens else order.apikey
        joins = b"".join(
            join(
                order.version,
                order.topic.format(socket=self._opened, channel=channel),
                order.config,
                token,
                str(channel + 1),
            )
            for channel in range(order.channels if order.awaits != "accept" else 0)
        )
        greeting = _Greeting(joins, order.channels if order.awaits != "accept" else 0)
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.bind((f"127.0.0.{2 + self._opened // SOCKETS_PER_ADDRESS}", 0))
        one.settimeout(STALL_TIMEOUT_S)
        one.connect(("127.0.0.1", order.port))
        one.setblocking(False)
        version = "" if order.version in ("none", "simple") else f"?apikey={order.apikey}&vsn={order.version}"
        one.send(
            f"GET {order.path}{version} HTTP/1.1\r\nHost: {order.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._sockets[one.fileno()] = one
        self._epoll.register(one.fileno(), select.EPOLLIN)
        self._opened += 1
        return one.fileno(), greeting

    def _greet(self, fd: int, greeting: _Greeting, data: bytes, order: Open) -> bool:
        """Take what a new socket was sent; True once it is ready."""
        greeting.data += data
        if not greeting.is_accepted:
            head, found, rest = greeting.data.partition(b"\r\n\r\n")
            if not found:
                return False
            if not head.startswith(b"HTTP/1.1 101"):
                raise SwarmError(f"refused: {greeting.data[:300]!r}")
            greeting.is_accepted, greeting.data = True, rest
            if greeting.joins:
                self._sockets[fd].send(greeting.joins)
        used = 0
        for opcode, payload, used in split_frames(greeting.data):  # noqa: B007  where the last one ended
            if opcode == 8:
                raise SwarmError(f"closed: {payload!r}")
            if b'"status":"error"' in payload or b'"ok":false' in payload:
                raise SwarmError(payload[:400].decode("utf-8", "replace"))
            if _READY[order.awaits] in payload:
                greeting.left -= 1
        greeting.data = greeting.data[used:]
        if greeting.left > 0:
            return False
        if greeting.data:
            self._rests[fd] = greeting.data
        return True

    def _recv(self, fd: int) -> bytes:
        data = os.read(fd, READ_BYTES)
        if not data:
            raise SwarmError("a socket was closed by the server")
        return data

    # -- counting -----------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Begin to count anew."""
        self._received = self._last_us = 0
        for one in self._latencies:
            one.clear()

    def _drain(self) -> None:
        """Read and forget what still comes of the time before."""
        while self._count(0.05):
            pass

    def _count(self, timeout_s: float) -> int:
        """Wait for frames and count them; returns how many came. The loop of every measurement."""
        read, rests, sampled, group_of = os.read, self._rests, self._sampled, self._group_of
        before = self._received
        for fd, _ in self._epoll.poll(timeout_s, MAX_EVENTS):
            data = read(fd, READ_BYTES)
            if not data:
                raise SwarmError("a socket was closed by the server")
            if fd == self._publisher_fd:
                continue  # answers, which nobody measures
            if fd in rests:
                data = rests.pop(fd) + data
            position, end, found = 0, len(data), 0
            while end - position >= 2:
                size = data[position + 1]
                stop = position + 2 + size
                if size >= 126:
                    wide = 2 if size == 126 else 8
                    stop = position + 2 + wide + int.from_bytes(data[position + 2 : position + 2 + wide])
                if stop > end:
                    break
                if data[position] == _CLOSING:
                    raise SwarmError(f"closed: {data[position + 2 : stop]!r}")
                found += 1
                position = stop
            if position < end:
                rests[fd] = data[position:]
            self._received += found
            if fd in sampled and found:
                self._sample(data, position, self._latencies[group_of[fd]])
        return self._received - before

    def _sample(self, data: bytes, end: int, latencies: list[int]) -> None:
        now_us = self._last_us = time.time_ns() // 1000
        at = data.find(MARKER, 0, end)
        while at >= 0:
            at += len(MARKER)
            if data[at] == _SPACE:
                at += 1
            latencies.append(now_us - int(data[at : at + STAMP_DIGITS]))
            at = data.find(MARKER, at, end)

    def _counted(self, sent: int, expected: int, seconds: float) -> Counted:
        latencies = tuple(Latency.of(one) for one in self._latencies)
        return Counted(sent, self._received, expected, seconds, self._last_us, latencies)

    # -- broadcasts ---------------------------------------------------------------------------------------------------

    def _publish(self, order: Publish) -> Counted:
        self._drain()
        self._forget()
        receivers = len(self._sockets) - 1
        first = self._groups[0]
        publisher = next(iter(self._sockets.values()))
        self._publisher_fd = publisher.fileno()
        filling = "x" * order.filling_bytes
        started_s = last_s = time.monotonic()
        sent = 0
        while True:
            now_s = time.monotonic()
            if now_s - started_s >= order.seconds:
                break
            due = (
                sent / order.per_s <= now_s - started_s
                if order.per_s
                else sent * receivers - self._received <= (order.outstanding - 1) * receivers
            )
            if due:
                publisher.send(broadcast(first.version, first.topic, time.time_ns() // 1000, filling))
                sent += 1
                continue
            wait_s = sent / order.per_s - (now_s - started_s) if order.per_s else 1.0
            if self._count(max(wait_s, 0.0)):
                last_s = time.monotonic()
            elif time.monotonic() - last_s > STALL_TIMEOUT_S:
                raise SwarmError(f"{self._received} of {sent * receivers} frames came, then none")
        expected = sent * receivers
        while self._received < expected:
            if self._count(0.5):
                last_s = time.monotonic()
            elif time.monotonic() - last_s > STALL_TIMEOUT_S:
                break
        # At a given pace the time is that of sending, or longer where the receivers lag behind.
        return self._counted(sent, expected, max(last_s - started_s, order.seconds if order.per_s else 0.0))

    def _collect(self, order: Collect) -> Counted:
        """Counts marked frames, so that heartbeats may go on beside them; every socket is sampled."""
        self._forget()
        started_s = beaten_s = time.monotonic()
        while self._marked < order.expected and (now_s := time.monotonic()) - started_s < order.timeout_s:
            self._count(0.2)
            if now_s - beaten_s > BEAT_INTERVAL_S:
                self._send_beats()
                beaten_s = now_s
        self._received = self._marked
        return self._counted(0, order.expected, time.monotonic() - started_s)

    @property
    def _marked(self) -> int:
        return sum(len(one) for one in self._latencies)

    # -- presence and life --------------------------------------------------------------------------------------------

    def _track(self, order: Track) -> Counted:
        self._drain()
        started_s = time.monotonic()
        for number, (fd, one) in enumerate(self._sockets.items()):
            group = self._groups[self._group_of[fd]]
            one.send(track(group.version, group.topic, f'{{"name":"member {number}"}}'))
        expected, heard, frames = len(self._sockets) ** 2, 0, 0
        while heard < expected and time.monotonic() - started_s < order.timeout_s:
            for fd, _ in self._epoll.poll(0.2, MAX_EVENTS):
                data = self._rests.pop(fd, b"") + self._recv(fd)
                used = 0
                for _, payload, used in split_frames(data):  # noqa: B007  where the last one ended
                    if b"presence_diff" in payload:
                        frames += 1
                        heard += payload.count(b'"phx_ref"')
                if used < len(data):
                    self._rests[fd] = data[used:]
        return Counted(frames, heard, expected, time.monotonic() - started_s, time.time_ns() // 1000, ())

    def _hold(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        self._beat()
        beaten_s = time.monotonic()
        while (now_s := time.monotonic()) < until_s:
            if now_s - beaten_s > BEAT_INTERVAL_S:
                self._beat()
                beaten_s = now_s
            self._count(min(until_s - now_s, 1.0))

    def _send_beats(self, but: Container[int] | None = None) -> int:
        """A heartbeat from every socket; returns how many were sent. With ``but``, sockets to leave out, nothing is read."""
        frames: dict[Version, bytes] = {"1.0.0": heartbeat("1.0.0"), "2.0.0": heartbeat("2.0.0")}
        sent = 0
        for fd, one in self._sockets.items():
            frame = frames.get(self._groups[self._group_of[fd]].version)
            if frame is not None and (but is None or fd not in but):
                one.send(frame)
                sent += 1
                if but is None:
                    self._count(0.0)
        return sent

    def _beat(self) -> None:
        """A heartbeat from every socket, each answered."""
        self._drain()
        before, started_s = self._received, time.monotonic()
        sent = self._send_beats()
        while self._received - before < sent:
            self._count(0.5)
            if time.monotonic() - started_s > BEAT_TIMEOUT_S:
                raise SwarmError(f"{self._received - before} of {sent} heartbeats were answered")
