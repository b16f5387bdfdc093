"""Storage beside the real storage server, on one PostgreSQL and one disk. ``make bench-storage`` runs it.

Small objects, lists and signatures are loaded with wrk, the servers in turn (A B A B ...); the table has medians, ratios to
upstream's median, and the CPU time of server and PostgreSQL. Then transfers of 100 MiB, one and 20 at a time, with MB/s, CPU
seconds and the server's peak memory, and the latency of small downloads beside four large uploads. Without ``--upstream``
Isobase alone is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.load import Figures, RequestsFailedError, Runs, check_programs, wrk
from benchmarks.servers import POOL, Server, database, settle, without_autogroups
from benchmarks.storage.scenarios import SMALL_BYTES, Scenario, owner_token, scenarios, service_token, small_keys
from benchmarks.storage.servers import Peer, isobase, make_upstream_database, prepare, upstream
from benchmarks.storage.transfers import Client, NotServed

WARM_UP_S = 1
LARGE_BYTES = 100 * 1024 * 1024
PARALLEL = 20
LARGE_GOAL = 1.5
BESIDE_CLIENTS = 4
"""How many large uploads run beside small downloads, and how many clients download."""
BESIDE_S = 4.0
FIXTURE = Path(__file__).parents[1] / "rest" / "fixture.sql"


@dataclass(slots=True)
class Tally(Runs):
    """What the rounds gave for one server: figures of wrk, CPU milliseconds per request of the server and of PostgreSQL."""

    server_ms: list[float] = field(default_factory=list)
    database_ms: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Transfer:
    """One kind of transfer with one server: the rounds' MB/s, CPU seconds, and the highest peak of memory in MB."""

    mb_per_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


def store_small_objects(peer: Peer) -> None:
    """The objects that are read: in a private bucket as the user, in a public one as the service."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.server.port, timeout=60)
    for bucket, token in (("private", owner_token()), ("public", service_token())):
        headers = {"authorization": f"Bearer {token}", "content-type": "application/octet-stream"}
        for key in small_keys():
            connection.request("POST", f"/object/{bucket}/{key}", os.urandom(SMALL_BYTES), headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{peer.server.name}: an upload was answered {answer.status}: {body!r}")
    connection.close()


def is_wanted(name: str, given: argparse.Namespace) -> bool:
    """Whether the command line asks for this scenario."""
    return any(one in name for one in given.only)


def measure(scenario: Scenario, peers: Sequence[Peer], postgres: Server, given: argparse.Namespace) -> dict[str, Tally]:
    """Load the servers in turn. Every run gets requests of its own, so that new keys are new each time."""
    tallies = {peer.server.name: Tally() for peer in peers}

    def run(server: Server, seconds: float) -> Figures:
        fresh = next(one for one in scenarios() if one.name == scenario.name)
        return wrk(fresh.requests, server.port, clients=given.clients, seconds=seconds, script=fresh.script)

    for peer in peers:
        with suppress(RequestsFailedError):
            run(peer.server, WARM_UP_S)
    for _ in range(given.rounds):
        for peer in peers:
            settle(postgres)
            settle(peer.server)
            server_s, database_s = peer.server.cpu_s(), postgres.cpu_s()
            try:
                figures = run(peer.server, given.seconds)
            except RequestsFailedError:
                continue
            tally = tallies[peer.server.name]
            tally.runs.append(figures)
            tally.server_ms.append((peer.server.cpu_s() - server_s) * 1000 / max(figures.requests, 1))
            tally.database_ms.append((postgres.cpu_s() - database_s) * 1000 / max(figures.requests, 1))
    return tallies


def show(scenario: Scenario, tallies: dict[str, Tally]) -> None:
    """Print the scenario's lines; the first server is what the second is compared with."""
    base = next(iter(tallies.values()))
    for name, tally in tallies.items():
        if not tally.runs:
            print(f"| {scenario.name if tally is base else ''} | {name} | requests failed | | | | | |", flush=True)
            continue
        spread = f"{min(one.per_s for one in tally.runs):,.0f}-{max(one.per_s for one in tally.runs):,.0f}"
        ratio = f"{tally.per_s / base.per_s:.2f}" if base.runs and base.per_s else "none to compare with"
        verdict = "" if tally is base else f"**{ratio}** (goal {scenario.goal:g})"
        print(
            f"| {scenario.name if tally is base else ''} | {name} | {tally.per_s:,.0f} | {spread} | {verdict} |"
            f" {tally.p99_ms:.1f} | {statistics.median(tally.server_ms):.3f} | {statistics.median(tally.database_ms):.3f} |",
            flush=True,
        )


def transfer(work: Sequence[Callable[[], None]], server: Server, postgres: Server, tally: Transfer) -> None:
    """Run the transfers at the same time, and note what they took."""
    server.forget_peak()
    before_s = server.cpu_s() + postgres.cpu_s()
    started_s = time.perf_counter()
    with ThreadPoolExecutor(len(work)) as threads:
        for one in [threads.submit(each) for each in work]:
            one.result()
    taken_s = time.perf_counter() - started_s
    tally.mb_per_s.append(len(work) * LARGE_BYTES / 1e6 / taken_s)
    tally.cpu_s.append(server.cpu_s() + postgres.cpu_s() - before_s)
    tally.peak_mb = max(tally.peak_mb, server.peak_mb())


