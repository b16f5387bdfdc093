"""A running ``isobase start`` of a test's own, to be killed, drained and started again."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil

from tests.plugins.stack import STACK_STOP_TIMEOUT_S, StackProcess

__all__ = ["IsobaseProcess"]


class IsobaseProcess(StackProcess):
    """A ``StackProcess`` that can also be ended without asking."""

    @property
    def url(self) -> str:
        """The gateway's URL, whether it runs or not."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_dsn(self) -> str:
        """The superuser's database URL."""
        return f"postgresql://supabase_admin:postgres@127.0.0.1:{self.db_port}/postgres"

    def postgres_processes(self) -> list[psutil.Process]:
        """The server process of its PostgreSQL first, then its children."""
        pid_file = self.data_dir / "postgres" / "postmaster.pid"
        try:
            postmaster = psutil.Process(int(pid_file.read_text().partition("\n")[0]))
            return [postmaster, *postmaster.children(recursive=True)]
        except (OSError, ValueError, psutil.NoSuchProcess):
            return []

    def kill_hard(self, *, server: bool = True, postgres: bool = True) -> None:
        """SIGKILL to the server, to every process of PostgreSQL, or to both, at once."""
        assert self.process is not None
        processes = self.postgres_processes() if postgres else []
        if server:
            os.kill(self.process.pid, signal.SIGKILL)
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        if server:
            self.process.wait(timeout=STACK_STOP_TIMEOUT_S)

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        assert self.process is not None
        self.process.terminate()

    def wait(self, timeout_s: float = STACK_STOP_TIMEOUT_S) -> int:
        """Wait for its end; returns the exit code."""
        assert self.process is not None
        return self.process.wait(timeout=timeout_s)
