"""A running ``isobase start`` of a test's own: a real process on free ports, signalled and ended by its process id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from isobase_deploy.ports import free_ports
from isobase_platform.config import DEFAULT_JWT_SECRET
from isobase_platform.tokens import role_token

__all__ = ["IsobaseProcess"]

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
COMMAND = Path(sys.executable).with_name("isobase")


@dataclass
class IsobaseProcess:
    """``isobase start`` for a project folder, which also holds its data (``.isobase``)."""

    project_dir: Path
    arguments: tuple[str, ...] = ()
    port: int = 0
    db_port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    anon_key: str = field(default=role_token(DEFAULT_JWT_SECRET, "anon"), repr=False)
    service_role_key: str = field(default=role_token(DEFAULT_JWT_SECRET, "service_role"), repr=False)

    def __post_init__(self) -> None:
        if not self.port:
            self.port, self.db_port = free_ports(2)

    @property
    def url(self) -> str:
        """The gateway's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_dsn(self) -> str:
        """The superuser's database URL."""
        return f"postgresql://supabase_admin:postgres@127.0.0.1:{self.db_port}/postgres"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self.project_dir / "isobase.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until ``/ready`` says so; raises with its output when it ends or takes too long."""
        command = [str(COMMAND), "start", "--port", str(self.port), "--db-port", str(self.db_port), *self.arguments]
        with (self.project_dir / "isobase.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.project_dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self.process.poll() is not None:
                raise RuntimeError(f"isobase start ended with {self.process.returncode}:\n{self.log}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/ready", timeout=2).status_code == 200:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"isobase start was not ready within {START_TIMEOUT_S} s:\n{self.log}")

    def postgres_processes(self) -> list[psutil.Process]:
        """The server process of its PostgreSQL first, then its children."""
        pid_file = self.project_dir / ".isobase" / "postgres" / "postmaster.pid"
        try:
            postmaster = psutil.Process(int(pid_file.read_text().partition("\n")[0]))
            return [postmaster, *postmaster.children(recursive=True)]
        except (OSError, ValueError, psutil.NoSuchProcess):
            return []

    def kill_hard(self, *, server: bool = True, postgres: bool = True) -> None:
        """SIGKILL to the server, to every process of PostgreSQL, or to both, at once."""
        processes = self.postgres_processes() if postgres else []
        if server:
            os.kill(self.pid, signal.SIGKILL)
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        if server and self.process is not None:
            self.process.wait(timeout=STOP_TIMEOUT_S)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for its end; returns the exit code."""
        assert self.process is not None
        return self.process.wait(timeout=timeout_s)

    def stop(self) -> None:
        """End it in order; by force when it does not end in time. Nothing where it has ended."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill_hard()
            raise
