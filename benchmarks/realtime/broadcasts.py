"""Broadcasts from one publisher to many sockets, beside bare hubs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.realtime.frames import Version
from benchmarks.realtime.handle import Load
from benchmarks.realtime.orders import Counted, Open, Publish
from benchmarks.realtime.report import heading, latency_cells, line, missing, verdict
from benchmarks.realtime.servers import Peer, cpu_s, hub
from benchmarks.servers import Server

__all__ = ["measure_broadcasts"]

SLOW_PER_S = 20.0
GOAL_PER_S, GOAL_P99_MS = 80_000, 15.0
RECEIVERS = (500, 5_000)
MESSAGES_UNDER_WAY = 2
_VERSIONS: tuple[tuple[str, Version], ...] = (("2.0.0 (binary)", "2.0.0"), ("1.0.0 (text)", "1.0.0"))
_HUBS = (("websockets' broadcast()", "websockets"), ("bare hub on uvloop", "bare"))


@dataclass(slots=True, frozen=True)
class _Way:
    name: str
    port: int
    path: str
    version: Version
    server: Server | None
    host: str = "localhost"


def measure_broadcasts(
    load: Load, peers: Sequence[Peer], apikey: str, *, seconds: float, rounds: int, core: int | None
) -> None:
    """Print a line for each way of serialising and number of receivers: all that goes through, then 20 messages/s."""
    heading("broadcast", "receivers", "deliveries/s", "p99 ms", "CPU µs each", "p50 ms at 20 messages/s", "p95", "p99")
    with ExitStack() as stack:
        ways = [
            *(
                _Way(f"{peer.name}, {name}", peer.port, peer.path, version, peer.server, peer.host)
                for peer in peers
                for name, version in _VERSIONS
            ),
            *(_hub_way(name, stack.enter_context(hub(kind, core))) for name, kind in _HUBS),
        ]
        for receivers in RECEIVERS:
            for way in ways:
                _measure(load, way, apikey, receivers, seconds, rounds)


def _hub_way(name: str, server: Server) -> _Way:
    return _Way(name, server.port, "/", "none", server)


def _measure(load: Load, way: _Way, apikey: str, receivers: int, seconds: float, rounds: int) -> None:
    load.open(
        Open(
            port=way.port,
            host=way.host,
            path=way.path,
            apikey=apikey,
            version=way.version,
            sockets=receivers + 1,
            awaits="accept" if way.version == "none" else "reply",
            sample_every=5,
        )
    )
    load.publish(Publish(0.5, outstanding=MESSAGES_UNDER_WAY))
    runs: list[Counted] = []
    cpu_us: list[float] = []
    for _ in range(rounds):
        before_s = cpu_s(way.server)
        runs.append(load.publish(Publish(seconds, outstanding=MESSAGES_UNDER_WAY)))
        cpu_us.append((cpu_s(way.server) - before_s) * 1e6 / max(runs[-1].received, 1))
    pace = SLOW_PER_S if receivers <= 500 else SLOW_PER_S / 4
    slow = load.publish(Publish(max(seconds, 3.0), per_s=pace))
    load.close()
    per_s = statistics.median(one.per_s for one in runs)
    p99_ms = statistics.median(one.latencies[0].p99_ms for one in runs)
    is_judged = way.server is not None and way.path != "/" and receivers == RECEIVERS[0]
    line(
        way.name,
        f"{receivers:,}",
        (verdict(per_s, GOAL_PER_S) if is_judged else f"{per_s:,.0f}") + "".join({missing(one) for one in runs}),
        verdict(p99_ms, GOAL_P99_MS, is_ceiling=True, digits=1) if is_judged else f"{p99_ms:.1f}",
        f"{statistics.median(cpu_us):.1f}" if way.server is not None else "",
        latency_cells(slow.latencies[0])[0] + ("" if pace == SLOW_PER_S else f" ({pace:g}/s)"),
        *latency_cells(slow.latencies[0])[1:],
    )
