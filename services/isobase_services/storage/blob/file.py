"""Blobs on the local disk.

Layout under the root directory: ``objects/<xx>/<digest>.<version>``, where digest is the SHA-256 of bucket and name and xx
its first two digits; ``tmp/`` holds writes that are not finished. No part of a path is text that a user chose, so nothing a
user sends can leave the root; and since bucket and name are part of the file name, a row that claims another object's
version finds nothing. Every file is opened relative to a directory descriptor and never through a symbolic link.

A write goes to ``tmp/``, is flushed to the disk, renamed to its place, and the directory is flushed: after a crash the blob
is there whole, or a file in ``tmp/`` is left, which the next start removes once it is older than a day. All file work runs
on threads of its own, so that neither the event loop nor other users of the default pool wait for the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import stat
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from isobase_platform.errors import ConfigurationError
from isobase_services.storage.blob import BlobKey, BlobMissing, BlobReader, ByteRange, StoredBlob
from isobase_services.storage.blob.file_append import FileAppends
from isobase_services.storage.rules import is_uuid

__all__ = ["FileBlobStore"]

IO_THREADS = 4
WRITE_BUFFER_BYTES = 1024 * 1024
"""How much of an upload is collected before it is hashed and written: few hops to a thread, little memory."""
READ_CHUNK_BYTES = 256 * 1024
STALE_TEMPORARY_FILE_AGE_S = 24 * 3600
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE_DIRECTORY = 0o700
_MODE_FILE = 0o600

_P = ParamSpec("_P")
_T = TypeVar("_T")
_log = logging.getLogger("isobase.storage")


class FileBlobStore:
    """A ``BlobStore`` in the directory ``root``. Several processes may share one root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._objects = -1
        self._temporary = -1
        self._executor = ThreadPoolExecutor(max_workers=IO_THREADS, thread_name_prefix="isobase-blob")
        self.appends = FileAppends(root, self._executor, _place)

    async def start(self) -> None:
        """Make the directories and remove temporary files older than a day. Raises ``ConfigurationError``."""
        await self._run(self._prepare)

    def _prepare(self) -> None:
        try:
            self._root.mkdir(mode=_MODE_DIRECTORY, parents=True, exist_ok=True)
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._objects = _open_directory("objects", root)
                self._temporary = _open_directory("tmp", root)
            finally:
                os.close(root)
        except OSError as error:
            raise ConfigurationError(f"storage.root {self._root} cannot be used: {error.strerror}") from error
        oldest_s = time.time() - STALE_TEMPORARY_FILE_AGE_S
        for name in os.listdir(self._temporary):
            with contextlib.suppress(FileNotFoundError):
                if os.stat(name, dir_fd=self._temporary, follow_symlinks=False).st_mtime < oldest_s:
                    os.unlink(name, dir_fd=self._temporary)

    async def put(self, key: BlobKey, chunks: AsyncIterator[bytes]) -> StoredBlob:
        """Store the stream; see ``BlobStore.put``."""
        shard, name = _place(key)
        writer = _Writer(self._temporary)
        pending: list[bytes] = []
        pending_bytes = 0
        try:
            async for chunk in chunks:
                pending.append(chunk)
                pending_bytes += len(chunk)
                if pending_bytes >= WRITE_BUFFER_BYTES:
                    await self._run(writer.append, pending)
                    pending, pending_bytes = [], 0
            return await self._run(writer.finish, pending, self._objects, shard, name)
        except BaseException:
            # The thread of a cancelled step may still be writing; discard waits for it, so no file can appear later.
            await asyncio.shield(self._run(writer.discard))
            raise

    async def open(self, key: BlobKey) -> BlobReader:
        """Open for reading; see ``BlobStore.open``."""
        shard, name = _place(key)
        return await self._run(self._open, shard, name)

    def _open(self, shard: str, name: str) -> _Reader:
        descriptor = _open_file(self._objects, shard, name)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            os.close(descriptor)
            raise BlobMissing
        # A small blob is read at once, in the same hop to the thread.
        if facts.st_size <= READ_CHUNK_BYTES:
            try:
                content = _read_fully(descriptor, facts.st_size, 0)
            finally:
                os.close(descriptor)
            return _Reader(self._executor, None, facts.st_size, content)
        return _Reader(self._executor, descriptor, facts.st_size, b"")

    async def copy(self, source: BlobKey, target: BlobKey) -> None:
        """Store a second blob with the same bytes; a hard link where the file system has them, as blobs never change."""
        await self._run(self._copy, _place(source), _place(target))

    def _copy(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        descriptor = _open_file(self._objects, *source)
        try:
            target_shard = _open_directory(target[0], self._objects)
            try:
                self._link_or_copy(descriptor, source, target_shard, target[1])
                os.fsync(target_shard)
            finally:
                os.close(target_shard)
        finally:
            os.close(descriptor)

    def _link_or_copy(self, descriptor: int, source: tuple[str, str], target_shard: int, target_name: str) -> None:
        try:
            source_shard = os.open(source[0], _DIRECTORY_FLAGS, dir_fd=self._objects)
            try:
                os.link(source[1], target_name, src_dir_fd=source_shard, dst_dir_fd=target_shard, follow_symlinks=False)
            finally:
                os.close(source_shard)
        except FileNotFoundError as error:
            raise BlobMissing from error
        except OSError:
            # No hard links here, or too many to this file: the bytes are copied.
            writer = _Writer(self._temporary)
            try:
                offset = 0
                while content := os.pread(descriptor, WRITE_BUFFER_BYTES, offset):
                    writer.append([content])
                    offset += len(content)
                writer.rename_into(target_shard, target_name)
            except BaseException:
                writer.discard()
                raise

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        """Remove blobs; see ``BlobStore.delete``."""
        places = [_place(key) for key in keys if is_uuid(key.version)]
        if places:
            await self._run(self._delete, places)

    def _delete(self, places: Sequence[tuple[str, str]]) -> None:
        for shard, name in places:
            try:
                directory = os.open(shard, _DIRECTORY_FLAGS, dir_fd=self._objects)
            except OSError:
                continue
            try:
                os.unlink(name, dir_fd=directory)
            except FileNotFoundError:
                continue
            finally:
                os.close(directory)

    async def close(self) -> None:
        """Wait for running file work and close the directories."""
        await asyncio.to_thread(self._executor.shutdown)
        self.appends.close()
        for descriptor in (self._objects, self._temporary):
            if descriptor >= 0:
                os.close(descriptor)
        self._objects = self._temporary = -1

    async def _run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: work(*args, **kwargs))


