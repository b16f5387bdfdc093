"""Realtime measured: broadcasts, row changes, joins, presence, memory. ``make bench-realtime`` runs it.

The server has one core and the load generator another; PostgreSQL runs where it likes. The parts: broadcasts, changes, joins,
presence, rooms, nodes, memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from contextlib import ExitStack

from benchmarks.realtime.broadcasts import measure_broadcasts
from benchmarks.realtime.changes import measure_changes
from benchmarks.realtime.handle import load
from benchmarks.realtime.nodes import measure_nodes, measure_rooms
from benchmarks.realtime.servers import FIXTURE, Peer, isobase, service_token, upstream_fixture
from benchmarks.realtime.sockets import HELD, measure_joins, measure_memory, measure_presence
from benchmarks.realtime.swarm import SPARE_FILES, allow_files
from benchmarks.servers import POOL, database, without_autogroups

PARTS = ("broadcasts", "changes", "joins", "presence", "rooms", "nodes", "memory")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS, help="parts to measure")
    parser.add_argument("--rounds", type=int, default=3, help="runs whose median is shown")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a run")
    parser.add_argument("--unbound", action="store_true", help="leave it to Linux which core runs what")
    parser.add_argument("--upstream", type=int, help="the port of a running supabase/realtime to compare with")
    parser.add_argument("--upstream-database", default="", help="the URL of its database, for the owner of everything")
    given = parser.parse_args()
    _allow_files()
    cores = sorted(os.sched_getaffinity(0))
    is_bound = len(cores) > 1 and not given.unbound
    server_core, load_core = (cores[0], cores[-1]) if is_bound else (None, None)
    with ExitStack() as stack:
        if not stack.enter_context(without_autogroups()):
            print("Linux shares the cores among sessions here (sched_autogroup_enabled): p99 may be too high\n")
        # Another node would be told of every broadcast.
        shared = stack.enter_context(database(FIXTURE, {"ISOBASE_REALTIME__ENABLED": "false"}))
        generator = stack.enter_context(load(load_core))
        server = stack.enter_context(isobase(shared, server_core))
        apikey = service_token()
        peers = [Peer.of(server, shared)]
        if given.upstream is not None:
            peers.append(Peer.upstream(given.upstream, given.upstream_database))
            stack.enter_context(upstream_fixture(peers[-1]))
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {POOL} database connections", flush=True)
        if "memory" in given.only:
            measure_memory(generator, server, apikey)
        if "broadcasts" in given.only:
            measure_broadcasts(generator, peers, apikey, seconds=given.seconds, rounds=given.rounds, core=server_core)
        if "changes" in given.only:
            measure_changes(generator, peers, apikey, seconds=given.seconds)
        if "joins" in given.only:
            measure_joins(generator, server, apikey)
        if "presence" in given.only:
            measure_presence(generator, server, apikey)
        if "rooms" in given.only:
            measure_rooms(generator, server, shared.server, seconds=given.seconds)
        if "nodes" in given.only:
            measure_nodes(generator, shared, seconds=given.seconds, core=server_core)


def _allow_files() -> None:
    """As many files as the largest part needs, or as many as are allowed."""
    try:
        allow_files(HELD[-1] + SPARE_FILES)
    except (ValueError, OSError):
        allow_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


if __name__ == "__main__":
    main()
