"""Rendered images on disk, shared by the processes of a machine, bounded in bytes.

A file is named for bucket, key, and a hash of the object's version and everything that decides the result, so a new version
never finds an old image. It is written beside and renamed; after a crash of the machine its length and the checksum of its
beginning tell whether it is whole, and what is longer than that beginning is flushed first. What was not used for longest
goes first. Losing any of it costs a rendering. Whoever asks was allowed to read the object before he comes here.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import anyio.to_thread

from isobase_services.storage.blob import ByteRange
from isobase_services.storage.render.formats import ImageFormat

__all__ = ["CachedImage", "ImageCache", "ImageFile", "ImageName"]

HEADER_BYTES = 64
"""Before the image: what it is, how long, and the checksum of its first chunk. A file that says otherwise is none."""
CHUNK_BYTES = 256 * 1024
USED_AGAIN_AFTER_S = 60.0
"""A use is noted on disk once in this time."""
ABANDONED_AFTER_S = 3600.0
"""Older temporary files belong to a process that is gone."""
CHECK_SHARE = 0.05
"""The room is checked each time that this share of it was written by a process."""
KEPT_SHARE = 0.9
"""What is left of the limit after making room."""
_MAGIC = b"isobase-image-1"


@dataclass(slots=True, frozen=True)
class ImageName:
    """Names one result: whose it is (for ``purge``), and ``digest``, the hash of all that decides it."""

    bucket: str
    key: str
    digest: str


class CachedImage:
    """An open result; a ``BlobReader``. Close it, whatever happens."""

    def __init__(self, file: BinaryIO, image_format: ImageFormat, size_bytes: int, first: bytes) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._first = first
        self.format = image_format

    @property
    def size_bytes(self) -> int:
        """The image's length."""
        return self._size_bytes

    @property
    def byte_range(self) -> ByteRange | None:
        """None: a rendered image is sent whole."""
        return None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The image's bytes in chunks of bounded size."""
        chunk, at = self._first, 0
        while chunk:
            at += len(chunk)
            yield chunk
            if at >= self._size_bytes:
                return
            wanted = min(CHUNK_BYTES, self._size_bytes - at)
            chunk = await anyio.to_thread.run_sync(os.pread, self._file.fileno(), wanted, HEADER_BYTES + at)
        raise OSError("a cached image ended too early")

    async def close(self) -> None:
        """Give the file back."""
        self._file.close()


@dataclass(slots=True, frozen=True)
class ImageFile:
    """A result on its way: an open file whose image begins at ``HEADER_BYTES``, and its path."""

    file: BinaryIO
    path: Path


