"""Blobs that are made of parts, as multipart uploads of the S3 server. The work here runs on threads."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import md5
from typing import Any

from isobase_platform.config_storage.s3 import MIN_PART_SIZE_BYTES
from isobase_services.storage.blob import (
    BlobFacts,
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
from isobase_services.storage.blob.disk_errors import from_os_error
from isobase_services.storage.blob.part_order import check_part_order
from isobase_services.storage.blob.s3.client import S3Api
from isobase_services.storage.blob.s3.errors import mapped
from isobase_services.storage.blob.s3.names import ObjectNames, check_upload
from isobase_services.storage.blob.s3.writer import facts_arguments

__all__ = ["PartSpool", "S3Parts"]

SPOOL_MEMORY_BYTES = 8 * 1024 * 1024
"""A part up to this size is kept in memory on its way, a larger one in a temporary file without a name."""


class PartSpool:
    """A part while it is collected: S3 wants its length and its MD5 before its bytes. Close it, whatever happens."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_MEMORY_BYTES)  # noqa: SIM115  closed by close()
        self._digest = md5(usedforsecurity=False)
        self.size_bytes = 0

    def append(self, chunks: Sequence[bytes]) -> None:
        """Add bytes. Raises ``BlobStoreFull`` where the temporary directory has no room."""
        try:
            for chunk in chunks:
                self._digest.update(chunk)
                self.size_bytes += len(chunk)
                self._file.write(chunk)
        except OSError as error:
            raise from_os_error(error) from error

    def body(self) -> dict[str, Any]:
        """The arguments of the request that sends it."""
        self._file.seek(0)
        digest = base64.b64encode(self._digest.digest()).decode()
        return {"Body": self._file, "ContentLength": self.size_bytes, "ContentMD5": digest}

    def close(self) -> None:
        """Give memory or file back."""
        self._file.close()


