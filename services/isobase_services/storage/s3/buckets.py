"""Operations on buckets, and the fixed answers about them. Source: contracts/storage.md 1.5."""

from __future__ import annotations

import json

from starlette.responses import Response

from isobase_services.storage.core.buckets import BucketPage, Buckets, NewBucket
from isobase_services.storage.errors import StorageError
from isobase_services.storage.s3.call import S3Call, empty_response, xml_response
from isobase_services.storage.s3.xml import element

__all__ = ["BucketOperations"]

PUBLIC_ACL = "public-read"


class BucketOperations:
    """Buckets by name. ``region`` is what the answers call the place where they are."""

    def __init__(self, buckets: Buckets, region: str) -> None:
        self._buckets = buckets
        self._region = region

    async def list(self, call: S3Call) -> Response:
        """ListBuckets: those that policies show to the caller."""
        rows = json.loads(await self._buckets.list(call.actor, BucketPage()))
        listed = [
            element("Bucket", element("Name", row["name"]), element("CreationDate", row["created_at"])) for row in rows
        ]
        owner_id = call.actor.owner_id or call.actor.caller.role
        owner = element("Owner", element("ID", owner_id), element("DisplayName", owner_id))
        return xml_response(element("ListAllMyBucketsResult", owner, element("Buckets", listed)))

    async def create(self, call: S3Call) -> Response:
        """CreateBucket; ``x-amz-acl: public-read`` makes it public."""
        await call.document("CreateBucketConfiguration")  # a region means nothing here, but what is sent is verified
        is_public = call.headers.get("x-amz-acl") == PUBLIC_ACL
        bucket = NewBucket(call.bucket, call.bucket, is_public, file_size_limit=None, allowed_mime_types=None)
        try:
            await self._buckets.create(call.actor, bucket)
        except StorageError as error:
            if error.code != "BucketAlreadyExists":
                raise
            raise StorageError("BucketAlreadyExists", 409, error.message) from error
        return empty_response(200, {"location": f"/{call.bucket}"})

    async def head(self, call: S3Call) -> Response:
        """HeadBucket: whether policies show it to the caller."""
        await self._buckets.get(call.actor, call.bucket)
        return empty_response(200, {"x-amz-bucket-region": self._region})

    async def delete(self, call: S3Call) -> Response:
        """DeleteBucket, where it is empty."""
        await self._buckets.delete(call.actor, call.bucket)
        return empty_response(204)

    async def location(self, call: S3Call) -> Response:
        """GetBucketLocation."""
        await self._buckets.get(call.actor, call.bucket)
        return xml_response(element("LocationConstraint", self._region))

    async def versioning(self, call: S3Call) -> Response:
        """GetBucketVersioning: there are no versions."""
        await self._buckets.get(call.actor, call.bucket)
        status = element("Status", "Suspended")
        return xml_response(element("VersioningConfiguration", status, element("MfaDelete", "Disabled")))
