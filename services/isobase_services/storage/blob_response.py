"""The bytes of an object as an HTTP answer, whole or a range of them: what every face that serves objects has in common.

Source: contracts/storage.md 1.2 "Read rules"; upstream ``src/storage/renderer``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from isobase_services.storage.blob import BlobReader, ByteRange
from isobase_services.storage.errors import refuse

__all__ = ["BlobResponse", "parse_range"]

SMALL_BYTES = 64 * 1024
"""Up to this length an answer that is in memory whole leaves in one piece: the server takes it without waiting."""
WATCHED_FROM_BYTES = 1024 * 1024
"""From this length on, the client is watched: the server takes bytes for one that has gone without a word."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_MAX_SAFE_INTEGER = 2**53 - 1


def parse_range(text: str, size_bytes: int) -> ByteRange:
    """The one range of a Range header, its end cut to the object's.

    Raises InvalidRange for another unit, several ranges, a start behind the end, or any range of an empty object.
    """
    match = _RANGE.fullmatch(text)
    if match is None or size_bytes <= 0 or not (match[1] or match[2]):
        raise refuse.invalid_range()
    # Digits beyond any size are cut before they become a number.
    first = int(match[1][:20]) if match[1] else None
    last = int(match[2][:20]) if match[2] else None
    if first is None:
        assert last is not None
        if not 0 < last <= _MAX_SAFE_INTEGER:
            raise refuse.invalid_range()
        return ByteRange(max(size_bytes - last, 0), size_bytes - 1)
    end = size_bytes - 1 if last is None else last
    if not first <= end <= _MAX_SAFE_INTEGER or first >= size_bytes:
        raise refuse.invalid_range()
    return ByteRange(first, min(end, size_bytes - 1))


class BlobResponse:
    """Streams what a reader was opened for, and closes it whatever happens."""

    def __init__(self, reader: BlobReader, headers: Mapping[str, str]) -> None:
        self._reader = reader
        self._headers = headers
        self._range = reader.byte_range

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        size_bytes = self._reader.size_bytes
        length = size_bytes if self._range is None else self._range.size_bytes
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._headers.items()]
        headers.append((b"content-length", str(length).encode()))
        if self._range is not None:
            content_range = f"bytes {self._range.first}-{self._range.last}/{size_bytes}"
            headers.append((b"content-range", content_range.encode()))
        status = 200 if self._range is None else 206
        gone = asyncio.create_task(_disconnected(receive)) if length >= WATCHED_FROM_BYTES else None
        try:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            is_small = length <= SMALL_BYTES
            async for chunk in self._reader.chunks():
                if gone is not None and gone.done():
                    return
                if is_small and len(chunk) == length:
                    await send({"type": "http.response.body", "body": chunk, "more_body": False})
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if gone is not None:
                gone.cancel()
            await self._reader.close()


async def _disconnected(receive: Receive) -> None:
    """Returns when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        continue
