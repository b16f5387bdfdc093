"""The data API beside the real PostgREST 12.0.2, on one PostgreSQL. ``make bench-rest`` runs it.

Row-level security and PostgREST's JWT cache are on. For every scenario the servers are loaded in turn (A B C A B C ...) with
wrk; the table has medians, and ratios to PostgREST's median. pgbench runs the scenario's SQL, with role and claims set in
each transaction, as the limit. Then memory: idle, and at its peak while 10 MB are inserted and 100,000 rows are read.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.load import Runs, check_programs, wrk
from benchmarks.rest.pgbench import pgbench
from benchmarks.rest.scenarios import SCENARIOS, Scenario, service_token
from benchmarks.rest.servers import FIXTURE, isobase, postgrest, postgrest_program
from benchmarks.servers import POOL, Server, database, without_autogroups

WARM_UP_S = 1.0
BODY_MB = 10
ROWS_READ = 100_000


@dataclass(slots=True)
class Tally(Runs):
    """What the rounds gave for one server."""

    cpu_ms: list[float] = field(default_factory=list)
    """CPU milliseconds per request, which are CPU seconds per 1,000."""


def measure(
    scenario: Scenario, servers: Sequence[Server], *, clients: int, rounds: int, seconds: float
) -> dict[str, Tally]:
    """Load the servers in turn."""
    tallies = {server.name: Tally() for server in servers}
    for server in servers:
        wrk(scenario.requests, server.port, clients=clients, seconds=WARM_UP_S)
    for _ in range(rounds):
        for server in servers:
            before_s = server.cpu_s()
            figures = wrk(scenario.requests, server.port, clients=clients, seconds=seconds)
            tally = tallies[server.name]
            tally.runs.append(figures)
            tally.cpu_ms.append((server.cpu_s() - before_s) * 1000 / figures.requests)
    return tallies


def show(scenario: Scenario, tallies: dict[str, Tally], limit_per_s: float) -> None:
    """Print the scenario's lines; the first server is what the others are compared with."""
    base = next(iter(tallies.values()))
    print(f"| {scenario.name} | pgbench | {limit_per_s:,.0f} | | | | |")
    for name, tally in tallies.items():
        ratio = tally.per_s / base.per_s
        spread = f"{min(one.per_s for one in tally.runs):,.0f}-{max(one.per_s for one in tally.runs):,.0f}"
        verdict = "" if tally is base else f"**{ratio:.2f}** (goal {scenario.goal:g})"
        print(
            f"| | {name} | {tally.per_s:,.0f} | {spread} | {verdict} | {tally.p99_ms:.1f} |"
            f" {statistics.median(tally.cpu_ms):.3f} |",
            flush=True,
        )


def measure_memory(servers: Sequence[Server]) -> None:
    """Print memory idle, and its peak while much is written and read."""
    print(
        f"\n| memory (MB) | idle (PSS) | peak, {BODY_MB} MB inserted | peak, {ROWS_READ:,} rows read |\n|---|---|---|---|"
    )
    row = {"line": "x" * 1000, "level": 1, "owner": "00000000-0000-4000-8000-000000000007"}
    body = json.dumps([row] * (BODY_MB * 1024 * 1024 // len(json.dumps(row)))).encode()
    headers = {"authorization": f"Bearer {service_token()}", "content-type": "application/json"}
    for server in servers:
        time.sleep(2.0)
        idle = server.memory_mb()
        peaks = []
        for method, path, content in (
            ("POST", "/log_lines", body),
            ("GET", f"/notes?limit={ROWS_READ}", None),
        ):
            server.forget_peak()
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            length = len(answer.read())
            connection.close()
            if answer.status >= 300:
                raise SystemExit(f"{server.name}: {method} {path} was answered {answer.status} ({length} bytes)")
            peaks.append(server.peak_mb())
        print(f"| {server.name} | {idle:.0f} | {peaks[0]:.0f} | {peaks[1]:.0f} |")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server per scenario")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a run")
    parser.add_argument("--clients", type=int, nargs="+", default=[16, 64], help="connections of wrk")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="worker counts of Isobase to compare")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory out")
    given = parser.parse_args()
    check_programs()
    postgrest_program()
    scenarios = [one for one in SCENARIOS if given.only in one.name]
    with ExitStack() as stack:
        if not stack.enter_context(without_autogroups()):
            print("The kernel shares cores among sessions (sched_autogroup_enabled): high percentiles mean little.")
        url = stack.enter_context(database(FIXTURE)).url("authenticator")
        servers = [stack.enter_context(postgrest(url))]
        servers += [stack.enter_context(isobase(url, workers)) for workers in given.workers]
        print(
            f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, PostgREST 12.0.2, {POOL} database connections each"
        )
        for clients in given.clients:
            print(f"\n{clients} clients, medians of {given.rounds} runs of {given.seconds:g} s in turn\n")
            print(
                "| scenario | | requests/s | lowest-highest | ratio | p99 ms | CPU s per 1,000 |\n" + "|---" * 7 + "|"
            )
            for scenario in scenarios:
                tallies = measure(scenario, servers, clients=clients, rounds=given.rounds, seconds=given.seconds)
                limit = pgbench(scenario, url, clients=min(clients, POOL), seconds=given.seconds)
                show(scenario, tallies, limit)
        if not given.no_memory:
            measure_memory(servers)


if __name__ == "__main__":
    main()
