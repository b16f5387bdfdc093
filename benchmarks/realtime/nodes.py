"""Broadcasts that cross from one process to another, and messages of the simple face, which are stored first."""

from __future__ import annotations

import time
from contextlib import ExitStack

from benchmarks.realtime.frames import Version
from benchmarks.realtime.handle import Load, LoadFailedError
from benchmarks.realtime.orders import Counted, Open, Publish
from benchmarks.realtime.report import heading, latency_cells, line, missing
from benchmarks.realtime.servers import isobase, redis, service_token, user_token
from benchmarks.servers import Database, Server

__all__ = ["measure_nodes", "measure_rooms"]

RECEIVERS = 250
MEMBERS = 100
PACE_PER_S = 20.0
MEETING_S = 3.0
"""How long two nodes may take to hear of one another."""


def measure_nodes(load: Load, database: Database, *, seconds: float, core: int | None) -> None:
    """Print what goes through when half of the sockets are on another node, over Redis and over PostgreSQL."""
    heading(
        f"two nodes on one core, {RECEIVERS} sockets on each",
        "deliveries/s",
        "server CPU µs each",
        "p50 ms here at 20 messages/s",
        "p99",
        "p50 ms on the other node",
        "p99",
    )
    with ExitStack() as stack:
        url = stack.enter_context(redis())
        if url is not None:
            _measure_nodes(load, database, "Redis", url, seconds, core)
    _measure_nodes(load, database, "PostgreSQL", None, seconds, core)


def _measure_nodes(
    load: Load, database: Database, name: str, redis_url: str | None, seconds: float, core: int | None
) -> None:
    apikey = service_token()
    with ExitStack() as stack:
        nodes = [stack.enter_context(isobase(database, core, redis_url=redis_url)) for _ in range(2)]
        time.sleep(MEETING_S)
        try:
            for number, node in enumerate(nodes):
                sockets = RECEIVERS + (1 if number == 0 else 0)
                load.open(Open(node.port, "/websocket", apikey, "2.0.0", sockets=sockets, sample_every=5))
            load.publish(Publish(0.5))
            before_s = sum(node.cpu_s() for node in nodes)
            fast = load.publish(Publish(seconds, outstanding=4))
            cpu_us = (sum(node.cpu_s() for node in nodes) - before_s) * 1e6 / max(fast.received, 1)
            slow = load.publish(Publish(max(seconds, 3.0), per_s=PACE_PER_S))
        except LoadFailedError as error:
            line(name, f"failed: {error}", "", "", "", "", "")
            return
        finally:
            load.close()
    here, there = (latency_cells(one) for one in slow.latencies)
    line(name, f"{fast.per_s:,.0f}{missing(fast)}", f"{cpu_us:.1f}", here[0], here[2], there[0], there[2])


def measure_rooms(load: Load, server: Server, postgres: Server, *, seconds: float) -> None:
    """Print how many messages a second are stored and delivered to a room's members."""
    heading(
        f"simple face, a room of {MEMBERS}",
        "messages/s",
        "server CPU µs per message",
        "PostgreSQL",
        "p50 ms at 20 messages/s",
        "p95",
        "p99",
    )
    version: Version = "simple"
    tokens = tuple(user_token(number) for number in range(MEMBERS + 1))
    try:
        load.open(
            Open(
                server.port,
                "/realtime",
                service_token(),
                version,
                topic="general",
                tokens=tokens,
                sockets=MEMBERS + 1,
                awaits="room",
            )
        )
        load.publish(Publish(0.5))
        server_s, postgres_s = server.cpu_s(), postgres.cpu_s()
        fast: Counted = load.publish(Publish(seconds, outstanding=8))
        server_s, postgres_s = server.cpu_s() - server_s, postgres.cpu_s() - postgres_s
        slow = load.publish(Publish(max(seconds, 3.0), per_s=PACE_PER_S))
    except LoadFailedError as error:
        line("stored, then sent to each", f"failed: {error}", "", "", "", "", "")
        return
    finally:
        load.close()
    line(
        "stored, then sent to each",
        f"{fast.per_s / MEMBERS:,.0f}{missing(fast)}",
        f"{server_s * 1e6 / max(fast.sent, 1):,.0f}",
        f"{postgres_s * 1e6 / max(fast.sent, 1):,.0f}",
        *latency_cells(slow.latencies[0]),
    )
