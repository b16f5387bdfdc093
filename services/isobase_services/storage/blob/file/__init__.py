"""Blobs on the local disk.

Layout under the root directory: ``objects/<xx>/<digest>.<version>``, where digest is the SHA-256 of bucket and name and xx
its first two digits; ``parts/`` holds blobs in parts (``parts``), ``uploads/`` blobs that grow (``appends``), ``tmp/``
writes that are not finished. No part of a path is text that a user chose, so nothing a user sends can leave the root; and
since bucket and name are part of the file name, a row that claims another object's version finds nothing. Every file is
opened relative to a directory descriptor and never through a symbolic link (``places``).

A write goes to ``tmp/``, is flushed to the disk, renamed to its place, and the directory is flushed (``writer``): after a
crash the blob is there whole, or a file in ``tmp/`` is left, which the next start removes once it is older than a day. A
small blob that no row names yet is written in its place and flushed: a crash leaves a blob without a row. All file work
runs on threads of its own (``threads``).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from isobase_platform.errors import ConfigurationError
from isobase_services.storage.blob import (
    NO_FACTS,
    BlobEntry,
    BlobFacts,
    BlobKey,
    BlobMissing,
    BlobRangeInvalid,
    BlobReader,
    BlobStat,
    ByteRange,
    PresignedRequest,
    StoredBlob,
    StoredPart,
    UploadEntry,
)
from isobase_services.storage.blob.file.appends import FileAppends
from isobase_services.storage.blob.file.parts import FileParts
from isobase_services.storage.blob.file.places import (
    DIRECTORY_FLAGS,
    MODE_DIRECTORY,
    open_blob,
    open_directory,
    place_of,
    read_fully,
    remove_tree,
    stat_blob,
)
from isobase_services.storage.blob.file.threads import FileThreads
from isobase_services.storage.blob.file.writer import (
    READ_CHUNK_BYTES,
    WRITE_BUFFER_BYTES,
    BlobWriter,
    FileReader,
    FileWriter,
    write_stream,
)
from isobase_services.storage.rules import is_uuid

__all__ = ["READ_CHUNK_BYTES", "WRITE_BUFFER_BYTES", "FileBlobStore"]

STALE_TEMPORARY_FILE_AGE_S = 24 * 3600
_HANDLE = re.compile(r"([0-9a-f]{2})/([0-9a-f]{64}\.[0-9a-f-]{36})")


class FileBlobStore:
    """A ``BlobStore`` in the directory ``root``. Several processes may share one root."""

    min_part_bytes = 0

    def __init__(self, root: Path) -> None:
        self._root = root
        self._objects = -1
        self._temporary = -1
        self._part_root = -1
        self._parts = FileParts(-1, -1, -1)
        self._threads = FileThreads()
        # Of their own, so that a small file is not read behind the flushing of large ones.
        self._reading_threads = FileThreads()
        self.appends = FileAppends(root, self._threads)

    async def start(self) -> None:
        """Make the directories and remove temporary files older than a day. Raises ``ConfigurationError``."""
        await self._threads.run(self._prepare)

    def _prepare(self) -> None:
        try:
            self._root.mkdir(mode=MODE_DIRECTORY, parents=True, exist_ok=True)
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._objects = open_directory("objects", root)
                self._temporary = open_directory("tmp", root)
                self._part_root = open_directory("parts", root)
            finally:
                os.close(root)
        except OSError as error:
            raise ConfigurationError(f"storage.root {self._root} cannot be used: {error.strerror}") from error
        self._parts = FileParts(self._part_root, self._objects, self._temporary)
        self._remove_stale()

    async def remove_stale(self) -> int:
        """Remove temporary files older than a day, which a killed process left; returns how many."""
        return await self._threads.run(self._remove_stale)

    def _remove_stale(self) -> int:
        oldest_s = time.time() - STALE_TEMPORARY_FILE_AGE_S
        removed = 0
        for name in os.listdir(self._temporary):
            with contextlib.suppress(FileNotFoundError):
                if os.stat(name, dir_fd=self._temporary, follow_symlinks=False).st_mtime < oldest_s:
                    remove_tree(name, self._temporary)
                    removed += 1
        return removed

    async def put(
        self, key: BlobKey, chunks: AsyncIterator[bytes], *, facts: BlobFacts = NO_FACTS, is_unnamed: bool = False
    ) -> StoredBlob:
        """Store the stream; see ``BlobStore.put``."""
        writer = BlobWriter(self._temporary, self._objects, *place_of(key), is_unnamed=is_unnamed)

        def finish() -> StoredBlob:
            writer.finish_blob()
            return StoredBlob(f'"{writer.digest().hex()}"', writer.size_bytes, datetime.now(UTC))

        return await write_stream(self._threads, writer, chunks, finish)

    async def stat(self, key: BlobKey) -> BlobStat:
        """Size and time; see ``BlobStore.stat``."""
        return await self._threads.run(self._stat, *place_of(key))

    def _stat(self, shard: str, name: str) -> BlobStat:
        facts = stat_blob(self._objects, shard, name)
        return BlobStat(facts.st_size, None, datetime.fromtimestamp(facts.st_mtime, UTC))

    async def open(self, key: BlobKey, byte_range: ByteRange | None = None) -> BlobReader:
        """Open for reading; see ``BlobStore.open``."""
        shard, name = place_of(key)
        return await self._reading_threads.run(self._open, shard, name, byte_range)

    def _open(self, shard: str, name: str, wanted: ByteRange | None) -> FileReader:
        descriptor = open_blob(self._objects, shard, name)
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise BlobMissing
            size = facts.st_size
            if wanted is not None:
                if wanted.first >= size:
                    raise BlobRangeInvalid(size)
                wanted = ByteRange(wanted.first, min(wanted.last, size - 1))
            length = size if wanted is None else wanted.size_bytes
            if length > READ_CHUNK_BYTES:
                reader = FileReader(self._reading_threads, descriptor, size, wanted, b"")
                descriptor = -1
                return reader
            # What is small is read at once, in the same hop to the thread.
            content = read_fully(descriptor, length, 0 if wanted is None else wanted.first)
            return FileReader(self._reading_threads, None, size, wanted, content)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    async def copy(self, source: BlobKey, target: BlobKey, *, facts: BlobFacts | None = None) -> None:
        """Store a second blob with the same bytes; a hard link where the file system has them, as blobs never change."""
        await self._threads.run(self._copy, place_of(source), place_of(target))

    def _copy(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        descriptor = open_blob(self._objects, *source)
        try:
            target_shard = open_directory(target[0], self._objects)
            try:
                self._link_or_copy(descriptor, source, target_shard, target[1])
                os.fsync(target_shard)
            finally:
                os.close(target_shard)
        finally:
            os.close(descriptor)

    def _link_or_copy(self, descriptor: int, source: tuple[str, str], target_shard: int, target_name: str) -> None:
        try:
            source_shard = os.open(source[0], DIRECTORY_FLAGS, dir_fd=self._objects)
            try:
                os.link(source[1], target_name, src_dir_fd=source_shard, dst_dir_fd=target_shard, follow_symlinks=False)
            finally:
                os.close(source_shard)
        except FileNotFoundError as error:
            raise BlobMissing from error
        except OSError:
            # No hard links here, or too many to this file: the bytes are copied.
            writer = FileWriter(self._temporary)
            try:
                writer.append_range(descriptor, 0, os.fstat(descriptor).st_size)
                writer.finish(target_shard, target_name)
            finally:
                writer.discard()

    async def delete(self, keys: Sequence[BlobKey]) -> None:
        """Remove blobs; see ``BlobStore.delete``."""
        places = [place_of(key) for key in keys if is_uuid(key.version)]
        if places:
            await self._threads.run(self._delete, places)

    def _delete(self, places: Sequence[tuple[str, str]]) -> None:
        for shard, name in places:
            try:
                directory = os.open(shard, DIRECTORY_FLAGS, dir_fd=self._objects)
            except OSError:
                continue
            try:
                os.unlink(name, dir_fd=directory)
            except FileNotFoundError:
                continue
            finally:
                os.close(directory)

    async def begin_parts(self, key: BlobKey, facts: BlobFacts = NO_FACTS) -> str:
        """Begin a blob of parts; see ``BlobStore.begin_parts``."""
        return await self._threads.run(self._parts.begin, key)

    async def put_part(self, key: BlobKey, upload: str, number: int, chunks: AsyncIterator[bytes]) -> StoredPart:
        """Store a part; see ``BlobStore.put_part``."""
        writer = await self._threads.run(self._parts.writer, key, upload, number)
        try:
            return await write_stream(self._threads, writer, chunks, writer.finish_part)
        finally:
            writer.close()

    async def copy_part(
        self, key: BlobKey, upload: str, number: int, source: BlobKey, byte_range: ByteRange | None = None
    ) -> StoredPart:
        """Store (a range of) another blob as a part; see ``BlobStore.copy_part``."""
        return await self._threads.run(self._parts.copy, key, upload, number, source, byte_range)

    async def list_parts(self, key: BlobKey, upload: str) -> Sequence[StoredPart]:
        """The parts by number; see ``BlobStore.list_parts``."""
        return await self._threads.run(self._parts.list, key, upload)

    async def finish_parts(self, key: BlobKey, upload: str, parts: Sequence[StoredPart]) -> StoredBlob:
        """Make the blob; see ``BlobStore.finish_parts``."""
        return await self._threads.run(self._parts.finish, key, upload, parts)

    async def abort_parts(self, key: BlobKey, upload: str) -> None:
        """Drop an upload; see ``BlobStore.abort_parts``."""
        await self._threads.run(self._parts.abort, key, upload)

    def handle_of(self, key: BlobKey) -> str:
        """The blob's path below ``objects/``; see ``BlobStore.handle_of``."""
        return "/".join(place_of(key))

    async def scan(self) -> AsyncIterator[BlobEntry]:
        """All blobs, shard by shard; see ``BlobStore.scan``."""
        for shard in await self._threads.run(os.listdir, self._objects):
            for entry in await self._threads.run(self._scan_shard, shard):
                yield entry

    def _scan_shard(self, shard: str) -> list[BlobEntry]:
        try:
            directory = os.open(shard, DIRECTORY_FLAGS, dir_fd=self._objects)
        except OSError:
            return []
        entries: list[BlobEntry] = []
        try:
            with os.scandir(directory) as found:
                for file in found:
                    with contextlib.suppress(FileNotFoundError):
                        if file.is_file(follow_symlinks=False):
                            facts = file.stat(follow_symlinks=False)
                            # A link or a renamed upload keeps the time of its bytes; when it came to be here is its ctime.
                            stored_at = datetime.fromtimestamp(max(facts.st_mtime, facts.st_ctime), UTC)
                            entries.append(BlobEntry(f"{shard}/{file.name}", facts.st_size, stored_at))
        finally:
            os.close(directory)
        return entries

    async def delete_handles(self, handles: Sequence[str]) -> None:
        """Remove blobs by path; see ``BlobStore.delete_handles``."""
        places = [(match[1], match[2]) for handle in handles if (match := _HANDLE.fullmatch(handle))]
        if places:
            await self._threads.run(self._delete, places)

    async def scan_uploads(self) -> AsyncIterator[UploadEntry]:
        """All unfinished uploads; see ``BlobStore.scan_uploads``."""
        for entry in await self._threads.run(lambda: list(self._parts.entries())):
            yield entry

    async def abort_uploads(self, entries: Sequence[UploadEntry]) -> None:
        """Drop uploads by name; see ``BlobStore.abort_uploads``."""
        await self._threads.run(self._parts.drop_all, [f"{entry.handle[3:]}.{entry.upload}" for entry in entries])

    async def presign_put(
        self, key: BlobKey, facts: BlobFacts, size_bytes: int, expires_in_s: int
    ) -> PresignedRequest | None:
        """None: nobody reaches the disk but this server."""
        return None

    async def presign_get(
        self, key: BlobKey, expires_in_s: int, *, disposition: str | None = None
    ) -> PresignedRequest | None:
        """None: nobody reaches the disk but this server."""
        return None

    async def close(self) -> None:
        """Wait for running file work and close the directories."""
        await self._threads.close()
        await self._reading_threads.close()
        self.appends.close()
        for descriptor in (self._objects, self._temporary, self._part_root):
            if descriptor >= 0:
                os.close(descriptor)
        self._objects = self._temporary = self._part_root = -1
