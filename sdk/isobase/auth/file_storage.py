"""A session on disk, for command-line programs: ``FileStorage(path)``.

The file is JSON, readable by its owner alone, and replaced as a whole, so that a reader never sees half of it. Two
files beside it are locked: one for the moment of a change, one (``try_lock``) for as long as a process refreshes the
session, so that processes which share the file do not exchange the same refresh token twice. The system frees both when
their holder dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from isobase.auth._sync.storage import SyncSupportedStorage

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["FileStorage"]

OWNER_ALONE = 0o600
# In a folder that others can write, a link of theirs must not say which file is made.
LOCK_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class FileStorage(SyncSupportedStorage):
    """Keeps texts in one file; give it as ``storage`` to a client, sync or async.

    path: the file, ``~`` stands for the home; folders that are missing are made, for the owner alone. OSError of the
    system when the file cannot be read or written. A file that is damaged counts as empty, so the user signs in again.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path).expanduser()
        self._guard = threading.Lock()
        self._refreshing: dict[str, int] = {}  # the descriptors of locks that are held, by the key they are for

    def __repr__(self) -> str:
        """Tell the path; never what is in it."""
        return f"FileStorage({str(self.path)!r})"

    def get_item(self, key: str) -> str | None:
        """Give the text kept under ``key``, or None."""
        return self._read().get(key)

    def set_item(self, key: str, value: str) -> None:
        """Keep ``value`` under ``key``."""
        with self._changing():
            texts = self._read()
            if texts.get(key) != value:
                self._write({**texts, key: value})

    def remove_item(self, key: str) -> None:
        """Forget what is kept under ``key``."""
        if not self.path.exists():
            return
        with self._changing():
            texts = self._read()
            if texts.pop(key, None) is not None:
                self._write(texts)

    def try_lock(self, key: str) -> bool:
        """Begin to refresh the session under ``key``; False when another process, or another client of this one,
        does.
        """
        with self._guard:
            if key in self._refreshing:
                return False
            descriptor = self._open_lock(".refresh.lock")
            if not _lock(descriptor, waits=False):
                os.close(descriptor)
                return False
            self._refreshing[key] = descriptor
            return True

    def unlock(self, key: str) -> None:
        """End what ``try_lock`` began."""
        with self._guard:
            descriptor = self._refreshing.pop(key, None)
            if descriptor is not None:
                os.close(descriptor)  # which frees the lock

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            return {}
        return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}

    def _write(self, texts: dict[str, str]) -> None:
        # mkstemp makes it for the owner alone.
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(texts, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        descriptor = self._open_lock(".lock")
        try:
            _lock(descriptor, waits=True)
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self, ending: str) -> int:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self.path.with_name(f".{self.path.name}{ending}")
        return os.open(place, os.O_RDWR | os.O_CREAT | LOCK_FLAGS, OWNER_ALONE)


if sys.platform == "win32":

    def _lock(descriptor: int, *, waits: bool) -> bool:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK if waits else msvcrt.LK_NBLCK, 1)
            except OSError:
                if not waits:
                    return False
            else:
                return True

else:

    def _lock(descriptor: int, *, waits: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
