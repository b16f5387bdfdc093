"""``GET|HEAD /object/...`` and ``GET /object/info/...``: bytes, headers, facts. Source: contracts/storage.md 1.2."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp

from isobase_services.storage.blob_response import BlobResponse, parse_range
from isobase_services.storage.core.read import Access, ObjectRow, Reads
from isobase_services.storage.core.times import iso_milliseconds
from isobase_services.storage.rest.call import Auth, Call, Endpoint
from isobase_services.storage.rest.object_response import Conditions, content_headers, is_not_modified
from isobase_services.storage.rest.render import json_response
from isobase_services.storage.rest.schema import Object, Text, validate
from isobase_services.storage.rest.transform import TRANSFORM
from isobase_services.storage.signer import Scope, Signer

__all__ = ["ReadEndpoints"]

_TOKEN = Object({"token": Text()}, required=("token",))
_DOWNLOAD = Object({"download": Text()})
_INFO_HEADERS = ("etag", "cache-control", "last-modified")
"""What ``/object/info`` says of the object in headers too."""


class ReadEndpoints:
    """The routes that read an object."""

    def __init__(self, reads: Reads, signer: Signer) -> None:
        self._reads = reads
        self._signer = signer

    def download(self, access: Access) -> Endpoint:
        """The bytes, by the right that ``access`` names."""

        async def handle(call: Call) -> ASGIApp:
            return await self._download(call, access, None)

        return handle

    async def download_signed(self, call: Call) -> ASGIApp:
        """The bytes, for a token that names this object."""
        token = validate(_TOKEN, call.query(), "querystring")["token"]
        signed = self._signer.verify(token, call.bucket, call.key, Scope.DOWNLOAD)
        return await self._download(call, Access.SIGNED, signed.expires_at_s)

    async def _download(self, call: Call, access: Access, expires_at_s: int | None) -> ASGIApp:
        if call.scope["method"] == "HEAD" and access is Access.SIGNED:
            return await self._head(call, access, expires_at_s)
        if call.auth is not Auth.OPTIONAL:
            # The one route without a schema in upstream takes a repeated name too.
            validate(_DOWNLOAD, call.query(), "querystring")
        actor = call.actor()
        row = await self._reads.find(actor, call.bucket, call.key, access)
        conditions = Conditions(call.header("if-none-match"), call.header("if-modified-since"), call.header("range"))
        query = call.query()
        if is_not_modified(row, conditions):
            headers = content_headers(row, query, if_none_match=conditions.if_none_match, expires_at_s=expires_at_s)
            return Response(status_code=304, headers=headers)
        wanted = conditions.range
        choose = (lambda size_bytes: parse_range(wanted, size_bytes)) if wanted else None
        row, reader = await self._reads.open(actor, call.bucket, call.key, access, row, choose)
        try:
            headers = content_headers(row, query, if_none_match=conditions.if_none_match, expires_at_s=expires_at_s)
        except BaseException:
            await reader.close()
            raise
        return BlobResponse(reader, headers)

    def head(self, access: Access) -> Endpoint:
        """The headers alone, from the row: no blob is opened."""

        async def handle(call: Call) -> ASGIApp:
            return await self._head(call, access, None)

        return handle

    async def _head(self, call: Call, access: Access, expires_at_s: int | None) -> Response:
        validate(TRANSFORM, call.query(), "querystring")
        row = await self._reads.find(call.actor(), call.bucket, call.key, access)
        headers = content_headers(
            row, {}, if_none_match=call.header("if-none-match"), expires_at_s=expires_at_s, is_head=True
        )
        length = row.size("contentLength")
        if length is not None:
            headers["content-length"] = str(length)
        return Response(status_code=200, headers=headers)

    def info(self, access: Access) -> Endpoint:
        """The row's facts as JSON."""

        async def handle(call: Call) -> ASGIApp:
            validate(TRANSFORM, call.query(), "querystring")
            row = await self._reads.find(call.actor(), call.bucket, call.key, access)
            response = json_response(_info(row))
            headers = content_headers(row, {}, if_none_match=call.header("if-none-match"), is_head=True)
            response.headers.update({name: headers[name] for name in _INFO_HEADERS if name in headers})
            return response

        return handle


def _info(row: ObjectRow) -> dict[str, object]:
    return {
        "id": str(row.id),
        "name": row.key,
        "version": row.version,
        "bucket_id": row.bucket,
        "size": row.size("size"),
        "content_type": row.text("mimetype"),
        "cache_control": row.text("cacheControl"),
        "etag": row.text("eTag"),
        "metadata": row.user_metadata,
        "last_modified": iso_milliseconds(row.updated_at) if row.updated_at else None,
        "created_at": iso_milliseconds(row.created_at) if row.created_at else None,
    }