class ImageCache:
    """The directory of results. All methods do file work and belong on a thread, but for ``name``."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self._images = root / "images"
        self._temporary = root / "tmp"
        self._lock_path = root / "lock"
        self._limit_bytes = limit_bytes
        self._written_bytes = 0
        self._is_ready = False

    def prepare(self) -> None:
        """Make the directories, and remove what a killed process left in ``tmp``."""
        if self._is_ready:
            return
        for directory in (self._images, self._temporary):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        now_s = time.time()
        for path in self._temporary.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if now_s - path.stat().st_mtime > ABANDONED_AFTER_S:
                    path.unlink()
        self._is_ready = True

    def find(self, name: ImageName) -> CachedImage | None:
        """Open a result, and note that it was used; None where there is none."""
        path = self._path(name)
        try:
            file = path.open("rb", buffering=0)
        except OSError:
            return None
        image = _opened(file)
        if image is None:  # cut short by a machine that went down
            file.close()
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        now_s = time.time()
        if now_s - os.fstat(file.fileno()).st_mtime > USED_AGAIN_AFTER_S:
            with contextlib.suppress(OSError):
                os.utime(file.fileno(), (now_s, now_s))
        return image

    def new_source(self) -> BinaryIO:
        """A file without a name for the bytes of a source."""
        self.prepare()
        return tempfile.TemporaryFile(dir=self._temporary, buffering=0)

    def new_result(self) -> ImageFile:
        """A file for a result, standing where the image begins."""
        self.prepare()
        path = self._temporary / secrets.token_hex(16)
        file = path.open("xb+", buffering=0)
        file.seek(HEADER_BYTES)
        return ImageFile(file, path)

    def publish(self, result: ImageFile, name: ImageName, image_format: ImageFormat) -> CachedImage:
        """Finish a result, keep it under ``name`` if anything is kept, and open it."""
        descriptor = result.file.fileno()
        size_bytes = os.fstat(descriptor).st_size - HEADER_BYTES
        first = _first_chunk(descriptor)
        os.pwrite(descriptor, _header(image_format, size_bytes, first), 0)
        if 0 < size_bytes <= self._limit_bytes:
            if size_bytes > CHUNK_BYTES:
                os.fsync(descriptor)  # a name must not come back from a crash before bytes that nothing checks
            path = self._path(name)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # a purge took the directory
                result.path.replace(path)
            self._written_bytes += size_bytes
            if self._written_bytes > self._limit_bytes * CHECK_SHARE:
                self._written_bytes = 0
                self.make_room()
        result.path.unlink(missing_ok=True)
        return CachedImage(result.file, image_format, size_bytes, first)

    def discard(self, result: ImageFile) -> None:
        """Give up a result."""
        result.file.close()
        result.path.unlink(missing_ok=True)

    def purge(self, bucket: str | None, key: str | None) -> None:
        """Drop what was rendered of an object, of a bucket (no key), or everything (no bucket)."""
        if bucket is None:
            shutil.rmtree(self._images, ignore_errors=True)
            self._is_ready = False
        elif key is None:
            shutil.rmtree(self._images / _hash(bucket), ignore_errors=True)
        else:
            name = _hash(key)
            for path in (self._images / _hash(bucket) / name[:2]).glob(f"{name}-*"):
                path.unlink(missing_ok=True)

    def make_room(self) -> None:
        """Remove what was not used for longest until ``KEPT_SHARE`` of the limit is left; one process at a time."""
        with self._lock_path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            kept = sorted(_entries(self._images))
            total_bytes = sum(size_bytes for _, size_bytes, _ in kept)
            if total_bytes <= self._limit_bytes:
                return
            for _, size_bytes, path in kept:
                Path(path).unlink(missing_ok=True)
                total_bytes -= size_bytes
                if total_bytes <= self._limit_bytes * KEPT_SHARE:
                    return

    def _path(self, name: ImageName) -> Path:
        key = _hash(name.key)
        return self._images / _hash(name.bucket) / key[:2] / f"{key}-{name.digest}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _first_chunk(descriptor: int) -> bytes:
    return os.pread(descriptor, CHUNK_BYTES, HEADER_BYTES)


def _header(image_format: ImageFormat, size_bytes: int, first: bytes) -> bytes:
    fields = (_MAGIC, image_format.value.encode(), str(size_bytes).encode(), str(zlib.crc32(first)).encode())
    return b" ".join(fields).ljust(HEADER_BYTES)


def _opened(file: BinaryIO) -> CachedImage | None:
    """The file's image; most are read with that, as they are no longer than a chunk. None for what is not whole."""
    descriptor = file.fileno()
    parts = os.pread(descriptor, HEADER_BYTES, 0).split()
    if len(parts) != 4 or parts[0] != _MAGIC:
        return None
    try:
        image_format, size_bytes, checksum = ImageFormat(parts[1].decode("ascii")), int(parts[2]), int(parts[3])
    except ValueError:
        return None
    first = _first_chunk(descriptor)
    is_whole = os.fstat(descriptor).st_size == HEADER_BYTES + size_bytes and zlib.crc32(first) == checksum
    return CachedImage(file, image_format, size_bytes, first) if is_whole else None


def _entries(directory: Path) -> Iterator[tuple[float, int, str]]:
    """When each file was used last, its length, its path."""
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(Path(entry.path))
                continue
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                yield status.st_mtime, status.st_size, entry.path
