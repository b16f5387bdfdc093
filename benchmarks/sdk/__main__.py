"""The Python client measured beside supabase-py. ``make bench-sdk`` runs it.

Both clients make the same calls in short turns, one after the other, each in a process of its own that stays: small reads,
inserts, calls of a function, downloads of 10 KiB; one caller and sixteen; sync (threads) and async (tasks); to one running
Isobase, and to a server of prepared answers (``answerer``), which shows what the client itself costs. Then verified claims,
the time to the first query, messages of realtime, the memory of 1,000 channels, and 1 GiB up and down.
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
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.sdk.calls import FILE_BYTES, OPERATIONS
from benchmarks.sdk.jobs import Job
from benchmarks.sdk.streams import WAYS
from benchmarks.servers import ISOBASE, ROOT, running, without_autogroups
from isobase import create_client
from isobase_deploy.ports import free_ports

CLIENTS = ("supabase", "isobase")
PARTS = ("calls", "answerer", "start", "messages", "channels", "streams")
DRIVER_TIMEOUT_S = 1800.0
ENDING_TIMEOUT_S = 30.0
LIMITS = ("MAX_EVENTS_PER_S", "MAX_JOINS_PER_S", "MAX_CHANNELS_PER_SOCKET")
CONFIG = 'project_id = "bench"\n[storage]\nfile_size_limit = "3GiB"\n'
HEAD = (
    "| call | form | callers | supabase-py calls/s | isobase calls/s | ratio | lowest-highest "
    "| supabase-py p50 | isobase p50 | supabase-py CPU | isobase CPU | ratio |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)

Found = dict[str, float]


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
            with create_client(values["API_URL"], values["SERVICE_ROLE_KEY"]) as admin:
                admin.storage.create_bucket("bench", options={"public": False})
                admin.storage.from_("bench").upload("small.bin", os.urandom(FILE_BYTES))
            yield values


@contextmanager
def answerer() -> Iterator[tuple[str, str]]:
    """A running server of prepared answers; yields its URL, and a token that its key set verifies."""
    private = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key()))
    jwks = {"keys": [{**public, "kid": "bench", "alg": "ES256", "use": "sig", "key_ops": ["verify"]}]}
    claims = {"role": "authenticated", "sub": "bench", "exp": int(time.time()) + 3600}
    token = jwt.encode(claims, private, algorithm="ES256", headers={"kid": "bench"})
    command = [sys.executable, "-m", "benchmarks.sdk.answerer", json.dumps(jwks)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", token
        finally:
            process.terminate()


class Driver:
    """A driver that waits for its turns."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sdk.driver", json.dumps(asdict(job))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Driver:
        self._answer()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(ENDING_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # supabase-py's threads may keep it
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _answer(self) -> Found:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise SystemExit(f"{self._job.client}, {self._job.operation}: the driver ended")
        found: Found = json.loads(line)
        return found

    def turn(self) -> Found:
        """Have one turn done."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._answer()


def run(job: Job) -> Found:
    """Do a job in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sdk.driver", json.dumps(asdict(job))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DRIVER_TIMEOUT_S,
    )
    if done.returncode:
        raise SystemExit(f"{job.client}, {job.operation}:\n{done.stderr[-3000:]}")
    result: Found = json.loads(done.stdout.splitlines()[-1])
    return result


def in_turns(job: Job, rounds: int) -> dict[str, list[Found]]:
    """Have both clients do a job's turns, who begins changing from round to round."""
    found: dict[str, list[Found]] = {client: [] for client in CLIENTS}
    with ExitStack() as stack:
        drivers = {client: stack.enter_context(Driver(replace(job, client=client))) for client in CLIENTS}
        for number in range(rounds):
            for client in CLIENTS if number % 2 == 0 else CLIENTS[::-1]:
                found[client].append(drivers[client].turn())
    return found


def medians(found: list[Found]) -> Found:
    """Give the median of each figure."""
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


