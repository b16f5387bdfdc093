"""The S3 face as an ASGI app: path and query name an operation, the signature names the caller, the operation answers.

What the path and query ask for is looked up before the signature is checked, because policies want to know the operation,
but nothing is answered without a caller. Sub-resources that are not here are refused; upstream ignores them, and then
``PutObjectTagging`` overwrites the object. Source: contracts/storage.md 1.5; upstream ``src/http/routes/s3``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isobase_platform.http.errors import ErrorBoundary
from isobase_platform.http.request import request_id
from isobase_platform.runtime import Platform
from isobase_services.storage.core import StorageCore
from isobase_services.storage.paths import PathReader, with_slashes
from isobase_services.storage.s3 import sigv4
from isobase_services.storage.s3.access import S3Access, joined_headers
from isobase_services.storage.s3.buckets import BucketOperations
from isobase_services.storage.s3.call import Operation, S3Call
from isobase_services.storage.s3.errors import render_error, s3_refuse
from isobase_services.storage.s3.listing import ListOperations
from isobase_services.storage.s3.multipart import PartOperations
from isobase_services.storage.s3.object_read import ReadOperations
from isobase_services.storage.s3.object_write import WriteOperations
from isobase_services.storage.s3.post_form import PostForm
from isobase_services.storage.s3.routes import Match, RouteTable
from isobase_services.storage.s3.sigv4 import SignatureFormatError

__all__ = ["s3_app"]


class _S3Face:
    """Serves requests. ``routes`` finds an operation, ``access`` the caller; ``form`` takes what is signed in its body."""

    def __init__(self, routes: RouteTable, access: S3Access, form: PostForm) -> None:
        self._routes = routes
        self._access = access
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("x-amz-request-id", request_id(scope))
            await send(message)

        response = await self._answer(scope, receive)
        await response(scope, receive, send_on)

    async def _answer(self, scope: Scope, receive: Receive) -> ASGIApp:
        headers = joined_headers(scope)
        try:
            members = sigv4.split_query(scope.get("query_string", b""))
        except SignatureFormatError as error:
            raise s3_refuse.invalid_signature(str(error)) from error
        bucket, key = _target(scope)
        scope = {**scope, "path": with_slashes(scope["path"])}
        query = _first_of_each(members)
        if _is_form(scope, headers, bucket, key, query):
            return await self._form.upload(scope, receive, headers, bucket)
        match = self._routes.find(scope["method"], bucket, key, query, headers)
        identity = await self._access.authenticate(scope, headers, members, match.operation)
        return await _operation(match)(S3Call(scope, receive, headers, query, bucket, key, identity))


def _is_form(scope: Scope, headers: Mapping[str, str], bucket: str, key: str, query: Mapping[str, str]) -> bool:
    """A POST to a bucket whose policy is a field of the form, not a header or a query."""
    is_post = scope["method"] == "POST" and bucket and not key and not query
    return bool(is_post and headers.get("content-type", "").lower().startswith("multipart/form-data"))


def _operation(match: Match) -> Operation:
    if match.handle is None:
        raise s3_refuse.not_implemented(match.missing)
    return match.handle


def _target(scope: Scope) -> tuple[str, str]:
    """Bucket and key of the path; a slash behind a bucket means nothing, an encoded one is part of a name."""
    path = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix("/")
    bucket, _, key = path.partition("/")
    return with_slashes(bucket), with_slashes(key)


def _first_of_each(members: Sequence[tuple[str, str]]) -> dict[str, str]:
    query: dict[str, str] = {}
    for name, value in members:
        query.setdefault(name, value)
    return query


def s3_app(platform: Platform, core: StorageCore) -> ASGIApp:
    """The S3 face as an ASGI app, to be served below ``/s3``."""
    region = platform.settings.storage.s3_protocol.region
    routes = RouteTable(
        BucketOperations(core.buckets, region),
        ListOperations(core.key_listings),
        ReadOperations(core.reads),
        WriteOperations(core.uploads, core.transfers, core.removals),
        PartOperations(core.parts, core.part_listings),
    )
    access = S3Access(platform)
    face = _S3Face(routes, access, PostForm(access, core.uploads))
    return ErrorBoundary(PathReader(face), render_error)
