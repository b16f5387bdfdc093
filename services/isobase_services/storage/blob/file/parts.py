"""Blobs that are made of parts, on the local disk.

An upload is a directory ``parts/<digest>.<version>.<upload>``, so its reference is good for one key alone. A part is a
file in it, named by its number, with the MD5 of its bytes as the last 16 bytes: one rename puts both there at once, and
replaces an earlier part of that number. Finishing copies the parts behind one another (inside the kernel where it can) into
a temporary file, which then becomes the blob; only after that the parts go. So a process that is killed at any moment leaves
either the whole upload or the whole blob, and finishing again gives the same answer. The work here runs on threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from isobase_services.storage.blob import (
    BlobKey,
    BlobMissing,
    BlobRangeInvalid,
    ByteRange,
    PartInvalid,
    StoredBlob,
    StoredPart,
    UploadEntry,
    UploadMissing,
)
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
from isobase_services.storage.blob.file.writer import FileWriter
from isobase_services.storage.blob.part_order import check_part_number, check_part_order

__all__ = ["FileParts", "PartWriter", "multipart_etag"]

_COPY_BYTES = 1024 * 1024
_DIGEST_BYTES = 16
_PART_NAME = re.compile(r"[0-9]{5}")
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_UPLOAD_NAME = re.compile(r"[0-9a-f]{64}\.[0-9a-f-]{36}\.[0-9a-f]{32}")
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def multipart_etag(parts: Sequence[StoredPart]) -> str:
    """The ETag of a blob of these parts, with quotes: the MD5 of their MD5s, a dash, their number (as S3)."""
    digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'


class PartWriter(FileWriter):
    """A part on its way into an open upload, whose directory it owns. Close it, whatever happens."""

    def __init__(self, directory: int, number: int) -> None:
        super().__init__(directory)
        self._upload = directory
        self._number = number

    def append(self, chunks: Sequence[bytes], *, is_last: bool = False) -> None:
        """Write the chunks. Raises ``UploadMissing`` where the upload ended meanwhile."""
        with _upload_missing():
            super().append(chunks, is_last=is_last)

    def finish_part(self) -> StoredPart:
        """Make the part durable under its number. Raises ``UploadMissing``."""
        digest = self.digest()
        with _upload_missing():
            self.finish(self._upload, f"{self._number:05d}", tail=digest)
        return StoredPart(self._number, f'"{digest.hex()}"', self.size_bytes)

    def close(self) -> None:
        """Let the upload's directory go."""
        os.close(self._upload)


