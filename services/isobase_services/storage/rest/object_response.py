"""An object as an HTTP answer of the Supabase face: headers and conditions. Pure; ``blob_response`` sends the bytes.

Source: contracts/storage.md 1.2 "Read rules"; upstream ``src/storage/renderer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from isobase_services.storage.core.object_metadata import DEFAULT_MIME_TYPE
from isobase_services.storage.core.read import ObjectRow
from isobase_services.storage.disposition import attachment
from isobase_services.storage.errors import StorageError
from isobase_services.storage.http_values import http_date, is_header_text, last_modified, parse_http_date
from isobase_services.storage.robots import check_robots_tag
from isobase_services.storage.sandbox import sandbox_headers

__all__ = ["Conditions", "content_headers", "is_not_modified"]


@dataclass(slots=True, frozen=True)
class Conditions:
    """The request headers that decide between 200, 206, 304 and 416."""

    if_none_match: str | None = None
    if_modified_since: str | None = None
    range: str | None = None


def is_not_modified(row: ObjectRow, conditions: Conditions) -> bool:
    """True where the client's copy is still good: the same ETag text, or no change since its date."""
    etag = row.text("eTag")
    if conditions.if_none_match and conditions.if_none_match == etag:
        return True
    since = parse_http_date(conditions.if_modified_since)
    modified = last_modified(row.metadata, row.updated_at)
    return since is not None and modified is not None and modified <= since


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
        is_sendable = is_header_text(mime_type)
        headers["content-type"] = "text/plain" if is_html else mime_type if is_sendable else DEFAULT_MIME_TYPE
    etag = row.text("eTag")
    if etag:
        headers["etag"] = etag
    modified = last_modified(row.metadata, row.updated_at)
    if modified:
        headers["last-modified"] = http_date(modified)
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
    headers |= sandbox_headers(headers.get("content-type"))
    return {name: value for name, value in headers.items() if is_header_text(value)}


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


def _expires(at_s: int) -> str:
    try:
        return http_date(datetime.fromtimestamp(at_s, UTC))
    except (OverflowError, ValueError, OSError):
        return "Fri, 31 Dec 9999 23:59:59 GMT"
