"""``GET|HEAD /render/image/{authenticated,public,sign}/...``: transformed images. Source: contracts/storage.md 1.3."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp

from isobase_services.storage.blob_response import BlobResponse
from isobase_services.storage.core.images import ImageRequest, Images
from isobase_services.storage.core.read import Access, Reads
from isobase_services.storage.errors import StorageError
from isobase_services.storage.render.formats import ImageFormat
from isobase_services.storage.render.transform import FocalPointOutside, Transform
from isobase_services.storage.rest.call import Call, Endpoint
from isobase_services.storage.rest.object_response import content_headers
from isobase_services.storage.rest.schema import Object, Text, validate
from isobase_services.storage.rest.transform import TRANSFORM_AND_DOWNLOAD
from isobase_services.storage.signer import Scope, Signer

__all__ = ["ImageEndpoints", "applied_text", "token_text"]

_SIGNED = Object({"token": Text(), "download": Text()}, required=("token",))
_SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""What a browser may do that opens an SVG as a page of its own: draw it."""


def applied_text(transform: Transform) -> str:
    """``X-Transformations``. Raises InvalidParameter for a focal point outside the image."""
    try:
        return transform.applied()
    except FocalPointOutside as error:
        raise _focal_point_outside() from error


def token_text(transform: Transform) -> str:
    """The ``transformations`` of a token; errors as ``applied_text``."""
    try:
        return transform.for_token()
    except FocalPointOutside as error:
        raise _focal_point_outside() from error


class ImageEndpoints:
    """The routes that render."""

    def __init__(self, reads: Reads, images: Images, signer: Signer) -> None:
        self._reads = reads
        self._images = images
        self._signer = signer

    def render(self, access: Access) -> Endpoint:
        """The image that the query asks for, by the right that ``access`` names."""

        async def handle(call: Call) -> ASGIApp:
            query = validate(TRANSFORM_AND_DOWNLOAD, call.query(), "querystring")
            transform = Transform.from_values(query, max_dimension=self._images.max_dimension)
            return await self._respond(call, access, transform, query, None)

        return handle

    async def render_signed(self, call: Call) -> ASGIApp:
        """The image that the token asks for; the query's own wishes mean nothing."""
        query = validate(_SIGNED, call.query(), "querystring")
        signed = self._signer.verify(query["token"], call.bucket, call.key, Scope.DOWNLOAD)
        limit = self._images.max_dimension
        transform = Transform.from_token(signed.transformations or "", signed.format, max_dimension=limit)
        return await self._respond(call, Access.SIGNED, transform, query, signed.expires_at_s)

    async def _respond(
        self, call: Call, access: Access, transform: Transform, query: dict[str, Any], expires_at_s: int | None
    ) -> ASGIApp:
        applied = applied_text(transform)
        actor = call.actor()
        row = await self._reads.find(actor, call.bucket, call.key, access)
        job = self._images.plan(transform, call.header("accept") or "")
        etag = self._images.etag(row, job)
        if_none_match = call.header("if-none-match")
        is_fresh = if_none_match is not None and _matches(if_none_match, etag)
        image = None
        if not is_fresh:
            row, image = await self._images.render(ImageRequest(actor, access, row, job))
            etag = self._images.etag(row, job)
        # The source's ETag stands for "the client has what there is" in the one rule that looks at it.
        known = row.text("eTag") if is_fresh else if_none_match
        headers = content_headers(row, query, if_none_match=known, expires_at_s=expires_at_s)
        headers |= {"etag": etag, "x-content-type-options": "nosniff"}
        if transform.format is None:
            headers["vary"] = "Accept"
        if applied:
            headers["x-transformations"] = applied
        if image is None:
            headers.pop("content-type", None)
            return Response(status_code=304, headers=headers)
        headers["content-type"] = image.format.value
        headers.pop("content-security-policy", None)  # the source's
        if image.format is ImageFormat.SVG:
            headers["content-security-policy"] = _SVG_POLICY
        if call.scope["method"] == "HEAD":
            await image.close()
            return Response(status_code=200, headers={**headers, "content-length": str(image.size_bytes)})
        return BlobResponse(image, headers)


def _matches(if_none_match: str, etag: str) -> bool:
    """Proxies that compress make an ETag weak; it names the same image."""
    return any(tag.strip().removeprefix("W/") in {etag, "*"} for tag in if_none_match.split(","))


def _focal_point_outside() -> StorageError:
    return StorageError("InvalidParameter", 400, "Focal point requires x and y coordinates within 0-1 range")