def measure_transfers(peers: Sequence[Peer], postgres: Server, file: Path, given: argparse.Namespace) -> None:
    """Print a line for each kind of transfer and server."""
    print(
        "\n| 100 MiB | | MB/s | ratio | CPU s | peak memory (MB) |\n" + "|---" * 6 + "|",
        flush=True,
    )
    run = f"{time.time_ns():x}"
    token = owner_token()
    clients = {peer.server.name: Client(peer.server.port, token) for peer in peers}
    serial = iter(range(10**9))

    def new_key() -> str:
        return f"large/{run}/{next(serial)}"

    # Name, how many at a time, and the transfer: with a client, a new key, and the key of an object that is there.
    kinds: list[tuple[str, int, Callable[[Client, str, str], None]]] = [
        ("upload, REST", 1, lambda client, new, _: client.rest_upload(file, new)),
        ("upload, TUS in 6 MiB", 1, lambda client, new, _: client.tus_upload(file, new)),
        ("upload, S3", 1, lambda client, new, _: client.s3_upload(file, new)),
        ("download, REST", 1, lambda client, _, old: client.rest_download(old, LARGE_BYTES)),
        ("download, S3", 1, lambda client, _, old: client.s3_download(old, LARGE_BYTES)),
        (f"{PARALLEL} uploads, REST", PARALLEL, lambda client, new, _: client.rest_upload(file, new)),
        (f"{PARALLEL} uploads, TUS in 6 MiB", PARALLEL, lambda client, new, _: client.tus_upload(file, new)),
        (f"{PARALLEL} downloads, REST", PARALLEL, lambda client, _, old: client.rest_download(old, LARGE_BYTES)),
    ]
    stored = {}
    for peer in peers:
        key = stored[peer.server.name] = new_key()
        clients[peer.server.name].rest_upload(file, key)
    for name, at_a_time, send in kinds:
        if not is_wanted(name, given):
            continue
        tallies = {peer.server.name: Transfer() for peer in peers}
        for _ in range(given.rounds if at_a_time == 1 else 1):
            for peer in peers:
                name_of = peer.server.name
                work = [partial(send, clients[name_of], new_key(), stored[name_of]) for _ in range(at_a_time)]
                try:
                    transfer(work, peer.server, postgres, tallies[name_of])
                except NotServed:
                    continue
        base = next(iter(tallies.values()))
        for server, tally in tallies.items():
            if not tally.mb_per_s:
                print(f"| {name} | {server} | not served | | | |", flush=True)
                continue
            speed = statistics.median(tally.mb_per_s)
            is_compared = tally is not base and base.mb_per_s
            verdict = f"**{speed / statistics.median(base.mb_per_s):.2f}** (goal {LARGE_GOAL:g})" if is_compared else ""
            print(
                f"| {name} | {server} | {speed:,.0f} | {verdict} | {statistics.median(tally.cpu_s):.2f} |"
                f" {tally.peak_mb:,.0f} |",
                flush=True,
            )


def measure_beside(peers: Sequence[Peer], file: Path) -> None:
    """Print the latency of small downloads while large uploads run."""
    print(
        f"\n| {BESIDE_CLIENTS} clients download 10 KB beside {BESIDE_CLIENTS} uploads | downloads/s | p99 ms |"
        "\n|---|---|---|",
        flush=True,
    )
    small = next(one for one in scenarios() if one.name == "download 10 KB")
    for peer in peers:
        client = Client(peer.server.port, owner_token())
        is_over = threading.Event()

        def upload_on(number: int, client: Client = client, is_over: threading.Event = is_over) -> None:
            count = 0
            while not is_over.is_set():
                client.rest_upload(file, f"beside/{time.time_ns():x}-{number}-{count}")
                count += 1

        with ThreadPoolExecutor(BESIDE_CLIENTS) as threads:
            running = [threads.submit(upload_on, number) for number in range(BESIDE_CLIENTS)]
            figures = wrk(small.requests, peer.server.port, clients=BESIDE_CLIENTS, seconds=BESIDE_S, patience_s=60.0)
            is_over.set()
            for one in running:
                one.result()
        print(f"| {peer.server.name} | {figures.per_s:,.0f} | {figures.p99_ms:.1f} |", flush=True)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, help="a built checkout of supabase/storage")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server per scenario")
    parser.add_argument("--seconds", type=int, default=3, help="length of a run")
    parser.add_argument("--clients", type=int, default=16, help="connections of wrk")
    parser.add_argument("--only", nargs="*", default=[""], help="scenarios whose name contains one of these")
    given = parser.parse_args()
    check_programs()
    with ExitStack() as stack:
        if not stack.enter_context(without_autogroups()):
            print("Linux shares the cores among sessions here (sched_autogroup_enabled): p99 may be too high\n")
        shared = stack.enter_context(database(FIXTURE))
        peers = []
        if given.upstream is not None:
            asyncio.run(make_upstream_database(shared))
            peers.append(stack.enter_context(upstream(shared, given.upstream)))
        peers.append(stack.enter_context(isobase(shared)))
        for peer in peers:
            asyncio.run(prepare(peer))
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {POOL} database connections per server\n")
        time.sleep(2.0)
        for peer in peers:
            print(f"Idle memory of {peer.server.name}: {peer.server.memory_mb():.0f} MB (PSS)")
        for peer in peers:
            store_small_objects(peer)
        postgres = shared.server
        print(
            f"\n| {given.clients} clients | | requests/s | lowest-highest | ratio | p99 ms | CPU ms, server |"
            " CPU ms, PostgreSQL |\n" + "|---" * 8 + "|",
            flush=True,
        )
        for scenario in scenarios():
            if is_wanted(scenario.name, given):
                show(scenario, measure(scenario, peers, postgres, given))
        with tempfile.NamedTemporaryFile(prefix="isobase-bench-") as source:
            for _ in range(LARGE_BYTES // 2**20):
                source.write(os.urandom(2**20))
            source.flush()
            file = Path(source.name)
            measure_transfers(peers, postgres, file, given)
            if is_wanted("download 10 KB beside uploads", given):
                measure_beside(peers, file)


if __name__ == "__main__":
    main()
