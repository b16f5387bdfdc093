"""The data directory of a project: its lock, which says that somebody serves it, and what the server says of itself.

The lock is an flock that the kernel gives back when the process ends, however it ends; ``run.json`` is only believed while
the lock is held. Both are for this machine: a data directory is never shared between machines.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from isobase_platform.errors import ConfigurationError, IsobaseError

__all__ = ["AlreadyRunningError", "DataDir", "RunState"]


class AlreadyRunningError(IsobaseError):
    """Another process serves this data directory; ``state`` is what it says of itself, None while it is starting."""

    default_code = "already_running"

    def __init__(self, directory: Path, state: RunState | None) -> None:
        who = f"process {state.pid} at {state.api_url}" if state is not None else "a process that is still starting"
        super().__init__(f"isobase runs already on {directory}: {who}")
        self.state = state


@dataclass(slots=True, frozen=True)
class RunState:
    """What a running server says of itself. ``db_url`` is what users connect to; the file is for its owner alone."""

    pid: int
    api_url: str
    db_url: str
    port: int
    db_port: int | None
    started_at: str
    is_production: bool


class DataDir:
    """One data directory. ``lock`` before anything in it is touched."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock_path = self.path / "lock"
        self._state_path = self.path / "run.json"
        self._descriptor: int | None = None

    @property
    def server_log_path(self) -> Path:
        """Where a detached server writes what it would have written to the terminal."""
        return self.path / "server.log"

    def lock(self) -> None:
        """Make the directory where it is missing and take its lock, which this process then holds until it ends.

        Raises ``AlreadyRunningError`` when somebody holds it, ``ConfigurationError`` when the directory cannot be used.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"the data directory {self.path} cannot be used: {error.strerror}",
                hint="choose another one with --data-dir",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunningError(self.path, self._read_state()) from None
        self._descriptor = descriptor
        self._state_path.unlink(missing_ok=True)

    def unlock(self) -> None:
        """Say no more that we serve, and let the next one in."""
        self._state_path.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write_state(self, state: RunState) -> None:
        """Tell ``status`` and ``stop`` about this process; readable for the owner alone."""
        temporary = self._state_path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(state), file, indent=2)
        temporary.replace(self._state_path)

    def running(self) -> RunState | None:
        """What the server on this directory says of itself; None when none runs or it is not ready yet."""
        return self._read_state() if self.is_locked() else None

    def is_locked(self) -> bool:
        """Whether a process serves this directory (or is starting, or ending)."""
        try:
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _read_state(self) -> RunState | None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return RunState(**json.loads(self._state_path.read_text()))
        return None
