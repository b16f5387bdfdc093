"""Finding and removing objects of a bucket by the page. Runs on threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from botocore.exceptions import ClientError

from isobase_services.storage.blob import BlobEntry, BlobUnavailable
from isobase_services.storage.blob.s3.client import S3Api
from isobase_services.storage.blob.s3.errors import S3_ERROR, error_code, mapped

__all__ = ["delete_objects", "list_page"]

DELETE_BATCH_OBJECTS = 1_000
"""S3's limit of one DeleteObjects."""
_NO_BATCHES = frozenset({"NotImplemented", "MissingContentMD5", "MethodNotAllowed"})
"""How servers say that they do not know the batch, or not in this form."""


def list_page(api: S3Api, bucket: str, prefix: str, token: str | None) -> tuple[list[BlobEntry], str | None]:
    """Up to 1,000 objects below the prefix, and the token of the next page; None at the end."""
    arguments = {} if token is None else {"ContinuationToken": token}
    with mapped("ListObjectsV2"):
        page = api.list_objects_v2(Bucket=bucket, Prefix=prefix, **arguments)
    entries = [
        BlobEntry(found["Key"], int(found["Size"]), found["LastModified"].astimezone(UTC))
        for found in page.get("Contents", ())
    ]
    return entries, page.get("NextContinuationToken") if page.get("IsTruncated") else None


def delete_objects(api: S3Api, bucket: str, names: Sequence[str]) -> None:
    """Remove objects; what is not there is no error. Raises ``BlobUnavailable`` where one stays."""
    for begin in range(0, len(names), DELETE_BATCH_OBJECTS):
        batch = names[begin : begin + DELETE_BATCH_OBJECTS]
        if len(batch) == 1 or not _delete_batch(api, bucket, batch):
            for name in batch:
                with mapped("DeleteObject"):
                    api.delete_object(Bucket=bucket, Key=name)


def _delete_batch(api: S3Api, bucket: str, names: Sequence[str]) -> bool:
    """False where the server knows no batches, so that each object has to go by itself."""
    with mapped("DeleteObjects"):
        try:
            answer = api.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": name} for name in names], "Quiet": True}
            )
        except ClientError as error:
            if error_code(error) in _NO_BATCHES:
                return False
            raise
    refused = [entry for entry in answer.get("Errors", ()) if entry.get("Code") != "NoSuchKey"]
    if refused:
        raise BlobUnavailable(f"{len(refused)} objects were not removed", code=S3_ERROR)
    return True
