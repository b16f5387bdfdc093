"""Copies inside a bucket, made by the server. Runs on a thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from isobase_services.storage.blob import BlobFacts
from isobase_services.storage.blob.part_order import MAX_PART_NUMBER
from isobase_services.storage.blob.s3.client import S3Api
from isobase_services.storage.blob.s3.errors import error_code, mapped
from isobase_services.storage.blob.s3.writer import facts_arguments

__all__ = ["copy_object"]

MAX_COPY_BYTES = 5 * 1024**3
"""What S3 copies in one request."""
COPY_PART_BYTES = 512 * 1024**2
PARTS_AT_A_TIME = 4
_TOO_LARGE = frozenset({"InvalidRequest", "EntityTooLarge", "InvalidArgument"})
"""How servers refuse to copy more than ``MAX_COPY_BYTES`` at once."""


def copy_object(api: S3Api, bucket: str, source: str, target: str, facts: BlobFacts | None, key: str) -> None:
    """Copy an object of the bucket; ``facts`` None keeps the source's. ``key`` is the user's name of the target.

    Raises ``BlobMissing`` and ``BlobUnavailable``.
    """
    arguments: dict[str, Any] = {"Bucket": bucket, "Key": target}
    replaced = {} if facts is None else {"MetadataDirective": "REPLACE", **facts_arguments(facts)}
    with mapped("CopyObject", key):
        try:
            api.copy_object(**arguments, **replaced, CopySource={"Bucket": bucket, "Key": source})
        except ClientError as error:
            if error_code(error) not in _TOO_LARGE:
                raise
            head = api.head_object(Bucket=bucket, Key=source)
            if int(head["ContentLength"]) <= MAX_COPY_BYTES:
                raise
            if facts is None:
                facts = BlobFacts(head.get("ContentType", ""), head.get("CacheControl", ""))
            copy_in_parts(api, bucket, source, target, facts, int(head["ContentLength"]))


def copy_in_parts(
    api: S3Api,
    bucket: str,
    source: str,
    target: str,
    facts: BlobFacts,
    size_bytes: int,
    part_bytes: int = COPY_PART_BYTES,
) -> None:
    """Copy an object of ``size_bytes`` by a multipart upload. Lets the client library's errors out."""
    part_bytes = max(part_bytes, -(-size_bytes // MAX_PART_NUMBER))
    destination = {"Bucket": bucket, "Key": target}
    upload = api.create_multipart_upload(**destination, **facts_arguments(facts))["UploadId"]

    def copy_part(number: int) -> dict[str, Any]:
        first = (number - 1) * part_bytes
        last = min(first + part_bytes, size_bytes) - 1
        answer = api.upload_part_copy(
            **destination,
            UploadId=upload,
            PartNumber=number,
            CopySource={"Bucket": bucket, "Key": source},
            CopySourceRange=f"bytes={first}-{last}",
        )
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

    try:
        count = -(-size_bytes // part_bytes)
        # Threads of their own: this runs on one of the store's, and waiting there for others of them could last for ever.
        with ThreadPoolExecutor(PARTS_AT_A_TIME, thread_name_prefix="isobase-s3-copy") as threads:
            parts = list(threads.map(copy_part, range(1, count + 1)))
        api.complete_multipart_upload(**destination, UploadId=upload, MultipartUpload={"Parts": parts})
    except BaseException:
        api.abort_multipart_upload(**destination, UploadId=upload)
        raise
