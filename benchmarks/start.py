"""Time to the first answer of ``isobase start``, and the memory of an idle Isobase. ``make bench-start`` runs it.

First start: a fresh data directory with the sample project (initdb, schema, migrations, seed). Later start: the same
directory again. The clock runs from the start of the process to the first HTTP answer on ``/rest/v1/``, whatever its status.
Memory is the sum of the proportional set sizes (PSS, ``/proc/PID/smaps_rollup``) of all processes, a few seconds after
the last request. Runs on Linux only, because PSS does.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isobase_deploy.ports import free_ports

ROOT = Path(__file__).parents[1]
SAMPLE_PROJECT = ROOT / "examples" / "field-notes"
ISOBASE = Path(sys.executable).with_name("isobase")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.005
SETTLE_S = 5.0

FIRST_GOAL_S = 3.0
LATER_GOAL_S = 1.0
MEMORY_GOAL_MB = 150.0


@dataclass(slots=True, frozen=True)
class Memory:
    """PSS in MB of one kind of process and how many of it there are."""

    name: str
    processes: int
    pss_mb: float


@contextmanager
def running(project: Path, port: int, db_port: int) -> Iterator[tuple[float, int]]:
    """Start Isobase on ``project``; yields (seconds to the first answer, process id) and ends it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ISOBASE_", "SUPABASE_"))}
    environment.pop("DATABASE_URL", None)
    environment["ISOBASE_MAIL_PORT"] = "0"
    command = [str(ISOBASE), "start", "--workdir", str(project), "--port", str(port), "--db-port", str(db_port)]
    with (project / "isobase.log").open("ab") as log:
        started_s = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield seconds_to_answer(process, port, started_s, project), process.pid
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def seconds_to_answer(process: subprocess.Popen[bytes], port: int, started_s: float, project: Path) -> float:
    """Ask for ``/rest/v1/`` until something answers."""
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_TIMEOUT_S)
            connection.request("GET", "/rest/v1/")
            connection.getresponse().read()
            connection.close()
        except OSError:
            if process.poll() is not None or time.perf_counter() - started_s > START_TIMEOUT_S:
                raise SystemExit(f"isobase start failed:\n{(project / 'isobase.log').read_text()}") from None
            time.sleep(POLL_S)
        else:
            return time.perf_counter() - started_s


def family_of(pid: int) -> list[int]:
    """``pid`` and all its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found.extend(int(child) for child in (task / "children").read_text().split())
    return found


def memory_of(pid: int) -> list[Memory]:
    """PSS of the server and of each kind of PostgreSQL process below it."""
    by_name: dict[str, list[float]] = {}
    for one in family_of(pid):
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            command = Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        by_name.setdefault(process_name(command), []).append(kib / 1024)
    return [Memory(name, len(sizes), sum(sizes)) for name, sizes in sorted(by_name.items())]


def process_name(command: str) -> str:
    """``isobase``, ``postgres``, or the part of a PostgreSQL process's title that says what it does."""
    if command.startswith("postgres: "):
        words = command.removeprefix("postgres: ").split()
        is_backend = len(words) > 2 and words[1] == "postgres"
        return "postgres: connections" if is_backend else "postgres: " + " ".join(words[:2]).strip()
    return "postgres: postmaster" if "/bin/postgres" in command else "isobase"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="first starts, and later starts, to take the median of")
    runs = parser.parse_args().runs
    firsts: list[float] = []
    laters: list[float] = []
    memory: list[Memory] = []
    for number in range(runs):
        port, db_port = free_ports(2)
        with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
            Path(name).chmod(0o755)
            project = Path(name) / "project"
            shutil.copytree(SAMPLE_PROJECT, project, ignore=shutil.ignore_patterns(".isobase"))
            with running(project, port, db_port) as (seconds, _):
                firsts.append(seconds)
            with running(project, port, db_port) as (seconds, pid):
                laters.append(seconds)
                if number == runs - 1:
                    time.sleep(SETTLE_S)
                    memory = memory_of(pid)
    total_mb = sum(one.pss_mb for one in memory)
    print(f"Isobase on {os.cpu_count()} cores, Python {sys.version.split()[0]}, sample project {SAMPLE_PROJECT.name}\n")
    print(f"{'to the first answer on /rest/v1/':<34}{'median':>9}{'best':>9}{'worst':>9}{'goal':>9}")
    for label, values, goal in (("first start", firsts, FIRST_GOAL_S), ("later start", laters, LATER_GOAL_S)):
        print(f"{label:<34}{statistics.median(values):>7.2f} s{min(values):>7.2f} s{max(values):>7.2f} s{goal:>7.1f} s")
    print(f"\n{'idle memory (PSS)':<34}{'processes':>9}{'MB':>9}{'goal':>18}")
    for one in memory:
        print(f"{one.name:<34}{one.processes:>9}{one.pss_mb:>9.1f}")
    print(f"{'all':<34}{sum(one.processes for one in memory):>9}{total_mb:>9.1f}{MEMORY_GOAL_MB:>18.1f}")


if __name__ == "__main__":
    main()