class FileParts:
    """The uploads of one root. ``directory`` holds them; ``objects`` and ``temporary`` are the store's other two."""

    def __init__(self, directory: int, objects: int, temporary: int) -> None:
        self._directory = directory
        self._objects = objects
        self._temporary = temporary

    def begin(self, key: BlobKey) -> str:
        """Make an upload."""
        upload = uuid.uuid4().hex
        os.mkdir(_name(key, upload), MODE_DIRECTORY, dir_fd=self._directory)
        os.fsync(self._directory)
        return upload

    def writer(self, key: BlobKey, upload: str, number: int) -> PartWriter:
        """Begin a part. Raises ``UploadMissing``, and ``PartInvalid`` for a number that none can have."""
        check_part_number(number)
        return PartWriter(self._open(key, upload), number)

    def copy(self, key: BlobKey, upload: str, number: int, source: BlobKey, byte_range: ByteRange | None) -> StoredPart:
        """Make a part of another blob's bytes."""
        descriptor = open_blob(self._objects, *place_of(source))
        try:
            size = os.fstat(descriptor).st_size
            first, end = (0, size) if byte_range is None else (byte_range.first, byte_range.last + 1)
            if end > size:
                raise BlobRangeInvalid(size)
            writer = self.writer(key, upload, number)
            try:
                # The bytes are read anyway: the part's ETag is their MD5.
                while first < end and (content := os.pread(descriptor, min(_COPY_BYTES, end - first), first)):
                    writer.append([content])
                    first += len(content)
                return writer.finish_part()
            finally:
                writer.discard()
                writer.close()
        finally:
            os.close(descriptor)

    def list(self, key: BlobKey, upload: str) -> list[StoredPart]:
        """The parts by number."""
        directory = self._open(key, upload)
        try:
            names = sorted(name for name in os.listdir(directory) if _PART_NAME.fullmatch(name))
            return [part for name in names if (part := _read_part(directory, name)) is not None]
        finally:
            os.close(directory)

    def finish(self, key: BlobKey, upload: str, parts: Sequence[StoredPart]) -> StoredBlob:
        """Make the blob; see ``BlobStore.finish_parts``."""
        shard, name = place_of(key)
        check_part_order(parts)
        try:
            directory = self._open(key, upload)
        except UploadMissing:
            return self._finished(shard, name, parts)
        writer = FileWriter(self._temporary)
        try:
            for part in parts:
                _append_part(writer, directory, part)
            target = open_directory(shard, self._objects)
            try:
                writer.finish(target, name)
            finally:
                os.close(target)
        finally:
            writer.discard()
            os.close(directory)
        self.drop(_name(key, upload))
        return StoredBlob(multipart_etag(parts), writer.size_bytes, datetime.now(UTC))

    def _finished(self, shard: str, name: str, parts: Sequence[StoredPart]) -> StoredBlob:
        """The blob that an earlier call made of these parts. Raises ``UploadMissing`` where there is none."""
        try:
            facts = stat_blob(self._objects, shard, name)
        except BlobMissing:
            raise UploadMissing from None
        if facts.st_size != sum(part.size_bytes for part in parts):
            raise UploadMissing
        return StoredBlob(multipart_etag(parts), facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))

    def abort(self, key: BlobKey, upload: str) -> None:
        """Drop an upload; one that is not there is no error."""
        with contextlib.suppress(UploadMissing):
            self.drop(_name(key, upload))

    def drop(self, name: str) -> None:
        """Remove an upload's directory: out of the way in one step, then file by file."""
        away = uuid.uuid4().hex
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, away, src_dir_fd=self._directory, dst_dir_fd=self._temporary)
            remove_tree(away, self._temporary)

    def drop_all(self, names: Sequence[str]) -> None:
        """Remove those of ``names`` that are directories of uploads."""
        for name in names:
            if _UPLOAD_NAME.fullmatch(name):
                self.drop(name)

    def entries(self) -> Iterator[UploadEntry]:
        """All uploads there are."""
        for name in os.listdir(self._directory):
            handle, _, upload = name.rpartition(".")
            try:
                changed_s = os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mtime
            except FileNotFoundError:
                continue
            yield UploadEntry(f"{name[:2]}/{handle}", upload, datetime.fromtimestamp(changed_s, UTC))

    def _open(self, key: BlobKey, upload: str) -> int:
        with _upload_missing():
            return os.open(_name(key, upload), DIRECTORY_FLAGS, dir_fd=self._directory)
        raise AssertionError("unreachable")


@contextlib.contextmanager
def _upload_missing() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UploadMissing from error


def _name(key: BlobKey, upload: str) -> str:
    if not _UPLOAD.fullmatch(upload):
        raise UploadMissing
    return f"{place_of(key)[1]}.{upload}"


def _read_part(directory: int, name: str) -> StoredPart | None:
    try:
        descriptor = os.open(name, _FILE_FLAGS, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        size = os.fstat(descriptor).st_size - _DIGEST_BYTES
        return StoredPart(int(name), f'"{read_fully(descriptor, _DIGEST_BYTES, size).hex()}"', size)
    finally:
        os.close(descriptor)


def _append_part(writer: FileWriter, directory: int, part: StoredPart) -> None:
    """Copy a part behind what is there, if it is the part that was named."""
    try:
        descriptor = os.open(f"{part.number:05d}", _FILE_FLAGS, dir_fd=directory)
    except FileNotFoundError:
        raise PartInvalid(part.number) from None
    try:
        size = os.fstat(descriptor).st_size - _DIGEST_BYTES
        if read_fully(descriptor, _DIGEST_BYTES, size).hex() != part.etag.strip('"').lower():
            raise PartInvalid(part.number)
        writer.append_range(descriptor, 0, size)
    finally:
        os.close(descriptor)
