"""Blobs that grow on the local disk: one file each under ``uploads/``, renamed to its place below ``objects/`` at the end.

A file is named as the blob that it becomes. Its writer holds the kernel's lock on it (``flock``), which ends with the
process, so no second writer can touch it while the first is alive, whatever it believes of its lease. Bytes are written
as they come and flushed when the core asks; a crash leaves a file that may be longer than what was acknowledged, and the
next writer cuts it there. The MD5 of the ETag is carried on from one request to the next in memory; where another process
goes on, the file is read once at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from isobase_services.storage.blob import BlobKey, BlobMissing, StoredBlob
from isobase_services.storage.blob.appending import AppendBusy, AppendEntry, Appender
from isobase_services.storage.blob.file.places import DIRECTORY_FLAGS, MODE_FILE, open_directory, place_of
from isobase_services.storage.blob.file.threads import FileThreads

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["FileAppends"]

MAX_REMEMBERED_DIGESTS = 1024
"""Running digests of uploads that are between two requests."""
READ_BYTES = 1024 * 1024
_FILE_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC

_P = ParamSpec("_P")
_T = TypeVar("_T")


class FileAppends:
    """An ``AppendStore`` in ``root``; file work runs on ``threads``."""

    def __init__(self, root: Path, threads: FileThreads) -> None:
        self._root = root
        self._threads = threads
        self._directories: dict[str, int] = {}
        self._digests: OrderedDict[str, tuple[int, _Hash]] = OrderedDict()
        self._lock = threading.Lock()

    async def open(self, key: BlobKey, offset_bytes: int) -> Appender:
        """See ``AppendStore.open``."""
        return await self.run(self._open, *place_of(key), offset_bytes)

    def _open(self, shard: str, name: str, offset_bytes: int) -> Appender:
        flags = _FILE_FLAGS if offset_bytes else _FILE_FLAGS | os.O_CREAT
        while True:
            try:
                descriptor = os.open(name, flags, MODE_FILE, dir_fd=self._directory("uploads"))
            except FileNotFoundError:
                return self._open_finished(shard, name)
            try:
                if not _lock_file(descriptor):
                    raise AppendBusy
                if self._is_called(name, descriptor):
                    if os.fstat(descriptor).st_size < offset_bytes:
                        raise BlobMissing
                    os.ftruncate(descriptor, offset_bytes)
                    os.lseek(descriptor, offset_bytes, os.SEEK_SET)
                    digest = self._take_digest(name, offset_bytes)
                    return _FileAppender(self, descriptor, shard, name, offset_bytes, digest)
            except BaseException:
                os.close(descriptor)
                raise
            # Whoever had it before renamed it to its place, or removed it, after it was opened here by its name.
            os.close(descriptor)

    def _open_finished(self, shard: str, name: str) -> Appender:
        try:
            directory = os.open(shard, DIRECTORY_FLAGS, dir_fd=self._directory("objects"))
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            finally:
                os.close(directory)
        except FileNotFoundError as error:
            raise BlobMissing from error
        return _FinishedAppender(self, descriptor)

    def _is_called(self, name: str, descriptor: int) -> bool:
        facts = os.fstat(descriptor)
        try:
            named = os.stat(name, dir_fd=self._directory("uploads"), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) == (facts.st_dev, facts.st_ino)

    async def discard(self, key: BlobKey) -> None:
        """See ``AppendStore.discard``."""
        await self.run(self._discard, place_of(key)[1])

    def _discard(self, name: str) -> None:
        self._take_digest(name, 0)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._directory("uploads"))

    async def scan(self) -> AsyncIterator[AppendEntry]:
        """See ``AppendStore.scan``."""
        for entry in await self.run(self._entries):
            yield entry

    def _entries(self) -> list[AppendEntry]:
        found: list[AppendEntry] = []
        directory = self._directory("uploads")
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
                changed_at = datetime.fromtimestamp(facts.st_mtime, UTC)
                found.append(AppendEntry(name.rpartition(".")[2], name, facts.st_size, changed_at))
        return found

    async def discard_entry(self, entry: AppendEntry) -> None:
        """See ``AppendStore.discard_entry``."""
        await self.run(self._discard_free, entry.handle)

    def _discard_free(self, name: str) -> None:
        directory = self._directory("uploads")
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(name, _FILE_FLAGS, dir_fd=directory)
            try:
                if _lock_file(descriptor):
                    os.unlink(name, dir_fd=directory)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Close the directories; call it when no work runs any more."""
        while self._directories:
            os.close(self._directories.popitem()[1])

    def publish(self, name: str, shard: str) -> None:
        """Move a finished file to its place, durably. For the appenders of this module."""
        directory = open_directory(shard, self._directory("objects"))
        try:
            os.rename(name, name, src_dir_fd=self._directory("uploads"), dst_dir_fd=directory)
            os.fsync(directory)
        finally:
            os.close(directory)

    def sync_names(self) -> None:
        """Make durable that a new file is there. For the appenders of this module."""
        os.fsync(self._directory("uploads"))

    def keep_digest(self, name: str, offset_bytes: int, digest: _Hash) -> None:
        """Remember the digest of a file's first ``offset_bytes``. For the appenders of this module."""
        with self._lock:
            self._digests[name] = (offset_bytes, digest)
            self._digests.move_to_end(name)
            if len(self._digests) > MAX_REMEMBERED_DIGESTS:
                self._digests.popitem(last=False)

    def _take_digest(self, name: str, offset_bytes: int) -> _Hash | None:
        """The running digest of exactly so many bytes, or None where nobody here knows it."""
        with self._lock:
            known = self._digests.pop(name, None)
        if offset_bytes == 0:
            return hashlib.md5(usedforsecurity=False)
        return known[1] if known is not None and known[0] == offset_bytes else None

    def _directory(self, name: str) -> int:
        """A descriptor of ``root/name``, made where it is missing."""
        with self._lock:
            descriptor = self._directories.get(name)
            if descriptor is None:
                root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    descriptor = self._directories[name] = open_directory(name, root)
                finally:
                    os.close(root)
            return descriptor

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run file work on the store's threads. For the appenders of this module."""
        return await self._threads.run(work, *args, **kwargs)