class _Writer:
    """One file in ``tmp/``, made on the first append. Its steps run on any thread, one after the other."""

    def __init__(self, temporary: int) -> None:
        self._temporary = temporary
        self._name = uuid.uuid4().hex
        self._descriptor = -1
        self._is_over = False
        self._digest = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._lock = threading.Lock()

    def append(self, chunks: Sequence[bytes]) -> None:
        with self._lock:
            self._append(chunks)

    def _append(self, chunks: Sequence[bytes]) -> None:
        if self._is_over:
            return
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._name, flags, _MODE_FILE, dir_fd=self._temporary)
        content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._digest.update(content)
        self._size += len(content)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def finish(self, chunks: Sequence[bytes], objects: int, shard: str, name: str) -> StoredBlob:
        """Write the last chunks, flush, and move the file to its place."""
        with self._lock:
            self._append(chunks)
            directory = _open_directory(shard, objects)
            try:
                self._rename_into(directory, name)
                os.fsync(directory)
            finally:
                os.close(directory)
            return StoredBlob(f'"{self._digest.hexdigest()}"', self._size, datetime.now(UTC))

    def rename_into(self, directory: int, name: str) -> None:
        with self._lock:
            self._append([b""])
            self._rename_into(directory, name)

    def _rename_into(self, directory: int, name: str) -> None:
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        self._is_over = True
        os.rename(self._name, name, src_dir_fd=self._temporary, dst_dir_fd=directory)

    def discard(self) -> None:
        """Remove what was written; nothing after a finish."""
        with self._lock:
            was_open = self._descriptor >= 0
            self._is_over = True
            if was_open:
                os.close(self._descriptor)
                self._descriptor = -1
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._temporary)


class _Reader:
    """An open file, or a small one that was read already."""

    def __init__(self, executor: ThreadPoolExecutor, descriptor: int | None, size_bytes: int, content: bytes) -> None:
        self._executor = executor
        self._descriptor = descriptor
        self._size = size_bytes
        self._content = content

    @property
    def size_bytes(self) -> int:
        return self._size

    async def chunks(self, byte_range: ByteRange | None = None) -> AsyncIterator[bytes]:
        first = byte_range.first if byte_range else 0
        end = byte_range.last + 1 if byte_range else self._size
        if self._descriptor is None:
            yield self._content[first:end]
            return
        loop = asyncio.get_running_loop()
        while first < end:
            length = min(READ_CHUNK_BYTES, end - first)
            chunk = await loop.run_in_executor(self._executor, os.pread, self._descriptor, length, first)
            if not chunk:
                raise OSError("A blob is shorter than it was when it was opened")
            yield chunk
            first += len(chunk)

    async def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _place(key: BlobKey) -> tuple[str, str]:
    """Shard and file name of a blob. Raises ``BlobMissing`` for a version that this store never made."""
    if not is_uuid(key.version):
        raise BlobMissing
    digest = hashlib.sha256(f"{key.bucket}\0{key.name}".encode()).hexdigest()
    return digest[:2], f"{digest}.{key.version.lower()}"


def _open_directory(name: str, parent: int) -> int:
    """Open the directory ``name`` under ``parent``, made durably where it is missing; never through a link."""
    try:
        return os.open(name, _DIRECTORY_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, _MODE_DIRECTORY, dir_fd=parent)
        os.fsync(parent)
        return os.open(name, _DIRECTORY_FLAGS, dir_fd=parent)


def _open_file(objects: int, shard: str, name: str) -> int:
    try:
        directory = os.open(shard, _DIRECTORY_FLAGS, dir_fd=objects)
        try:
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
        finally:
            os.close(directory)
    except FileNotFoundError as error:
        raise BlobMissing from error
    except OSError as error:
        # A link where a blob should be (ELOOP, ENOTDIR): somebody changed the root by hand. Never follow it.
        _log.warning("blob cannot be opened", extra={"blob": name, "errno": error.errno})
        raise BlobMissing from error


def _read_fully(descriptor: int, size_bytes: int, offset: int) -> bytes:
    content = os.pread(descriptor, size_bytes, offset)
    while len(content) < size_bytes:
        more = os.pread(descriptor, size_bytes - len(content), offset + len(content))
        if not more:
            break
        content += more
    return content
