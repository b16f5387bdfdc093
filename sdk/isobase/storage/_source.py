"""What an upload reads from: bytes, files by path, open files, and streams that can be read once.

A :class:`SeekableSource` can be read anywhere and again, so its upload can be repeated; a :class:`StreamSource` cannot.
Reading blocks; the clients decide where (:mod:`isobase.storage._async._body`).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import AsyncIterable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Protocol, TypeAlias, cast

from isobase.storage.constants import TRANSFER_CHUNK_BYTES
from isobase.storage.exceptions import TransferError

__all__ = ["FileInput", "SeekableSource", "Source", "StreamSource", "Tally", "source_of"]

FileInput: TypeAlias = (
    io.BufferedReader
    | io.FileIO
    | IO[bytes]
    | bytes
    | bytearray
    | memoryview
    | str
    | os.PathLike[str]
    | Iterable[bytes]
    | AsyncIterable[bytes]
)
"""What can be uploaded. A ``str`` is a path, as in storage3; an async iterable goes with the async client alone."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class SeekableSource:
    """Bytes of a known number that can be read at any place, again and again."""

    def __init__(self, file: IO[bytes] | None, data: memoryview | None, size: int, *, fingerprint: str | None) -> None:
        self._file = file
        self._data = data
        self.size: int = size
        self.fingerprint = fingerprint
        """What tells this file in this state from others, or None where nothing does (bytes, unnamed files)."""
        self.is_in_memory = data is not None
        self.owns_file = False

    def read(self, offset: int, count: int) -> bytes | memoryview:
        """Give ``count`` bytes from ``offset`` on. Raises :class:`TransferError` where the file has become shorter."""
        if self._data is not None:
            return self._data[offset : offset + count]
        if self._file is None:
            raise ValueError("the source is closed")
        self._file.seek(offset)
        parts = bytearray()
        while len(parts) < count:
            part = self._file.read(count - len(parts))
            if not part:
                raise TransferError(
                    f"The file became shorter while it was sent: {offset + len(parts)} of {self.size} bytes are there"
                )
            if not parts and len(part) == count:
                return part
            parts += part
        return bytes(parts)

    def md5(self) -> str:
        """Give the checksum of all bytes, in hexadecimal."""
        digest = hashlib.md5(usedforsecurity=False)
        for offset in range(0, self.size, TRANSFER_CHUNK_BYTES):
            digest.update(self.read(offset, min(TRANSFER_CHUNK_BYTES, self.size - offset)))
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file, where it was opened here."""
        if self.owns_file and self._file is not None:
            self._file.close()
            self._file = None


@dataclass(slots=True)
class StreamSource:
    """Bytes that come once; ``size`` is None where nobody said it."""

    stream: Iterable[bytes] | AsyncIterable[bytes]
    size: int | None

    def close(self) -> None:
        """Nothing was opened here."""


Source: TypeAlias = SeekableSource | StreamSource


class Tally:
    """Counts what of a stream was sent, and sums it up, because it cannot be read again to find out."""

    def __init__(self) -> None:
        self.sent = 0
        self.is_whole = False
        self._digest = hashlib.md5(usedforsecurity=False)

    def add(self, block: bytes) -> None:
        """Note a block."""
        self.sent += len(block)
        self._digest.update(block)

    @property
    def md5(self) -> str:
        """The checksum of what was sent, in hexadecimal."""
        return self._digest.hexdigest()

    def end(self, source: StreamSource) -> None:
        """Note the end. Raises :class:`TransferError` where the stream did not hold what was said."""
        if source.size is not None and self.sent != source.size:
            raise TransferError(f"The stream held {self.sent} bytes instead of {source.size}")
        self.is_whole = True


def _of_path(path: str | os.PathLike[str]) -> SeekableSource:
    file = open(path, "rb")  # noqa: SIM115 (closed by SeekableSource.close)
    state = os.fstat(file.fileno())
    fingerprint = f"{os.path.realpath(path)}\n{state.st_size}\n{state.st_mtime_ns}"
    source = SeekableSource(file, None, state.st_size, fingerprint=fingerprint)
    source.owns_file = True
    return source


def _of_file(file: IO[bytes], size: int | None) -> Source:
    seekable = getattr(file, "seekable", None)
    if seekable is None or not seekable():
        return StreamSource(_blocks(file), size)
    # As storage3 (by httpx) sends it: whole, whatever was read of it before.
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    return SeekableSource(file, None, end, fingerprint=None)


def _blocks(file: _Readable) -> Iterator[bytes]:
    while block := file.read(TRANSFER_CHUNK_BYTES):
        yield block


def _is_text(file: object) -> bool:
    return isinstance(file, io.TextIOBase)


def source_of(file: FileInput, *, size: int | None = None) -> Source:
    """Find out what is to be uploaded.

    ``size``: bytes of a stream, where they are known. Raises ``OSError`` for a path that cannot be opened and ``TypeError``
    for what holds no bytes (a file that is open as text, for one).
    """
    if isinstance(file, str | os.PathLike):
        return _of_path(file)
    if isinstance(file, bytes | bytearray | memoryview):
        data = memoryview(file).cast("B")
        return SeekableSource(None, data, len(data), fingerprint=None)
    if hasattr(file, "__aiter__"):
        return StreamSource(file, size)
    if _is_text(file):
        raise TypeError("the file is open as text; open it with mode 'rb'")
    if hasattr(file, "read"):
        return _of_file(cast("IO[bytes]", file), size)
    if isinstance(file, Iterable):
        return StreamSource(file, size)
    raise TypeError(
        f"{type(file).__name__} cannot be uploaded; give bytes, a path, an open file or an iterable of bytes"
    )
