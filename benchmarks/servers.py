"""What every benchmark needs of its servers: starting and ending them, their CPU time and memory, a database to share."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isobase_deploy.ports import free_ports

__all__ = [
    "ISOBASE",
    "JWT_SECRET",
    "POOL",
    "ROOT",
    "Database",
    "Server",
    "database",
    "running",
    "settle",
    "without_autogroups",
]

JWT_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"
ROOT = Path(__file__).parents[1]
ISOBASE = Path(sys.executable).with_name("isobase")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POOL = 10
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
QUIET_INTERVAL_S = 0.25
QUIET_CPU_S = 0.05
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
        """CPU seconds that the server and its processes have used, those included that have ended."""
        ticks = 0
        for pid in self._family():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
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


def settle(server: Server) -> None:
    """Wait until the server has done what clients who went away left behind."""
    used_s, before_s = server.cpu_s(), -1.0
    while used_s - before_s > QUIET_CPU_S:
        time.sleep(QUIET_INTERVAL_S)
        used_s, before_s = server.cpu_s(), used_s


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


@dataclass(slots=True, frozen=True)
class Database:
    """A running PostgreSQL that ``isobase start`` made; the passwords of its roles are the local stack's."""

    port: int
    pid: int

    def url(self, role: str, name: str = "postgres") -> str:
        """The URL by which ``role`` connects."""
        return f"postgresql://{role}:postgres@127.0.0.1:{self.port}/{name}"

    @property
    def server(self) -> Server:
        """Its processes, to be measured."""
        return Server("PostgreSQL", self.port, self.pid)


@contextmanager
def database(fixture: Path, settings: Mapping[str, str] | None = None) -> Iterator[Database]:
    """A database of ``isobase start`` with the SQL file ``fixture`` as its migration; ``settings`` for its environment."""
    port, db_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        project = Path(name)
        project.chmod(0o755)
        migrations = project / "supabase" / "migrations"
        migrations.mkdir(parents=True)
        (project / "supabase" / "config.toml").write_text('project_id = "bench"\n')
        shutil.copyfile(fixture, migrations / "20260101000000_fixture.sql")
        command = [str(ISOBASE), "start", "--workdir", name, "--port", str(port), "--db-port", str(db_port)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("ISOBASE_", "PGRST_"))}
        environment.pop("DATABASE_URL", None)
        environment["ISOBASE_MAIL_PORT"] = "0"
        environment |= settings or {}
        with running(command, port, project / "isobase.log", environment):
            [pid_file] = project.glob(".isobase/**/postmaster.pid")
            yield Database(db_port, int(pid_file.read_text().split()[0]))


@contextmanager
def running(
    command: list[str], port: int, log: Path, environment: dict[str, str], folder: Path | None = None
) -> Iterator[int]:
    """A server, started in ``folder``, until the block ends, answering on ``port``; yields its process id."""
    with log.open("ab") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment, cwd=folder)
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
