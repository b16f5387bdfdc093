"""What the benchmark asks of the load generator and what that answers: plain values that cross a process boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from benchmarks.realtime.frames import Version

__all__ = ["Close", "Collect", "Counted", "Failed", "Hold", "Latency", "Open", "Opened", "Order", "Publish", "Track"]


@dataclass(slots=True, frozen=True)
class Latency:
    """Percentiles in ms of ``count`` sampled frames."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, microseconds: Sequence[int]) -> Latency:
        """The percentiles of a list; zeros where it is empty."""
        if not microseconds:
            return cls(0, 0.0, 0.0, 0.0, 0.0)
        found = sorted(microseconds)
        last = len(found) - 1
        p50, p95, p99 = (found[round(last * share)] / 1000 for share in (0.50, 0.95, 0.99))
        return cls(len(found), p50, p95, p99, found[-1] / 1000)


@dataclass(slots=True, frozen=True)
class Open:
    """Open ``sockets`` more sockets, ``window`` at a time, each with ``channels`` channels.

    ``topic`` may hold ``{socket}`` and ``{channel}``; ``tokens`` go round; ``config`` is the JSON text of the joins' config.
    ``awaits``: a socket is ready once it is accepted, its joins are answered, its row changes are live, or it is in a room.
    """

    port: int
    path: str
    apikey: str
    version: Version
    topic: str = "bench"
    tokens: tuple[str, ...] = ()
    config: str = "{}"
    sockets: int = 1
    channels: int = 1
    awaits: Literal["accept", "reply", "changes", "room"] = "reply"
    sample_every: int = 1
    window: int = 32
    host: str = "localhost"


@dataclass(slots=True, frozen=True)
class Opened:
    """How long all of it took, and a single socket from its connection to its last join."""

    seconds: float
    each: Latency


@dataclass(slots=True, frozen=True)
class Publish:
    """Let the very first socket broadcast for ``seconds``.

    With ``per_s`` at that pace; without it as fast as everything is received, with ``outstanding`` messages under way.
    """

    seconds: float
    per_s: float = 0.0
    outstanding: int = 2
    filling_bytes: int = 100


@dataclass(slots=True, frozen=True)
class Collect:
    """Count marked frames until there are ``expected``, or ``timeout_s`` have passed."""

    expected: int
    timeout_s: float


@dataclass(slots=True, frozen=True)
class Track:
    """Let every socket track a presence; counts what they hear until each has heard of each."""

    timeout_s: float


@dataclass(slots=True, frozen=True)
class Hold:
    """Keep every socket alive with heartbeats for ``seconds``."""

    seconds: float


@dataclass(slots=True, frozen=True)
class Close:
    """Close every socket."""


@dataclass(slots=True, frozen=True)
class Counted:
    """What arrived. ``latencies`` has an item per ``Open``; ``last_us`` is the wall clock at the last frame."""

    sent: int
    received: int
    expected: int
    seconds: float
    last_us: int
    latencies: tuple[Latency, ...]

    @property
    def per_s(self) -> float:
        """Frames received per second."""
        return self.received / self.seconds if self.seconds else 0.0

    @property
    def is_complete(self) -> bool:
        """Whether everything arrived."""
        return self.received == self.expected


@dataclass(slots=True, frozen=True)
class Failed:
    """The order could not be carried out."""

    reason: str


Order: TypeAlias = Open | Publish | Collect | Track | Hold | Close
