"""One file of the local-disk backend while it is written, and one while it is read."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from isobase_services.storage.blob import BlobUnavailable, ByteRange
from isobase_services.storage.blob.file.places import MODE_FILE, open_directory
from isobase_services.storage.blob.file.threads import FileThreads

__all__ = ["READ_CHUNK_BYTES", "WRITE_BUFFER_BYTES", "BlobWriter", "FileReader", "FileWriter", "write_stream"]

_T = TypeVar("_T")

WRITE_BUFFER_BYTES = 1024 * 1024
"""How much of an upload is collected before it is hashed and written: few hops to a thread, little memory."""
FLUSH_BYTES = 8 * 1024 * 1024
"""How much is written until the disk is told to begin, so that little is left to wait for at the end."""
READ_CHUNK_BYTES = 256 * 1024
_NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HAS_ADVICE = sys.platform == "linux"
GIVEN_UP = "The write was given up"
_CANNOT_COPY_RANGE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""How a file system says that it cannot copy inside the kernel."""


class FileWriter:
    """A file under a temporary name in ``directory``, made on the first append. Its steps run on any thread, one by one."""

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._name = uuid.uuid4().hex
        self._descriptor = -1
        self._is_over = False
        self._digest = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._flushed = 0
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """How much was written so far."""
        return self._size

    def digest(self) -> bytes:
        """The MD5 of what was appended so far."""
        return self._digest.digest()

    def append(self, chunks: Sequence[bytes], *, is_last: bool = False) -> None:
        """Write the chunks behind what is there; nothing after ``finish`` or ``discard``. ``is_last``: no more will come."""
        with self._lock:
            self._append(chunks)

    def _append(self, chunks: Sequence[bytes]) -> None:
        if self._is_over:
            return
        content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._digest.update(content)
        self._write(content)

    def _write(self, content: bytes) -> None:
        descriptor = self._open()
        self._size += len(content)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if self._size - self._flushed >= FLUSH_BYTES and _HAS_ADVICE:
            # Linux answers this advice by beginning to write the range, and waits for nothing; dirty pages stay in memory.
            os.posix_fadvise(descriptor, self._flushed, self._size - self._flushed, os.POSIX_FADV_DONTNEED)
            self._flushed = self._size

    def append_range(self, source: int, offset: int, size_bytes: int) -> None:
        """Copy bytes of an open file behind what is there, inside the kernel where it can; they are not hashed.

        Raises ``BlobUnavailable`` where the source is shorter.
        """
        with self._lock:
            if self._is_over:
                raise BlobUnavailable(GIVEN_UP)
            target = self._open()
            copied = 0
            try:
                while copied < size_bytes:
                    # Without an offset for the target it goes on at its own position, as os.write does.
                    count = os.copy_file_range(source, target, size_bytes - copied, offset + copied)
                    if count == 0:
                        break
                    copied += count
            except AttributeError:
                pass  # no such call on this system: the bytes go through memory
            except OSError as error:
                if error.errno not in _CANNOT_COPY_RANGE:
                    raise
            self._size += copied
            while copied < size_bytes:
                content = os.pread(source, min(WRITE_BUFFER_BYTES, size_bytes - copied), offset + copied)
                if not content:
                    raise BlobUnavailable("A part is shorter than it was when it was stored")
                self._write(content)
                copied += len(content)

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self._name, _NEW_FILE_FLAGS, MODE_FILE, dir_fd=self._directory)
        return self._descriptor

    def finish(self, directory: int, name: str, *, tail: bytes = b"") -> None:
        """Flush the file and move it to its place, durably. ``tail`` is written behind the rest and not counted.

        Raises ``BlobUnavailable`` after ``discard``, which a cancelled write calls while its thread may still be here.
        """
        with self._lock:
            if self._is_over:
                raise BlobUnavailable(GIVEN_UP)
            descriptor = self._open()
            if tail:
                self._write(tail)
                self._size -= len(tail)
            os.fsync(descriptor)
            os.close(descriptor)
            self._descriptor = -1
            self._is_over = True
            os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=directory)
            os.fsync(directory)

    def discard(self) -> None:
        """Remove what was written; nothing after a finish."""
        with self._lock:
            self._is_over = True
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._directory)


