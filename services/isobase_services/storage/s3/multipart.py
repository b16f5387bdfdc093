"""Uploads in parts: create, UploadPart, UploadPartCopy, complete, abort, ListParts, ListMultipartUploads.

Source: contracts/storage.md 1.5; AWS's API reference; upstream ``s3-handler.ts``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from starlette.responses import Response

from isobase_services.storage.blob import ByteRange
from isobase_services.storage.blob.part_order import MAX_PART_NUMBER
from isobase_services.storage.core.parts import PartUploads
from isobase_services.storage.core.parts_listing import MAX_PAGE, ListedUpload, PartListings, UploadRequest
from isobase_services.storage.core.parts_values import Completion, NewParts, PartCopy, PartsTarget, PartTarget
from isobase_services.storage.core.times import iso_milliseconds
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.s3.call import S3Call, empty_response, xml_response
from isobase_services.storage.s3.conditions import RequestConditions
from isobase_services.storage.s3.errors import s3_refuse
from isobase_services.storage.s3.listing import name_writer, read_token, write_token
from isobase_services.storage.s3.object_write import (
    copy_source,
    if_absent,
    refuse_customer_keys,
    taken_as_condition,
    user_metadata_of,
)
from isobase_services.storage.s3.xml import Markup, Node, element, optional

__all__ = ["PartOperations"]

MAX_PART_BYTES = 5 * 1024**3
_SIZE = re.compile(r"\d{1,18}", re.ASCII)
_COPY_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})", re.ASCII)


class PartOperations:
    """Objects in parts."""

    def __init__(self, parts: PartUploads, listings: PartListings) -> None:
        self._parts = parts
        self._listings = listings

    async def create(self, call: S3Call) -> Response:
        """CreateMultipartUpload."""
        refuse_customer_keys(call.headers)
        new = NewParts(
            call.bucket,
            call.key,
            call.headers.get("content-type") or None,
            call.headers.get("cache-control") or None,
            user_metadata_of(call.headers),
        )
        upload_id = await self._parts.begin(call.actor, new)
        place = (element("Bucket", call.bucket), element("Key", call.key))
        return xml_response(element("InitiateMultipartUploadResult", *place, element("UploadId", upload_id)))

    async def upload(self, call: S3Call) -> Response:
        """UploadPart. The length must be known, as all parts together are held against the limit before bytes move."""
        payload = call.payload()
        if payload.size_bytes is None:
            raise s3_refuse.missing_content_length()
        if payload.size_bytes > MAX_PART_BYTES:
            raise refuse.too_large("part")
        part = await self._parts.put(call.actor, _part_target(call), payload.size_bytes, payload.chunks())
        return empty_response(200, {"etag": part.etag, **payload.checksums})

    async def copy(self, call: S3Call) -> Response:
        """UploadPartCopy, of an object or of ``x-amz-copy-source-range``."""
        source = copy_source(call)
        stated = call.headers.get("x-amz-copy-source-range")

        def choose(size_bytes: int) -> ByteRange | None:
            return None if stated is None else _copy_range(stated, size_bytes)

        check = RequestConditions.of(call.headers, "x-amz-copy-source-").check_copy
        copied = PartCopy(source.bucket, source.key, choose, check)
        part = await self._parts.copy(call.actor, _part_target(call), copied)
        now = iso_milliseconds(datetime.now(UTC))
        return xml_response(element("CopyPartResult", element("ETag", part.etag), element("LastModified", now)))

    async def complete(self, call: S3Call) -> Response:
        """CompleteMultipartUpload; without a list of parts all of them make the object."""
        document = await call.document("CompleteMultipartUpload")
        listed = [] if document is None else document.all("Part")
        if document is not None and not listed and document.children:
            raise s3_refuse.malformed_xml()
        is_new = if_absent(call)
        stated = call.headers.get("x-amz-mp-object-size")
        completion = Completion(
            parts=[_listed_part(node) for node in listed] or None,
            is_upsert=not is_new,
            if_match=None if is_new else call.headers.get("if-match"),
            size_bytes=None if stated is None else _stated_size(stated),
        )
        try:
            done = await self._parts.complete(call.actor, _target(call), completion)
        except StorageError as error:
            raise taken_as_condition(error) from error
        return xml_response(
            element(
                "CompleteMultipartUploadResult",
                element("Location", f"{call.bucket}/{call.key}"),
                element("Bucket", call.bucket),
                element("Key", call.key),
                element("ETag", done.etag),
            )
        )

    async def abort(self, call: S3Call) -> Response:
        """AbortMultipartUpload."""
        await self._parts.abort(call.actor, _target(call))
        return empty_response(204)

    async def list_parts(self, call: S3Call) -> Response:
        """ListParts, as far as policies on their table show them."""
        limit = min(call.integer("max-parts", MAX_PAGE), MAX_PAGE) or MAX_PAGE
        after = call.integer("part-number-marker", 0)
        page = await self._listings.parts(call.actor, _target(call), after, limit)
        parts = [
            element(
                "Part",
                element("PartNumber", part.number),
                element("LastModified", iso_milliseconds(part.stored_at)),
                element("ETag", part.etag),
                element("Size", part.size_bytes),
            )
            for part in page.parts
        ]
        return xml_response(
            element(
                "ListPartsResult",
                element("Bucket", call.bucket),
                element("Key", call.key),
                element("UploadId", call.query["uploadId"]),
                element("StorageClass", "STANDARD"),
                element("PartNumberMarker", after),
                optional("NextPartNumberMarker", page.parts[-1].number if page.is_truncated else None),
                element("MaxParts", limit),
                element("IsTruncated", page.is_truncated),
                parts,
            )
        )

    async def list_uploads(self, call: S3Call) -> Response:
        """ListMultipartUploads, as far as policies on their table show them. The markers are opaque, as upstream's."""
        write = name_writer(call)
        limit = call.integer("max-uploads", MAX_PAGE, at_least=1, at_most=MAX_PAGE)
        key_marker, id_marker = call.query.get("key-marker", ""), call.query.get("upload-id-marker", "")
        after_key = read_token(key_marker) if key_marker else ""
        request = UploadRequest(
            bucket=call.bucket,
            prefix=call.query.get("prefix", ""),
            delimiter=call.query.get("delimiter") or None,
            after_key=after_key,
            after_id=read_token(id_marker) if id_marker else "",
            limit=limit,
        )
        page = await self._listings.uploads(call.actor, request)
        last = page.uploads[-1] if page.is_truncated else None
        return xml_response(
            element(
                "ListMultipartUploadsResult",
                element("Bucket", call.bucket),
                element("KeyMarker", key_marker),
                element("UploadIdMarker", id_marker),
                optional("NextKeyMarker", None if last is None else write_token(last.key)),
                optional("NextUploadIdMarker", None if last is None else write_token(last.id)),
                element("Prefix", write(request.prefix)),
                optional("Delimiter", None if request.delimiter is None else write(request.delimiter)),
                optional("EncodingType", call.query.get("encoding-type")),
                element("MaxUploads", limit),
                element("IsTruncated", page.is_truncated),
                [_upload(upload, write(upload.key)) for upload in page.uploads if not upload.is_prefix],
                [
                    element("CommonPrefixes", element("Prefix", write(upload.key)))
                    for upload in page.uploads
                    if upload.is_prefix
                ],
            )
        )


