"""The data directory of a project: its lock, which says that somebody serves it, and what the server says of itself.

The lock is an flock that the kernel gives back when the process ends, however it ends; ``run.json`` is only believed while
the lock is held. Both are for this machine: a data directory is never shared between machines.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from isobase_platform.errors import ConfigurationError, IsobaseError

__all__ = ["AlreadyRunningError", "DataDir", "RunState"]

ENTRIES = (
    *("postgres", "postgres.new", "postgres.log*", "server.log", "socket"),
    *("storage", "extensions", "serve-*", "run.json", "run.new", "lock"),
)
"""What Isobase writes into a data directory, as patterns; docs/cli.md tells what each is."""
IGNORE_ALL = "*\n"
"""The .gitignore of a data directory."""


class AlreadyRunningError(IsobaseError):
    """Another process serves this data directory; ``state`` is what it says of itself, None while it is starting."""

    default_code = "already_running"

    def __init__(self, directory: Path, state: RunState | None) -> None:
        who = f"process {state.pid} at {state.api_url}" if state is not None else "a process that is still starting"
        super().__init__(
            f"isobase runs already on {directory}: {who}",
            hint="isobase status shows its URLs and keys, isobase stop ends it",
        )
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
    mail_port: int | None = None


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

    def make(self) -> None:
        """Make the directory where it is missing. Raises ``ConfigurationError`` when that cannot be."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Only in a folder that holds nothing else: --data-dir may name one that somebody keeps files in.
            if not any(self.path.iterdir()):
                (self.path / ".gitignore").write_text(IGNORE_ALL)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"the data directory {self.path} cannot be used: {error.strerror}",
            hint="choose another one with --data-dir",
        )

    def lock(self) -> None:
        """Make the directory where it is missing and take its lock, which this process then holds until it ends.

        Raises ``AlreadyRunningError`` when somebody holds it, ``ConfigurationError`` when the directory cannot be used.
        """
        self.make()
        try:
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
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

    def delete(self) -> bool:
        """Delete what Isobase keeps here, and the folder where nothing else is left in it; whether the folder is gone.

        The caller holds the lock. ``--data-dir`` may name a folder with other people's files in it, so nothing is deleted
        that is not ours by name.
        """
        for name in ENTRIES:
            for path in self.path.glob(name):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
        ignore = self.path / ".gitignore"
        with contextlib.suppress(OSError):
            if ignore.read_text() == IGNORE_ALL:
                ignore.unlink()
        try:
            self.path.rmdir()
        except OSError:
            return False
        return True

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