class BlobWriter(FileWriter):
    """The file of a blob, ``name`` in the directory ``shard`` below ``objects``.

    Where no row names the blob yet (``is_unnamed``), bytes that come all at once are written in their place: the file
    system's journal then has one change to flush, while the rename of what was flushed is a second one (on ext4 the whole
    took a quarter of the CPU time). A crash in between leaves a file that no row will ever name.
    """

    def __init__(self, temporary: int, objects: int, shard: str, name: str, *, is_unnamed: bool) -> None:
        super().__init__(temporary)
        self._objects = objects
        self._shard = shard
        self._blob_name = name
        self._is_unnamed = is_unnamed
        self._place = -1

    def append(self, chunks: Sequence[bytes], *, is_last: bool = False) -> None:
        """Write the chunks; see ``FileWriter.append``."""
        with self._lock:
            if is_last and self._is_unnamed and self._descriptor < 0 and not self._is_over:
                self._place = open_directory(self._shard, self._objects)
                self._descriptor = os.open(self._blob_name, _NEW_FILE_FLAGS, MODE_FILE, dir_fd=self._place)
            self._append(chunks)

    def finish_blob(self) -> None:
        """Make the blob durable in its place."""
        if self._place < 0:
            directory = open_directory(self._shard, self._objects)
            try:
                self.finish(directory, self._blob_name)
            finally:
                os.close(directory)
            return
        with self._lock:
            os.fsync(self._descriptor)
            os.fsync(self._place)
            self._is_over = True
            self._close()

    def discard(self) -> None:
        """Remove what was written, here or there; nothing after ``finish_blob``."""
        with self._lock:
            if self._descriptor >= 0 and self._place >= 0:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._blob_name, dir_fd=self._place)
            self._close()
        super().discard()

    def _close(self) -> None:
        """Let the file in its place go."""
        if self._place < 0:
            return
        for descriptor in (self._descriptor, self._place):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._place = -1


async def write_stream(
    threads: FileThreads, writer: FileWriter, chunks: AsyncIterator[bytes], finish: Callable[[], _T]
) -> _T:
    """Write the stream, then run ``finish`` on a thread and return what it says; on any failure nothing is left."""
    pending: list[bytes] = []
    pending_bytes = 0
    # One buffer is hashed and written while the next one arrives.
    writing: asyncio.Task[None] | None = None

    def append_and_finish() -> _T:
        writer.append(pending, is_last=True)
        return finish()

    try:
        async for chunk in chunks:
            pending.append(chunk)
            pending_bytes += len(chunk)
            if pending_bytes >= WRITE_BUFFER_BYTES:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(threads.run(writer.append, pending))
                pending, pending_bytes = [], 0
        if writing is not None:
            await writing
        return await threads.run(append_and_finish)
    except BaseException:
        if writing is not None:
            writing.add_done_callback(_forget)
        # The thread of a cancelled step may still be writing; discard waits for it, so no file can appear later.
        await asyncio.shield(threads.run(writer.discard))
        raise


def _forget(task: asyncio.Task[None]) -> None:
    """What a write raised whose upload has failed already is nobody's any more."""
    if not task.cancelled():
        task.exception()


class FileReader:
    """An open file, or a small one that was read already (``content``: the bytes of the range)."""

    def __init__(
        self, threads: FileThreads, descriptor: int | None, size_bytes: int, wanted: ByteRange | None, content: bytes
    ) -> None:
        self._threads = threads
        self._descriptor = descriptor
        self._size = size_bytes
        self._wanted = wanted
        self._content = content

    @property
    def size_bytes(self) -> int:
        """The whole blob's size."""
        return self._size

    @property
    def byte_range(self) -> ByteRange | None:
        """What ``chunks`` gives; None for all of it."""
        return self._wanted

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, ``READ_CHUNK_BYTES`` at a time."""
        if self._descriptor is None:
            yield self._content
            return
        offset = self._wanted.first if self._wanted else 0
        end = self._wanted.last + 1 if self._wanted else self._size
        while offset < end:
            length = min(READ_CHUNK_BYTES, end - offset)
            chunk = await self._threads.run(os.pread, self._descriptor, length, offset)
            if not chunk:
                raise BlobUnavailable("A blob is shorter than it was when it was opened")
            yield chunk
            offset += len(chunk)

    async def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
