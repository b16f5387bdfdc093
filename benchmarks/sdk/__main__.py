"""The Python client measured beside supabase-py, on one running Isobase. ``make bench-sdk`` runs it.

Both clients make the same calls in turns, each run in a process of its own: small reads, inserts, calls of a function,
downloads of 10 KiB; one caller after the other and sixteen at a time; sync (threads) and async (tasks). Then the memory of
1,000 channels, and 1 GiB up and down.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.sdk.jobs import Job
from benchmarks.servers import ISOBASE, ROOT, running
from isobase import create_client
from isobase_deploy.ports import free_ports

CLIENTS = ("supabase", "isobase")
OPERATIONS = ("read", "insert", "rpc", "download")
PARTS = ("calls", "channels", "streams")
DRIVER_TIMEOUT_S = 1800.0
LIMITS = ("MAX_EVENTS_PER_S", "MAX_JOINS_PER_S", "MAX_CHANNELS_PER_SOCKET")
CONFIG = 'project_id = "bench"\n[storage]\nfile_size_limit = "3GiB"\n'


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """A running Isobase with the fixture; yields what ``isobase status`` says of it."""
    port, db_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        project = Path(name)
        project.chmod(0o755)
        (project / "supabase" / "migrations").mkdir(parents=True)
        (project / "supabase" / "config.toml").write_text(CONFIG)
        shutil.copyfile(
            Path(__file__).with_name("fixture.sql"), project / "supabase/migrations/20260101000000_fixture.sql"
        )
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("ISOBASE_", "PG"))}
        environment |= {"ISOBASE_MAIL_PORT": "0", "ISOBASE_LOG_LEVEL": "error"}
        environment |= {f"ISOBASE_REALTIME__{limit}": "1000000" for limit in LIMITS}
        command = [str(ISOBASE), "start", "--workdir", name, "--port", str(port), "--db-port", str(db_port)]
        with running(command, port, project / "isobase.log", environment):
            status = [str(ISOBASE), "status", "--workdir", name, "-o", "json"]
            shown = subprocess.run(status, check=True, capture_output=True, env=environment).stdout
            values: dict[str, str] = json.loads(shown)
            yield values


def run(job: Job) -> dict[str, float]:
    """Do a job in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sdk.driver", json.dumps(asdict(job))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DRIVER_TIMEOUT_S,
    )
    if done.returncode:
        raise SystemExit(f"{job}:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure_calls(url: str, key: str, *, seconds: float, rounds: int) -> None:
    """Print calls per second and CPU per call of both clients, medians of rounds in turns."""
    print(
        "| call | form | callers | supabase-py calls/s | isobase calls/s | ratio | supabase-py CPU | isobase CPU | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for operation in OPERATIONS:
        for form in ("sync", "async"):
            for callers in (1, 16):
                found: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
                for _ in range(rounds):
                    for client in CLIENTS:
                        found[client].append(run(Job(client, operation, url, key, form, callers, seconds)))
                theirs, ours = (
                    {
                        name: statistics.median(each[name] for each in found[client])
                        for name in ("calls_per_s", "cpu_us")
                    }
                    for client in CLIENTS
                )
                print(
                    f"| {operation} | {form} | {callers} | {theirs['calls_per_s']:,.0f} | {ours['calls_per_s']:,.0f} "
                    f"| {ours['calls_per_s'] / theirs['calls_per_s']:.2f} | {theirs['cpu_us']:,.0f} µs "
                    f"| {ours['cpu_us']:,.0f} µs | {ours['cpu_us'] / theirs['cpu_us']:.2f} |",
                    flush=True,
                )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS, help="parts to measure")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a run")
    parser.add_argument("--rounds", type=int, default=3, help="runs whose median is shown")
    parser.add_argument("--mib", type=int, default=1024, help="size of the streamed object")
    given = parser.parse_args()
    with server() as values:
        url, key, secret = values["API_URL"], values["ANON_KEY"], values["SERVICE_ROLE_KEY"]
        with create_client(url, secret) as admin:
            admin.storage.create_bucket("bench", options={"public": False})
            admin.storage.from_("bench").upload("small.bin", os.urandom(10 * 1024))
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}\n", flush=True)
        if "calls" in given.only:
            measure_calls(url, secret, seconds=given.seconds, rounds=given.rounds)
        if "channels" in given.only:
            for client in CLIENTS:
                found = run(Job(client, "channels", url, key, callers=1000))
                print(
                    f"\n1,000 channels, {client}: {found['memory_mb']:.1f} MB in {found['seconds']:.1f} s", flush=True
                )
        if "streams" in given.only:
            found = run(Job("isobase", "streams", url, secret, size_mib=given.mib))
            for way in ("up", "down"):
                print(
                    f"\n{given.mib} MiB {way}: {given.mib / found[f'{way}_s']:,.0f} MiB/s, "
                    f"peak of memory {found[f'{way}_mb']:+.1f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
