"""ListObjects, ListObjectsV2 and ListObjectVersions. Source: contracts/storage.md 1.5; AWS's API reference."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from urllib.parse import quote

from starlette.responses import Response

from isobase_services.storage.core.key_listing import MAX_PAGE_KEYS, KeyEntry, KeyListings, KeyPage, KeyRequest
from isobase_services.storage.core.times import iso_milliseconds
from isobase_services.storage.errors import refuse
from isobase_services.storage.s3.call import S3Call, xml_response
from isobase_services.storage.s3.errors import s3_refuse
from isobase_services.storage.s3.xml import Markup, element, optional

__all__ = ["NO_VERSION", "NULL_VERSION", "ListOperations", "name_writer", "read_token", "write_token"]

NULL_VERSION = "null"
"""The version of an object that was stored without any."""
NO_VERSION = frozenset({None, "", NULL_VERSION})
"""What a request may name as an object's version."""


def name_writer(call: S3Call) -> Callable[[str], str]:
    """How names are written: as they are, or percent-encoded where the request asks for ``encoding-type=url``."""
    encoding = call.query.get("encoding-type")
    if encoding not in {None, "url"}:
        raise s3_refuse.invalid_argument("Invalid Encoding Method specified in Request")
    return (lambda name: quote(name, safe="/-_.~*")) if encoding else str


def write_token(name: str) -> str:
    """A token by which a list goes on behind ``name``."""
    return base64.b64encode(f"l:{name}".encode()).decode()


def read_token(token: str) -> str:
    """The name in a token. Raises InvalidParameter for one that ``write_token`` did not make."""
    try:
        text = base64.b64decode(token, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise refuse.invalid_parameter("continuation token") from error
    if not text.startswith("l:"):
        raise refuse.invalid_parameter("continuation token")
    return text[2:]


class ListOperations:
    """Lists of keys as XML."""

    def __init__(self, listings: KeyListings) -> None:
        self._listings = listings

    async def list_v2(self, call: S3Call) -> Response:
        """ListObjectsV2."""
        if call.query["list-type"] != "2":
            raise s3_refuse.invalid_argument("list-type must be 2")
        write = name_writer(call)
        token = call.query.get("continuation-token") or None
        start_after = call.query.get("start-after") or None
        request = _request(call, read_token(token) if token is not None else start_after or "")
        page = await self._listings.page(call.actor, request)
        has_owner = call.query.get("fetch-owner") == "true"
        following = write_token(page.entries[-1].name) if page.is_truncated else None
        return xml_response(
            element(
                "ListBucketResult",
                *_head(call, request, page, write),
                optional("ContinuationToken", token),
                optional("NextContinuationToken", following),
                element("KeyCount", len(page.entries)),
                optional("StartAfter", None if start_after is None else write(start_after)),
                *_entries(page, write, has_owner=has_owner),
            )
        )

    async def list_v1(self, call: S3Call) -> Response:
        """ListObjects; NextMarker only beside a delimiter, as clients otherwise take the last key."""
        write = name_writer(call)
        marker = call.query.get("marker", "")
        request = _request(call, marker)
        page = await self._listings.page(call.actor, request)
        following = write(page.entries[-1].name) if page.is_truncated and request.delimiter else None
        return xml_response(
            element(
                "ListBucketResult",
                *_head(call, request, page, write),
                element("Marker", write(marker)),
                optional("NextMarker", following),
                *_entries(page, write, has_owner=True),
            )
        )

    async def list_versions(self, call: S3Call) -> Response:
        """ListObjectVersions: every object is the one version, ``null``, as in a bucket that never kept any.

        Programs that empty a bucket (``rclone purge``) ask for it whatever GetBucketVersioning says.
        """
        write = name_writer(call)
        marker = call.query.get("key-marker", "")
        request = _request(call, marker)
        page = await self._listings.page(call.actor, request)
        following = write(page.entries[-1].name) if page.is_truncated else None
        return xml_response(
            element(
                "ListVersionsResult",
                *_head(call, request, page, write),
                element("KeyMarker", write(marker)),
                element("VersionIdMarker", call.query.get("version-id-marker", "")),
                optional("NextKeyMarker", following),
                optional("NextVersionIdMarker", None if following is None else NULL_VERSION),
                *_entries(page, write, has_owner=True, has_versions=True),
            )
        )


def _request(call: S3Call, after: str) -> KeyRequest:
    max_keys = min(call.integer("max-keys", MAX_PAGE_KEYS), MAX_PAGE_KEYS)
    return KeyRequest(call.bucket, call.query.get("prefix", ""), call.query.get("delimiter") or None, after, max_keys)


def _head(call: S3Call, request: KeyRequest, page: KeyPage, write: Callable[[str], str]) -> tuple[Markup, ...]:
    return (
        element("Name", call.bucket),
        element("Prefix", write(request.prefix)),
        element("MaxKeys", request.max_keys),
        optional("Delimiter", None if request.delimiter is None else write(request.delimiter)),
        optional("EncodingType", call.query.get("encoding-type")),
        element("IsTruncated", page.is_truncated),
    )


def _entries(
    page: KeyPage, write: Callable[[str], str], *, has_owner: bool, has_versions: bool = False
) -> list[Markup]:
    keys = [
        _object(entry, write, has_owner=has_owner, has_versions=has_versions)
        for entry in page.entries
        if not entry.is_prefix
    ]
    folders = [element("CommonPrefixes", element("Prefix", write(e.name))) for e in page.entries if e.is_prefix]
    return keys + folders


def _object(entry: KeyEntry, write: Callable[[str], str], *, has_owner: bool, has_versions: bool) -> Markup:
    owner = entry.owner_id if has_owner else None
    version = [element("VersionId", NULL_VERSION), element("IsLatest", "true")] if has_versions else []
    return element(
        "Version" if has_versions else "Contents",
        element("Key", write(entry.name)),
        *version,
        optional("LastModified", iso_milliseconds(entry.updated_at) if entry.updated_at else None),
        optional("ETag", entry.etag),
        element("Size", entry.size_bytes),
        element("Owner", element("ID", owner), element("DisplayName", owner)) if owner else Markup(""),
        element("StorageClass", "STANDARD"),
    )
