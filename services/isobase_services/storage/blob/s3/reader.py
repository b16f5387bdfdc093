"""An S3 object while it is read: one request, whose body is handed on in chunks and whose length is checked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Protocol

from isobase_services.storage.blob import BlobRangeInvalid, BlobUnavailable, ByteRange
from isobase_services.storage.blob.s3.client import S3Api, S3Threads
from isobase_services.storage.blob.s3.errors import S3_ERROR, mapped

__all__ = ["READ_CHUNK_BYTES", "S3Reader", "open_object"]

READ_CHUNK_BYTES = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.ASCII)


class _Body(Protocol):
    """The part of botocore's ``StreamingBody`` that is used here."""

    def read(self, amt: int) -> bytes: ...

    def close(self) -> None: ...


class S3Reader:
    """An answer of GetObject. ``content`` holds a small body that was read already; ``body`` the connection otherwise."""

    def __init__(
        self,
        threads: S3Threads,
        size_bytes: int,
        byte_range: ByteRange | None,
        body: _Body | None,
        content: bytes,
    ) -> None:
        self._threads = threads
        self._size = size_bytes
        self._range = byte_range
        self._body = body
        self._content = content
        self._pending: asyncio.Future[bytes] | None = None

    @property
    def size_bytes(self) -> int:
        """The whole object's size."""
        return self._size

    @property
    def byte_range(self) -> ByteRange | None:
        """What ``chunks`` gives; None for all of it."""
        return self._range

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, ``READ_CHUNK_BYTES`` at a time at most. Raises ``BlobUnavailable`` if they end too early."""
        if self._body is None:
            yield self._content
            return
        body = self._body
        remaining = self._size if self._range is None else self._range.size_bytes
        while remaining:
            length = min(READ_CHUNK_BYTES, remaining)
            self._pending = self._threads.submit(lambda length=length: _read(body, length))  # type: ignore[misc]
            chunk = await asyncio.shield(self._pending)
            yield chunk
            remaining -= len(chunk)

    async def close(self) -> None:
        """Give the connection back, or cut it where bytes are still to come."""
        self.cut()

    def cut(self) -> None:
        """As ``close``; for a reader that came when nobody wanted it any more."""
        body, self._body = self._body, None
        if body is None:
            return
        if self._pending is not None and not self._pending.done():
            # A thread is reading; it ends with the next bytes or its time limit.
            self._pending.add_done_callback(lambda done: _forget(done, body))
        else:
            body.close()


def open_object(api: S3Api, threads: S3Threads, target: dict[str, str], byte_range: ByteRange | None) -> S3Reader:
    """Ask for an object, or a range of it; a small one is read at once. Runs on a thread."""
    arguments: dict[str, Any] = dict(target)
    if byte_range is not None:
        arguments["Range"] = f"bytes={byte_range.first}-{byte_range.last}"
    with mapped("GetObject"):
        answer = api.get_object(**arguments)
    body: _Body = answer["Body"]
    try:
        length = int(answer["ContentLength"])
        size = length
        if byte_range is not None:
            byte_range, size = _answered(byte_range, answer.get("ContentRange") or "", length)
        if length > READ_CHUNK_BYTES:
            return S3Reader(threads, size, byte_range, body, b"")
        content = b""
        while len(content) < length:
            content += _read(body, length - len(content))
    except BaseException:
        body.close()
        raise
    body.close()
    return S3Reader(threads, size, byte_range, None, content)


def _answered(wanted: ByteRange, content_range: str, length: int) -> tuple[ByteRange, int]:
    """The range that came, and the whole object's size. Raises ``BlobUnavailable`` where it is not what was asked for."""
    match = _CONTENT_RANGE.fullmatch(content_range)
    if match is not None and int(match[1]) == wanted.first:
        came = ByteRange(int(match[1]), int(match[2]))
        if came.size_bytes == length and came.last <= wanted.last:
            return came, int(match[3])
    if match is None and wanted.first >= length:  # a server that sends all where it cannot send the range
        raise BlobRangeInvalid(length)
    raise BlobUnavailable("The object store answered another range", code=S3_ERROR)


def _read(body: _Body, length: int) -> bytes:
    with mapped("GetObject"):
        chunk = body.read(length)
    if not chunk:
        raise BlobUnavailable("The object store ended an answer too early", code=S3_ERROR, is_temporary=True)
    return chunk


def _forget(done: asyncio.Future[bytes], body: _Body) -> None:
    if not done.cancelled():
        done.exception()  # asking for it keeps asyncio from reporting it as forgotten
    body.close()
