"""Joins, presence, and the memory that sockets take."""

from __future__ import annotations

import resource
import time

from benchmarks.realtime.handle import Load
from benchmarks.realtime.orders import Open, Track
from benchmarks.realtime.report import heading, line, verdict
from benchmarks.realtime.servers import user_token
from benchmarks.realtime.swarm import SPARE_FILES
from benchmarks.servers import Server

__all__ = ["measure_joins", "measure_memory", "measure_presence"]

HELD = (1_000, 5_000, 20_000)
GOAL_MB = 2_048
MEMBERS = 100
MEMBERS_TIMEOUT_S = 30.0


def measure_joins(load: Load, server: Server, apikey: str) -> None:
    """Print how quickly sockets are opened and channels joined."""
    heading("joins, 32 at a time", "joins/s", "p50 ms", "p99 ms", "CPU µs each")
    tokens = tuple(user_token(number) for number in range(100))
    public, private = '{"private":false}', '{"private":true}'
    kinds = [
        ("handshake and a public channel", public, 2_000, 1),
        ("handshake and a private channel", private, 1_000, 1),
        ("10 public channels on a socket", public, 200, 10),
        ("10 private channels on a socket", private, 100, 10),
    ]
    for name, config, sockets, channels in kinds:
        before_s = server.cpu_s()
        opened = load.open(
            Open(
                port=server.port,
                path="/websocket",
                apikey=apikey,
                version="2.0.0",
                topic="bench-{channel}",
                tokens=tokens,
                config=config,
                sockets=sockets,
                channels=channels,
            )
        )
        cpu_us = (server.cpu_s() - before_s) * 1e6 / (sockets * channels)
        load.close()
        line(
            name,
            f"{sockets * channels / opened.seconds:,.0f}",
            f"{opened.each.p50_ms:.1f}",
            f"{opened.each.p99_ms:.1f}",
            f"{cpu_us:,.0f}",
        )


def measure_presence(load: Load, server: Server, apikey: str) -> None:
    """Print how long it takes until each of the members has heard of each."""
    heading("presence", "until each knows each (ms)", "frames", "server CPU ms")
    config = '{"presence":{"enabled":true,"key":""}}'
    load.open(Open(port=server.port, path="/websocket", apikey=apikey, version="2.0.0", config=config, sockets=MEMBERS))
    before_s = server.cpu_s()
    counted = load.track(Track(MEMBERS_TIMEOUT_S))
    cpu_ms = (server.cpu_s() - before_s) * 1000
    load.close()
    known = "" if counted.is_complete else f" ({counted.received:,} of {counted.expected:,} heard)"
    line(
        f"{MEMBERS} members track at once",
        f"{counted.seconds * 1000:,.0f}{known}",
        f"{counted.sent:,}",
        f"{cpu_ms:,.0f}",
    )


def measure_memory(load: Load, server: Server, apikey: str) -> None:
    """Print the memory of the server with idle sockets of one user and one channel each; all of them answer a heartbeat."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    heading("memory", "PSS (MB)", "KB per socket", "sockets per GiB", "opened in s", "heartbeat of all, s")
    idle_mb = server.memory_mb()
    line("idle", f"{idle_mb:,.0f}", "", "", "", "")
    for wanted in HELD:
        sockets = min(wanted, files - SPARE_FILES)
        opened = load.open(
            Open(
                port=server.port,
                path="/websocket",
                apikey=apikey,
                version="2.0.0",
                topic="room-{socket}",
                tokens=tuple(user_token(number) for number in range(sockets)),
                sockets=sockets,
                window=64,
            )
        )
        started_s = time.monotonic()
        load.hold(0.0)
        beat_s = time.monotonic() - started_s
        held_mb = server.memory_mb()
        load.close()
        short = "" if sockets == wanted else f" (as many as {files:,} files allow)"
        each_kb = (held_mb - idle_mb) * 1024 / sockets
        line(
            f"{sockets:,} sockets{short}",
            verdict(held_mb, GOAL_MB, is_ceiling=True) if wanted == HELD[-1] else f"{held_mb:,.0f}",
            f"{each_kb:.1f}",
            f"{1024 * 1024 / each_kb:,.0f}",
            f"{opened.seconds:.1f}",
            f"{beat_s:.1f}",
        )
        time.sleep(1.0)
