"""An object as an HTTP answer: headers, conditions, ranges (pure), and the stream.

Source: contracts/storage.md 1.2 "Read rules"; upstream ``src/storage/renderer``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from starlette.types import Receive, Scope, Send

from isobase_services.storage.blob import BlobReader, ByteRange
from isobase_services.storage.core.read import ObjectRow
from isobase_services.storage.core.times import parse_iso
from isobase_services.storage.disposition import attachment
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.robots import check_robots_tag

__all__ = ["BlobResponse", "Conditions", "content_headers", "is_not_modified", "parse_range"]

SMALL_BYTES = 64 * 1024
"""Up to this length an answer that is in memory whole leaves in one piece: the server takes it without waiting."""
WATCHED_FROM_BYTES = 1024 * 1024
"""From this length on, the client is watched: the server takes bytes for one that has gone without a word."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_MAX_SAFE_INTEGER = 2**53 - 1
UNKNOWN_TYPE = "application/octet-stream"


@dataclass(slots=True, frozen=True)
class Conditions:
    """The request headers that decide between 200, 206, 304 and 416."""

    if_none_match: str | None = None
    if_modified_since: str | None = None
    range: str | None = None


def last_modified(row: ObjectRow) -> datetime | None:
    """When the object's bytes were stored, to the second."""
    text = row.text("lastModified")
    # Rows of older servers hold the date as HTTP writes it.
    moment = _http_date(text) or row.updated_at
    return moment.astimezone(UTC).replace(microsecond=0) if moment else None


def is_not_modified(row: ObjectRow, conditions: Conditions) -> bool:
    """True where the client's copy is still good: the same ETag text, or no change since its date."""
    etag = row.text("eTag")
    if conditions.if_none_match and conditions.if_none_match == etag:
        return True
    since = _http_date(conditions.if_modified_since)
    modified = last_modified(row)
    return since is not None and modified is not None and modified <= since


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


def content_headers(
    row: ObjectRow,
    query: Mapping[str, Any],
    *,
    if_none_match: str | None,
    expires_at_s: int | None = None,
    is_head: bool = False,
) -> dict[str, str]:
    """The headers of an object's answer, but for its length.

    ``expires_at_s``: the end of a signed URL in unix seconds; ``Expires`` then stands for ``Cache-Control``.
    """
    headers = {"accept-ranges": "bytes", "x-robots-tag": _robots_tag(row)}
    mime_type = row.text("mimetype")
    if mime_type:
        # A browser must never run what a user stored: HTML is shown as text, and nothing is left for it to guess.
        is_html = "text/html" in mime_type.lower()
        is_sendable = _is_header_text(mime_type)
        headers["content-type"] = "text/plain" if is_html else mime_type if is_sendable else UNKNOWN_TYPE
    etag = row.text("eTag")
    if etag:
        headers["etag"] = etag
    modified = last_modified(row)
    if modified:
        headers["last-modified"] = format_datetime(modified, usegmt=True)
    if expires_at_s is not None:
        headers["expires"] = _expires(expires_at_s)
    else:
        directives = [row.text("cacheControl")]
        if if_none_match and if_none_match != etag:
            directives.append("must-revalidate" if is_head else "stale-while-revalidate=30")
        if any(directives):
            headers["cache-control"] = ", ".join(directive for directive in directives if directive)
    if "download" in query and not is_head:
        headers["content-disposition"] = _disposition(query["download"])
    return {name: value for name, value in headers.items() if _is_header_text(value)}


def _disposition(download: Any) -> str:
    name = download if isinstance(download, str) else ",".join(download)
    return attachment(name)


def _robots_tag(row: ObjectRow) -> str:
    """What the upload said, if it means something (rows can be written by SQL too)."""
    stored = row.text("xRobotsTag")
    if stored:
        try:
            check_robots_tag(stored)
        except StorageError:
            return "none"
        return stored
    return "none"


def _is_header_text(value: str) -> bool:
    """A header must not be able to become two: metadata may have been written by SQL."""
    return value.isascii() and value.isprintable()


def _expires(at_s: int) -> str:
    try:
        return format_datetime(datetime.fromtimestamp(at_s, UTC), usegmt=True)
    except (OverflowError, ValueError, OSError):
        return "Fri, 31 Dec 9999 23:59:59 GMT"


def _http_date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        # Upstream reads what JavaScript takes for a date, ISO 8601 too.
        return parse_iso(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


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