class S3Parts:
    """The multipart uploads of one bucket below one prefix."""

    def __init__(self, api: S3Api, bucket: str, names: ObjectNames) -> None:
        self._api = api
        self._bucket = bucket
        self._names = names

    def begin(self, key: BlobKey, facts: BlobFacts) -> str:
        """Begin an upload; S3's id of it is the reference."""
        target = {"Bucket": self._bucket, "Key": self._names.new(key)}
        with mapped("CreateMultipartUpload", key.name):
            return str(self._api.create_multipart_upload(**target, **facts_arguments(facts))["UploadId"])

    def put(self, key: BlobKey, upload: str, number: int, spool: PartSpool) -> StoredPart:
        """Send a part that was collected."""
        target = self._target(key, upload)
        with mapped("UploadPart", key.name):
            answer = self._api.upload_part(**target, PartNumber=number, **spool.body())
        return StoredPart(number, answer["ETag"], spool.size_bytes)

    def copy(self, key: BlobKey, upload: str, number: int, source: BlobKey, byte_range: ByteRange | None) -> StoredPart:
        """Let the server make a part of another blob's bytes."""
        target = self._target(key, upload)
        source_target = {"Bucket": self._bucket, "Key": self._names.existing(source)}
        with mapped("HeadObject"):
            size = int(self._api.head_object(**source_target)["ContentLength"])
        arguments: dict[str, Any] = {}
        if byte_range is not None:
            if byte_range.last >= size:
                raise BlobRangeInvalid(size)
            arguments["CopySourceRange"] = f"bytes={byte_range.first}-{byte_range.last}"
            size = byte_range.size_bytes
        with mapped("UploadPartCopy", key.name):
            answer = self._api.upload_part_copy(**target, PartNumber=number, CopySource=source_target, **arguments)
        return StoredPart(number, answer["CopyPartResult"]["ETag"], size)

    def finish(self, key: BlobKey, upload: str, parts: Sequence[StoredPart]) -> StoredBlob:
        """Make the blob; see ``BlobStore.finish_parts``. What it reports is what the server then says of the object."""
        target = self._target(key, upload)
        check_part_order(parts)
        named = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        try:
            with mapped("CompleteMultipartUpload", key.name):
                self._api.complete_multipart_upload(**target, MultipartUpload={"Parts": named})
        except UploadMissing:
            return self._finished(key, parts)
        except PartInvalid as error:
            raise self._which(key, upload, parts, is_too_small=error.is_too_small) from error
        return self._stored(key)

    def _finished(self, key: BlobKey, parts: Sequence[StoredPart]) -> StoredBlob:
        """The blob that an earlier call made of these parts. Raises ``UploadMissing`` where there is none."""
        try:
            stored = self._stored(key)
        except BlobMissing:
            raise UploadMissing from None
        if stored.size_bytes != sum(part.size_bytes for part in parts):
            raise UploadMissing
        return stored

    def _which(self, key: BlobKey, upload: str, parts: Sequence[StoredPart], *, is_too_small: bool) -> PartInvalid:
        """Which part the server did not like, as it does not always say."""
        there = {part.number: part for part in self.list(key, upload)}
        for part in parts[:-1] if is_too_small else parts:
            found = there.get(part.number)
            if is_too_small and found is not None:
                if found.size_bytes < MIN_PART_SIZE_BYTES:
                    return PartInvalid(part.number, is_too_small=True)
            elif found is None or found.etag.strip('"') != part.etag.strip('"'):
                return PartInvalid(part.number)
        return PartInvalid(parts[0].number, is_too_small=is_too_small)

    def _stored(self, key: BlobKey) -> StoredBlob:
        with mapped("HeadObject", key.name):
            facts = self._api.head_object(Bucket=self._bucket, Key=self._names.existing(key))
        return StoredBlob(facts["ETag"], int(facts["ContentLength"]), facts["LastModified"].astimezone(UTC))

    def abort(self, key: BlobKey, upload: str) -> None:
        """Drop an upload; one that is not there is no error."""
        try:
            target = self._target(key, upload)
            with mapped("AbortMultipartUpload", key.name):
                self._api.abort_multipart_upload(**target)
        except (UploadMissing, BlobMissing):
            return

    def page(self, after: tuple[str, str] | None) -> tuple[list[UploadEntry], tuple[str, str] | None]:
        """Some uploads behind ``after`` (key and id), and where the next page begins; None at the end."""
        arguments = {} if after is None else {"KeyMarker": after[0], "UploadIdMarker": after[1]}
        with mapped("ListMultipartUploads"):
            page = self._api.list_multipart_uploads(Bucket=self._bucket, Prefix=self._names.prefix, **arguments)
        entries = [
            UploadEntry(upload["Key"], upload["UploadId"], _utc(upload["Initiated"]))
            for upload in page.get("Uploads", ())
            if upload["Key"].startswith(self._names.prefix)
        ]
        is_more = page.get("IsTruncated") and page.get("NextKeyMarker")
        return entries, (page["NextKeyMarker"], page.get("NextUploadIdMarker", "")) if is_more else None

    def abort_all(self, entries: Sequence[UploadEntry]) -> None:
        """Drop uploads that ``page`` found."""
        for entry in entries:
            try:
                with mapped("AbortMultipartUpload"):
                    self._api.abort_multipart_upload(Bucket=self._bucket, Key=entry.handle, UploadId=entry.upload)
            except UploadMissing:
                continue

    def list(self, key: BlobKey, upload: str) -> list[StoredPart]:
        """The parts by number."""
        target = self._target(key, upload)
        parts: list[StoredPart] = []
        marker = 0
        while True:
            with mapped("ListParts", key.name):
                page = self._api.list_parts(**target, PartNumberMarker=marker)
            parts += [StoredPart(part["PartNumber"], part["ETag"], part["Size"]) for part in page.get("Parts", ())]
            if not page.get("IsTruncated") or not page.get("Parts"):
                return parts
            marker = parts[-1].number

    def _target(self, key: BlobKey, upload: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._names.new(key), "UploadId": check_upload(upload)}


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
