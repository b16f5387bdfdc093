"""Bad weather for whole clients: every connection and every piece of bytes may meet a fault, and the network as a whole too.

``Weather`` breaks what goes through a ``WireProxy``: on the way there, on the way back, at a byte in the middle, by
resets, half-closes either way, silence that outlasts a call, drips, and requests that arrive a second time. Which fault a
piece meets is chosen by the seed, the connection's number and the piece's; gusts (all connections cut, none accepted, all
silent, and what a test adds: a killed server) follow one another by the seed alone. ``Storm`` is the smaller one, for
calls of one kind.
"""

from __future__ import annotations

import contextlib
import enum
import random
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.plugins.wire_proxy import Link, WireProxy

__all__ = ["Fault", "Weather", "may_come_twice"]

DRIP_BYTES = 40
DRIP_S = 0.004
LONGEST_DELAY_S = 0.25
LATEST_COPY_S = 0.6
COPY_TIMEOUT_S = 5.0
GUST_S = (0.2, 0.7)
CALM_S = (0.3, 0.9)
HISTORY = 400


class Fault(enum.Enum):
    """What a piece of bytes meets."""

    CUT_BEFORE = "reset before it"
    CUT_AFTER = "reset after it"
    CUT_INSIDE = "reset in its middle"
    END_INSIDE = "closed in its middle, without a reset"
    HALF_CLOSE = "its receiver is told that nothing follows"
    HALF_CLOSE_BACK = "its sender is told that nothing comes back"
    FREEZE = "held for longer than a call has, then it goes on"
    DELAY = "held for a moment"
    DRIP = "passed on byte by byte"
    TWICE = "arrives a second time, on a connection of its own"


def may_come_twice(piece: bytes) -> bool:
    """Whether these bytes are a whole request that a server has to do once however often it comes: a read, a write with
    an idempotency key, the exchange of a refresh token.
    """
    head, end, body = piece.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
    if not end or len(body) != length or any(line.startswith(b"upgrade:") for line in lines):
        return False
    has_key = any(line.startswith(b"idempotency-key:") for line in lines)
    return lines[0].startswith(b"get ") or has_key or b"grant_type=refresh_token" in lines[0]


class Weather:
    """Breaks ``network``, which leads to ``server_url``, from ``begin`` to ``end``.

    rate: how many of the pieces meet a fault. freeze_s: how long a held piece and a silent network last. blows: more
    gusts by name, each called in a thread of the weather's.
    """

    def __init__(
        self,
        network: WireProxy,
        server_url: str,
        seed: int,
        *,
        rate: float = 0.1,
        freeze_s: float = 2.0,
        blows: dict[str, Callable[[], None]] | None = None,
    ) -> None:
        self.seed = seed
        self.faults: Counter[str] = Counter()
        self.history: deque[str] = deque(maxlen=HISTORY)
        self.failures: list[BaseException] = []
        self.network = network
        self._target = urlsplit(server_url)
        self._rate = rate
        self._freeze_s = freeze_s
        self._blows = {"cut all": self._cut_all, "refuse": self._refuse, "silence": self._silence, **(blows or {})}
        self._began = time.monotonic()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._counts: Counter[tuple[int, bool]] = Counter()
        self._gusts = threading.Thread(target=self._blow, name="weather")
        self._copies: list[threading.Thread] = []

    def begin(self) -> None:
        """Let it begin."""
        self._began = time.monotonic()
        self.network.on_request = lambda link, piece: self._judge(link, piece, is_request=True)
        self.network.on_answer = lambda link, piece: self._judge(link, piece, is_request=False)
        self._gusts.start()

    def end(self) -> None:
        """Let it clear up: what was held goes on, what is cut stays cut. Raises what a blow raised."""
        self._over.set()
        self._gusts.join()
        self.network.heals()
        for thread in self._copies:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def note(self, text: str) -> None:
        """Write a line into the history."""
        self.history.append(f"{time.monotonic() - self._began:7.3f} {text}")

    # single pieces

    def _judge(self, link: Link, piece: bytes, *, is_request: bool) -> bool:
        with self._lock:
            self._counts[link.number, is_request] += 1
            number = self._counts[link.number, is_request]
        choose = random.Random(f"{self.seed} {link.number} {is_request} {number}")
        if self._over.is_set() or choose.random() > self._rate:
            return False
        fault = choose.choice(list(Fault))
        if fault is Fault.TWICE and not (is_request and may_come_twice(piece)):
            fault = Fault.CUT_AFTER
        self.faults[fault.name] += 1
        way = "->" if is_request else "<-"
        self.note(f"link {link.number} {way} {fault.name} {len(piece)} bytes {piece[:60]!r}")
        return self._strike(fault, link, piece, choose, is_request=is_request)

    def _strike(self, fault: Fault, link: Link, piece: bytes, choose: random.Random, *, is_request: bool) -> bool:
        source, target = (link.client, link.server) if is_request else (link.server, link.client)
        match fault:
            case Fault.CUT_BEFORE:
                link.cut()
            case Fault.CUT_AFTER:
                _pass(target, piece)
                link.cut()
            case Fault.CUT_INSIDE:
                _pass(target, piece[: choose.randrange(len(piece))])
                link.cut()
            case Fault.END_INSIDE:
                _pass(target, piece[: choose.randrange(len(piece))])
                _half_close(target)
            case Fault.HALF_CLOSE:
                _pass(target, piece)
                _half_close(target)
            case Fault.HALF_CLOSE_BACK:
                _half_close(source)
                return False
            case Fault.FREEZE:
                self._over.wait(self._freeze_s * choose.uniform(0.8, 1.3))
                return False
            case Fault.DELAY:
                self._over.wait(LONGEST_DELAY_S * choose.random())
                return False
            case Fault.DRIP:
                for start in range(min(DRIP_BYTES, len(piece))):
                    _pass(target, piece[start : start + 1])
                    time.sleep(DRIP_S)
                _pass(target, piece[DRIP_BYTES:])
            case Fault.TWICE:
                thread = threading.Thread(target=self._repeat, args=(piece, LATEST_COPY_S * choose.random()))
                self._copies.append(thread)
                thread.start()
                return False
        return True

    def _repeat(self, piece: bytes, after_s: float) -> None:
        self._over.wait(after_s)
        place = (self._target.hostname or "", self._target.port or 80)
        with (
            contextlib.suppress(OSError),
            socket.create_connection(place, timeout=COPY_TIMEOUT_S) as copy,
        ):
            copy.sendall(piece)
            copy.recv(65536)

    # the network as a whole

    def _blow(self) -> None:
        choose = random.Random(f"{self.seed} gusts")
        while not self._over.wait(choose.uniform(*CALM_S)):
            name = choose.choice(list(self._blows))
            self.faults[name] += 1
            self.note(f"all: {name}")
            try:
                self._blows[name]()
            except BaseException as error:  # raised by `end`, in the test's thread
                self.failures.append(error)
                return

    def _cut_all(self) -> None:
        self.network.cut_all()

    def _refuse(self) -> None:
        self.network.refuses = True
        self.network.cut_all()
        self._over.wait(random.Random(self.seed).uniform(*GUST_S))
        self.network.refuses = False

    def _silence(self) -> None:
        self.network.is_silent = True
        self._over.wait(self._freeze_s)
        self.network.is_silent = False


def _pass(target: socket.socket, piece: bytes) -> None:
    with contextlib.suppress(OSError):
        target.sendall(piece)


def _half_close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_WR)
