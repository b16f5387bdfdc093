"""Auth under load: ``isobase serve auth`` with GoTrue's settings on an embedded PostgreSQL. ``make bench-auth`` runs it.

wrk loads each scenario with a number of clients. Where passwords are hashed, bcrypt decides: beside those lines stands what
the machine's cores could hash if they did nothing else; the same scenario at bcrypt's least cost shows what is ours. Then the
99th percentile of GET /user while 16 clients sign in without a pause.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import bcrypt

from benchmarks.auth import scenarios
from benchmarks.auth.scenarios import Scenario
from benchmarks.auth.users import PASSWORD, make_users
from benchmarks.load import Figures, check_programs, wrk
from benchmarks.rest.servers import FIXTURE
from benchmarks.servers import ISOBASE, JWT_SECRET, POOL, Server, database, running, settle, without_autogroups
from isobase_deploy.ports import free_ports

COST = 12
LEAST_COST = 4
PEOPLE = 2_000
CODES_PER_S = 4_000
"""More users than can be verified or signed up in a second."""
SIGNING_IN = 16
READING = 4
LATENCY_GOAL_MS = 50.0
PATIENCE_S = 60.0
HASHING_RUN = 3
"""How many times longer scenarios run that hash at the usual cost: few of them end in a second."""


@contextmanager
def served(url: str, workers: int, cost: int) -> Iterator[Server]:
    """``isobase serve auth`` as its upstream is configured, with ``POOL`` connections in all."""
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        [port] = free_ports(1)
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("ISOBASE_", "GOTRUE_", "DATABASE_"))
        } | {
            "GOTRUE_JWT_SECRET": JWT_SECRET,
            "GOTRUE_JWT_AUD": "authenticated",
            "GOTRUE_JWT_DEFAULT_GROUP_NAME": "authenticated",
            "GOTRUE_SITE_URL": "http://localhost:3000",
            "API_EXTERNAL_URL": f"http://127.0.0.1:{port}",
            "DATABASE_URL": url,
            "GOTRUE_DB_MAX_POOL_SIZE": str(POOL // workers),
            "GOTRUE_API_HOST": "127.0.0.1",
            "PORT": str(port),
            "GOTRUE_MAILER_AUTOCONFIRM": "true",
            "GOTRUE_LOG_LEVEL": "error",
            "ISOBASE_AUTH__BCRYPT_COST": str(cost),
        }
        command = [str(ISOBASE), "serve", "auth", "--workers", str(workers)]
        with running(command, port, Path(name) / "log", environment) as pid:
            yield Server(f"{workers} worker{'s' if workers > 1 else ''}", port, pid)


def hash_s(cost: int) -> float:
    """How long one hash takes on one core."""
    salt = bcrypt.gensalt(cost)
    started_s = time.perf_counter()
    bcrypt.hashpw(PASSWORD.encode(), salt)
    return time.perf_counter() - started_s


def measure(scenario: Scenario, server: Server, *, clients: int, seconds: float, floor: str = "") -> None:
    """Load one scenario and print its line."""
    settle(server)
    before_s = server.cpu_s()
    try:
        figures = wrk(
            scenario.requests,
            server.port,
            clients=clients,
            seconds=seconds,
            script=scenario.script,
            patience_s=PATIENCE_S,
        )
    except SystemExit as error:
        # A machine that is busy with other things cannot hash in time what this many clients ask for.
        print(
            f"| {scenario.name} | {server.name} | {clients} | not every request succeeded | | | {floor} |", flush=True
        )
        print(error, file=sys.stderr)
        return
    cpu_s = (server.cpu_s() - before_s) * 1000 / figures.requests
    print(
        f"| {scenario.name} | {server.name} | {clients} | {figures.per_s:,.0f} | {figures.p99_ms:,.1f} |"
        f" {cpu_s:.3f} | {floor} |",
        flush=True,
    )


def latency_beside_hashes(reading: Scenario, signing_in: Scenario, server: Server, seconds: float) -> Figures:
    """GET /user with few clients while many sign in."""
    settle(server)
    hashing = threading.Thread(
        target=wrk,
        args=(signing_in.requests, server.port),
        kwargs={"clients": SIGNING_IN, "seconds": seconds + 2, "patience_s": PATIENCE_S},
    )
    hashing.start()
    time.sleep(1.0)
    figures = wrk(reading.requests, server.port, clients=READING, seconds=seconds)
    hashing.join()
    return figures


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="length of a run")
    parser.add_argument("--clients", type=int, default=16, help="connections of wrk")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="worker counts to compare")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    given = parser.parse_args()
    check_programs()
    with ExitStack() as stack:
        if not stack.enter_context(without_autogroups()):
            print("Linux shares the cores among sessions here (sched_autogroup_enabled): p99 may be too high\n")
        url = stack.enter_context(database(FIXTURE)).url("supabase_admin")
        cores = os.cpu_count() or 1
        floors = {cost: f"{min(cores, 64) / hash_s(cost):,.1f}" for cost in (COST, LEAST_COST)}
        print(
            f"{cores} cores, Python {sys.version.split()[0]}, {POOL} database connections in all, {given.seconds} s each"
        )
        print(
            "\n| scenario | | clients | requests/s | p99 ms | CPU s per 1,000 | all cores hashing |\n"
            + "|---" * 7
            + "|"
        )
        run = {"clients": given.clients, "seconds": given.seconds}
        for workers in given.workers:
            measure_all(url, workers, given.only, floors, **run)


def measure_all(url: str, workers: int, only: str, floors: dict[int, str], *, clients: int, seconds: float) -> None:
    """Every scenario with one number of workers."""
    name = f"u{workers}-{time.time_ns()}"
    people = asyncio.run(make_users(url, PEOPLE, cost=COST, name=name))
    quick = asyncio.run(make_users(url, PEOPLE, cost=LEAST_COST, name=f"{name}-quick"))
    once = int(CODES_PER_S * seconds)
    with served(url, workers, COST) as server:
        reading, signing_in = scenarios.get_user(people), scenarios.sign_in(people, f"password sign-in, cost {COST}")
        for scenario, floor in (
            (reading, ""),
            (scenarios.refresh(people), ""),
            (signing_in, floors[COST]),
            (scenarios.sign_up(once, f"sign-up, cost {COST}"), floors[COST]),
        ):
            if only in scenario.name:
                length_s = seconds * HASHING_RUN if floor else seconds
                measure(scenario, server, clients=clients, seconds=length_s, floor=floor)
        if only in "OTP verify":
            coded = asyncio.run(make_users(url, once, cost=LEAST_COST, name=f"{name}-code"))
            measure(scenarios.verify(coded), server, clients=clients, seconds=seconds)
        if only in "GET /user beside sign-ins":
            figures = latency_beside_hashes(reading, signing_in, server, seconds)
            print(
                f"| GET /user beside {SIGNING_IN} sign-ins | {server.name} | {READING} | {figures.per_s:,.0f} |"
                f" **{figures.p99_ms:,.1f}** (goal {LATENCY_GOAL_MS:g}) | | |",
                flush=True,
            )
    with served(url, workers, LEAST_COST) as server:
        for scenario in (
            scenarios.sign_in(quick, f"password sign-in, cost {LEAST_COST}"),
            scenarios.sign_up(once, f"sign-up, cost {LEAST_COST}"),
        ):
            if only in scenario.name:
                measure(scenario, server, clients=clients, seconds=seconds, floor=floors[LEAST_COST])


if __name__ == "__main__":
    main()