def _upload(upload: ListedUpload, key: str) -> Markup:
    return element(
        "Upload",
        element("Key", key),
        element("UploadId", upload.id),
        element("Initiated", iso_milliseconds(upload.begun_at)),
        element("StorageClass", "STANDARD"),
    )


def _target(call: S3Call) -> PartsTarget:
    return PartsTarget(call.bucket, call.key, call.query["uploadId"])


def _part_target(call: S3Call) -> PartTarget:
    if not call.query.get("partNumber"):
        raise refuse.missing_parameter("partNumber")
    return PartTarget(_target(call), call.integer("partNumber", 0, at_least=1, at_most=MAX_PART_NUMBER))


def _listed_part(node: Node) -> tuple[int, str]:
    number, etag = (node.child_text("PartNumber") or "").strip(), node.child_text("ETag")
    if not (number.isascii() and number.isdigit() and len(number) <= len(str(MAX_PART_NUMBER))) or etag is None:
        raise s3_refuse.malformed_xml()
    return int(number), etag


def _stated_size(text: str) -> int:
    """Raises InvalidArgument for what is no length of an object."""
    if not _SIZE.fullmatch(text):
        raise s3_refuse.invalid_argument("x-amz-mp-object-size must be a number of bytes")
    return int(text)


def _copy_range(text: str, size_bytes: int) -> ByteRange:
    """Raises InvalidRange (400, as upstream) for a range that does not lie within the source."""
    match = _COPY_RANGE.fullmatch(text)
    if match is None or not int(match[1]) <= int(match[2]) < size_bytes:
        raise StorageError("InvalidRange", 400, "invalid range provided", label="invalid_range")
    return ByteRange(int(match[1]), int(match[2]))