def measure_calls(job: Job, operations: tuple[str, ...], rounds: int) -> None:
    """Print calls per second, the median time of a call and its CPU, of both clients."""
    print(HEAD, flush=True)
    for operation in operations:
        for form in ("sync", "async"):
            for callers in (1, 16) if operation != "claims" else (1,):
                found = in_turns(replace(job, operation=operation, form=form, callers=callers), rounds)
                theirs, ours = (medians(found[client]) for client in CLIENTS)
                ratios = [
                    our["calls_per_s"] / their["calls_per_s"]
                    for their, our in zip(found["supabase"], found["isobase"], strict=True)
                ]
                print(
                    f"| {operation} | {form} | {callers} | {theirs['calls_per_s']:,.0f} | {ours['calls_per_s']:,.0f} "
                    f"| **{ours['calls_per_s'] / theirs['calls_per_s']:.1f}** | {min(ratios):.1f}-{max(ratios):.1f} "
                    f"| {theirs['p50_us']:,.0f} µs | {ours['p50_us']:,.0f} µs "
                    f"| {theirs['cpu_us']:,.0f} µs | {ours['cpu_us']:,.0f} µs "
                    f"| {ours['cpu_us'] / theirs['cpu_us']:.2f} |",
                    flush=True,
                )


def measure_start(rounds: int) -> None:
    """Print the CPU time to the import and to the first query."""
    job = Job("", "start", "http://127.0.0.1:9", "a.b.c")
    print("\n| CPU time until | the package is imported | the first query is made |\n|---|---|---|")
    found: dict[str, list[Found]] = {client: [] for client in CLIENTS}
    for _ in range(rounds):
        for client in CLIENTS:
            found[client].append(run(replace(job, client=client)))
    for client in CLIENTS:
        shown = medians(found[client])
        print(f"| {client} | {shown['import_ms']:.0f} ms | {shown['query_ms']:.0f} ms |", flush=True)


def measure_messages(job: Job, rounds: int) -> None:
    """Print messages per second, there and back, and the CPU of one."""
    print("\n| broadcasts sent and heard | messages/s | lowest-highest | CPU of one |\n|---|---|---|---|")
    found: dict[str, list[Found]] = {client: [] for client in CLIENTS}
    for _ in range(rounds):
        for client in CLIENTS:
            found[client].append(run(replace(job, client=client, operation="messages", seconds=2.0)))
    for client in CLIENTS:
        shown, speeds = medians(found[client]), [each["messages_per_s"] for each in found[client]]
        print(
            f"| {client} | {shown['messages_per_s']:,.0f} | {min(speeds):,.0f}-{max(speeds):,.0f} "
            f"| {shown['cpu_us']:,.0f} µs |",
            flush=True,
        )


def measure_streams(job: Job) -> None:
    """Print the speed, CPU and memory of large files."""
    with tempfile.NamedTemporaryFile(prefix="isobase-bench-") as file:
        file.truncate(job.size_mib * 1024 * 1024)
        found = run(replace(job, client="isobase", operation="streams", file=file.name))
    print(f"\n| {job.size_mib} MiB | MiB/s | client's CPU s | peak of memory |\n|---|---|---|---|")
    for way, words in WAYS.items():
        speed = job.size_mib / found[f"{way}_s"]
        print(f"| {words} | {speed:,.0f} | {found[f'{way}_cpu_s']:.2f} | {found[f'{way}_mb']:+.1f} MB |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS, help="parts to measure")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn")
    parser.add_argument("--rounds", type=int, default=9, help="turns whose median is shown")
    parser.add_argument("--mib", type=int, default=1024, help="size of the streamed objects")
    given = parser.parse_args()
    with without_autogroups() as is_off, server() as values:
        url, key, secret = values["API_URL"], values["ANON_KEY"], values["SERVICE_ROLE_KEY"]
        load = os.getloadavg()[0]
        groups = "off" if is_off else "on"
        print(
            f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, load {load:.1f}, autogroups {groups}\n",
            flush=True,
        )
        job = Job("", "", url, secret, seconds=given.seconds, size_mib=given.mib)
        if "calls" in given.only:
            measure_calls(job, OPERATIONS, given.rounds)
        if "answerer" in given.only:
            with answerer() as (address, token):
                print("\nPrepared answers:\n", flush=True)
                measure_calls(replace(job, url=address, token=token), (*OPERATIONS, "claims"), given.rounds)
        if "start" in given.only:
            measure_start(given.rounds)
        if "messages" in given.only:
            measure_messages(replace(job, key=key), min(given.rounds, 3))
        if "channels" in given.only:
            for client in CLIENTS:
                found = run(Job(client, "channels", url, key, callers=1000))
                print(
                    f"\n1,000 channels, {client}: {found['memory_mb']:.1f} MB in {found['seconds']:.2f} s", flush=True
                )
        if "streams" in given.only:
            measure_streams(job)


if __name__ == "__main__":
    main()