class _FileAppender:
    """A file under ``uploads/``, locked. Its steps run on any thread, one after the other."""

    def __init__(
        self, store: FileAppends, descriptor: int, shard: str, name: str, offset_bytes: int, digest: _Hash | None
    ) -> None:
        self._store = store
        self._descriptor = descriptor
        self._shard = shard
        self._name = name
        self._offset = offset_bytes
        self._synced = offset_bytes
        self._is_new = offset_bytes == 0
        self._digest = digest
        self._lock = threading.Lock()

    async def write(self, chunks: Sequence[bytes]) -> None:
        """See ``Appender.write``."""
        await self._store.run(self._write, chunks)

    def _write(self, chunks: Sequence[bytes]) -> None:
        with self._lock:
            if self._descriptor < 0:
                return  # a step of a cancelled request: nobody waits for it any more
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
                if self._digest is not None:
                    self._digest.update(chunk)
                self._offset += len(chunk)

    async def sync(self) -> None:
        """See ``Appender.sync``."""
        await self._store.run(self._sync)

    def _sync(self) -> None:
        # Beside a write that goes on: what was written before this call is flushed, and more does no harm.
        with self._lock:
            synced = self._offset
        os.fdatasync(self._descriptor)
        if self._is_new:
            self._store.sync_names()
            self._is_new = False
        self._synced = synced

    async def finish(self) -> StoredBlob:
        """See ``Appender.finish``."""
        return await self._store.run(self._finish)

    def _finish(self) -> StoredBlob:
        with self._lock:
            digest = self._digest if self._digest is not None else _digest_of(self._descriptor)
            os.fsync(self._descriptor)
            self._store.publish(self._name, self._shard)
            self._digest = None
            return StoredBlob(f'"{digest.hexdigest()}"', self._offset, datetime.now(UTC))

    async def close(self) -> None:
        """See ``Appender.close``."""
        await asyncio.shield(self._store.run(self._close))

    def _close(self) -> None:
        with self._lock:
            if self._descriptor < 0:
                return
            # Bytes behind the last flush were given up, and may come again as others.
            if self._digest is not None and self._synced == self._offset:
                self._store.keep_digest(self._name, self._offset, self._digest)
            os.close(self._descriptor)
            self._descriptor = -1


class _FinishedAppender:
    """A file that is at its place already: a process ended between that and the row. Its last bytes come once more."""

    def __init__(self, store: FileAppends, descriptor: int) -> None:
        self._store = store
        self._descriptor = descriptor

    async def write(self, chunks: Sequence[bytes]) -> None:
        """See ``Appender.write``."""

    async def sync(self) -> None:
        """See ``Appender.sync``."""

    async def finish(self) -> StoredBlob:
        """See ``Appender.finish``."""
        return await self._store.run(self._finish)

    def _finish(self) -> StoredBlob:
        facts = os.fstat(self._descriptor)
        digest = _digest_of(self._descriptor)
        return StoredBlob(f'"{digest.hexdigest()}"', facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))

    async def close(self) -> None:
        """See ``Appender.close``."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _lock_file(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _digest_of(descriptor: int) -> _Hash:
    digest = hashlib.md5(usedforsecurity=False)
    offset = 0
    while content := os.pread(descriptor, READ_BYTES, offset):
        digest.update(content)
        offset += len(content)
    return digest
