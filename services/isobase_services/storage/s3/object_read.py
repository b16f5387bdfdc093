"""GetObject, HeadObject, GetObjectTagging. Source: contracts/storage.md 1.5; upstream ``s3-handler.ts``."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp

from isobase_services.storage.blob import ByteRange
from isobase_services.storage.blob_response import BlobResponse, parse_range
from isobase_services.storage.core.object_metadata import DEFAULT_MIME_TYPE
from isobase_services.storage.core.read import Access, ObjectRow, Reads
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.http_values import http_date, is_header_text, last_modified
from isobase_services.storage.rules import check_bucket_name
from isobase_services.storage.s3.call import S3Call, empty_response, xml_response
from isobase_services.storage.s3.conditions import (
    RequestConditions,
    metadata_headers,
)
from isobase_services.storage.s3.errors import s3_refuse
from isobase_services.storage.s3.xml import element
from isobase_services.storage.sandbox import sandbox_headers

__all__ = ["ReadOperations"]

_OVERRIDES = (
    "content-disposition",
    "content-type",
    "cache-control",
    "content-encoding",
    "content-language",
    "expires",
)
_MAX_PART_DIGITS = 5


class ReadOperations:
    """Reads objects that policies show to the caller; that a bucket is public changes nothing here, as upstream."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def get(self, call: S3Call) -> ASGIApp:
        """GetObject: conditions, one range, and headers that the query overrides."""
        check_bucket_name(call.bucket)
        row = await self._reads.find(call.actor, call.bucket, call.key, Access.VISIBLE)
        unchanged = _check_conditions(call, row)
        if unchanged is not None:
            return unchanged
        is_partial = "range" in call.headers or "partNumber" in call.query
        choose = (lambda size_bytes: _range(call, size_bytes)) if is_partial else None
        row, reader = await self._reads.open(call.actor, call.bucket, call.key, Access.VISIBLE, row, choose)
        overrides = {name: call.query.get(f"response-{name}", "") for name in _OVERRIDES}
        stated = {name: value for name, value in overrides.items() if value and is_header_text(value)}
        headers = {**_headers(row), **stated}
        # A presigned URL is opened in browsers too.
        return BlobResponse(reader, {**headers, **sandbox_headers(headers["content-type"])})

    async def head(self, call: S3Call) -> Response:
        """HeadObject: from the row, no blob is opened."""
        check_bucket_name(call.bucket)
        row = await self._reads.find(call.actor, call.bucket, call.key, Access.VISIBLE)
        unchanged = _check_conditions(call, row)
        if unchanged is not None:
            return unchanged
        size_bytes = row.size("size") or 0
        byte_range = _range(call, size_bytes)
        headers = _headers(row)
        if byte_range is None:
            return empty_response(200, {**headers, "content-length": str(size_bytes)})
        headers["content-range"] = f"bytes {byte_range.first}-{byte_range.last}/{size_bytes}"
        return empty_response(206, {**headers, "content-length": str(byte_range.size_bytes)})

    async def tagging(self, call: S3Call) -> Response:
        """GetObjectTagging: no object has tags."""
        await self._reads.find(call.actor, call.bucket, call.key, Access.VISIBLE)
        return xml_response(element("Tagging", element("TagSet")))


def _check_conditions(call: S3Call, row: ObjectRow) -> Response | None:
    """The 304, or None; raises PreconditionFailed."""
    conditions = RequestConditions.of(call.headers)
    outcome = conditions.outcome(row.text("eTag"), last_modified(row.metadata, row.updated_at))
    if outcome.is_failed:
        raise refuse.precondition_failed()
    return empty_response(304, _headers(row)) if outcome.is_unchanged else None


def _range(call: S3Call, size_bytes: int) -> ByteRange | None:
    """The bytes that are asked for, None for all. An object has one part, whatever it was uploaded in."""
    stated = call.headers.get("range")
    if stated is not None:
        try:
            return parse_range(stated, size_bytes)
        except StorageError as error:
            message = "The requested range is not satisfiable"
            raise StorageError(error.code, 416, message) from error
    part = call.query.get("partNumber")
    if part is None:
        return None
    if not (part.isascii() and part.isdigit() and len(part) <= _MAX_PART_DIGITS and int(part) > 0):
        raise s3_refuse.invalid_argument("Part number must be an integer between 1 and 10000, inclusive")
    if int(part) > 1:
        raise StorageError("InvalidPartNumber", 416, "The requested partnumber is not satisfiable")
    return ByteRange(0, size_bytes - 1) if size_bytes else None


def _headers(row: ObjectRow) -> dict[str, str]:
    """The headers of an object's answer, but for its length."""
    modified = last_modified(row.metadata, row.updated_at)
    headers = {
        "accept-ranges": "bytes",
        "content-type": row.text("mimetype") or DEFAULT_MIME_TYPE,
        "etag": row.text("eTag") or "",
        "last-modified": http_date(modified) if modified else "",
        "cache-control": row.text("cacheControl") or "",
    }
    if not is_header_text(headers["content-type"]):
        headers["content-type"] = DEFAULT_MIME_TYPE
    found = {name: value for name, value in headers.items() if value and is_header_text(value)}
    return {**found, **metadata_headers(row.user_metadata)}
