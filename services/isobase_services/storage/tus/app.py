"""The TUS face: one request parsed, its right and its bytes handed to the core, the outcome written in TUS's headers.

Source: contracts/storage.md 1.4; upstream ``src/http/routes/tus/{index,lifecycle}.ts`` and ``@tus/server`` 2.4 for the order
in which a request is refused. Who the caller is is settled before (and refused in JSON, as on the other routes of the
mount); everything behind that is answered as text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.config import Settings
from isobase_platform.errors import NotFound
from isobase_platform.http.errors import ErrorBoundary
from isobase_platform.tokens import TokenVerifier
from isobase_services.storage.blob import BlobKey
from isobase_services.storage.body import body_chunks, content_length
from isobase_services.storage.core.database import Actor
from isobase_services.storage.core.resumable import Incoming, Resumable
from isobase_services.storage.core.resumable_errors import refuse_upload
from isobase_services.storage.core.resumable_state import Progress, UploadDescription, UploadRight
from isobase_services.storage.errors import refuse
from isobase_services.storage.http_values import http_date
from isobase_services.storage.paths import PathReader, last_segment, with_slashes
from isobase_services.storage.rest.call import Auth, Call
from isobase_services.storage.rest.render import render_error
from isobase_services.storage.rules import check_bucket_name, check_key
from isobase_services.storage.signer import Scope as TokenScope
from isobase_services.storage.signer import Signer
from isobase_services.storage.tus.location import UploadUrls
from isobase_services.storage.tus.protocol import (
    ALLOWED_HEADERS,
    CONTENT_TYPE,
    EXTENSIONS,
    METHODS,
    VERSION,
    decode_upload_id,
    encode_upload_id,
    invalid_headers,
    parse_metadata,
    protocol_error,
    write_metadata,
)
from isobase_services.storage.tus.render import TEXT, base_headers, render_tus_error

__all__ = ["TUS_PATH", "tus_app"]

TUS_PATH = "/upload/resumable"
SIGNED_PATH = f"{TUS_PATH}/sign"
PREFLIGHT_MAX_AGE_S = 86_400
_OPERATIONS = {"POST": "create", "PATCH": "part", "PUT": "part", "HEAD": "get", "DELETE": "delete"}
_OVERRIDES = {"PATCH", "DELETE", "HEAD"}
"""What a POST may stand for, where a client's network lets nothing else through."""

_Handler: TypeAlias = Callable[[Call, Actor], Awaitable[Response]]


def tus_app(resumable: Resumable, signer: Signer, verifier: TokenVerifier, settings: Settings) -> ASGIApp:
    """The face as an ASGI app for every path at and below ``/upload/resumable``."""
    face = _TusFace(resumable, signer, verifier, UploadUrls.of(settings))
    return ErrorBoundary(PathReader(face), render_error)


class _TusFace:
    def __init__(self, resumable: Resumable, signer: Signer, verifier: TokenVerifier, urls: UploadUrls) -> None:
        self._resumable = resumable
        self._signer = signer
        self._verifier = verifier
        self._urls = urls
        self._handlers: dict[str, _Handler] = {
            "POST": self._create,
            "PATCH": self._append,
            "HEAD": self._status,
            "DELETE": self._terminate,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, "path": with_slashes(scope["path"])}
        method, has_segment = _method(scope), _path(scope) not in {TUS_PATH, SIGNED_PATH}
        if method == "OPTIONS":
            await self._options()(scope, receive, send)
            return
        # Upstream routes a POST everywhere, and what continues an upload where something follows the path.
        if method not in _OPERATIONS or not (method == "POST" or has_segment):
            raise NotFound("There is no such route")
        is_signed = _is_signed(scope)
        operation = f"storage.tus.upload.{_OPERATIONS[method]}{'_signed' if is_signed else ''}"
        call = Call(scope, receive, Auth.NONE if is_signed else Auth.VERIFIED, operation, self._verifier)
        actor = call.actor()

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            _check_headers(call, method)
            handler = self._handlers.get(method)
            if handler is None:
                raise protocol_error(404, "Not found\n")
            response = await handler(call, actor)
            await response(scope, receive, send)

        await ErrorBoundary(serve, render_tus_error)(scope, receive, send)

    def _options(self) -> Response:
        headers = base_headers() | {
            "tus-version": VERSION,
            "tus-extension": ",".join(EXTENSIONS),
            "tus-max-size": str(self._resumable.max_size_bytes),
            "access-control-allow-methods": ", ".join(METHODS),
            "access-control-allow-headers": ", ".join(ALLOWED_HEADERS),
            "access-control-max-age": str(PREFLIGHT_MAX_AGE_S),
        }
        return Response(status_code=204, headers=headers)

    async def _create(self, call: Call, actor: Actor) -> Response:
        if call.header("upload-concat"):
            text = "Concatenation extension is not (yet) supported. Disable parallel uploads in the tus client.\n"
            raise protocol_error(501, text)
        length = call.header("upload-length")
        if (length is None) == (call.header("upload-defer-length") is None):
            raise refuse_upload.wrong_length()
        metadata = parse_metadata(call.header("upload-metadata") or "")
        if metadata is None:
            raise refuse.invalid_request("Metadata header is required")
        given = dict(metadata)
        bucket, key = given.get("bucketName") or "", given.get("objectName") or ""
        check_bucket_name(bucket)
        check_key(key)
        right = self._right(call, actor, bucket, key)
        has_body = (call.header("content-type") or "").strip(" \t") == CONTENT_TYPE
        progress = await self._resumable.create(
            actor,
            right,
            bucket,
            key,
            None if length is None else int(length),
            UploadDescription.of(metadata),
            _incoming(call) if has_body else None,
        )
        segment = encode_upload_id(bucket, key, progress.key.version)
        path = SIGNED_PATH if _is_signed(call.scope) else TUS_PATH
        headers = _outcome_headers(progress) | {"location": self._urls.url(call.scope, path, segment)}
        headers["content-type"] = TEXT
        if not has_body:
            del headers["upload-offset"]
        return Response(status_code=201, headers=headers)

    async def _append(self, call: Call, actor: Actor) -> Response:
        key = _upload_key(call)
        offset = call.header("upload-offset")
        if offset is None:
            raise protocol_error(403, "Upload-Offset header required\n")
        if call.header("content-type") is None:
            raise protocol_error(403, "Content-Type header required\n")
        length = call.header("upload-length")
        right = self._right(call, actor, key.bucket, key.name)
        progress = await self._resumable.append(
            actor, right, key, int(offset), None if length is None else int(length), _incoming(call)
        )
        return Response(status_code=204, headers=_outcome_headers(progress))

    async def _status(self, call: Call, actor: Actor) -> Response:
        key = _upload_key(call)
        if _is_signed(call.scope):
            self._right(call, actor, key.bucket, key.name)
        state = await self._resumable.status(actor, key)
        headers = base_headers() | {
            "cache-control": "no-store",
            "content-type": TEXT,
            "upload-offset": str(state.offset_bytes),
        }
        if state.size_bytes is None:
            headers["upload-defer-length"] = "1"
        else:
            headers["upload-length"] = str(state.size_bytes)
        headers["upload-metadata"] = write_metadata(state.description.pairs)
        return Response(status_code=200, headers=headers)

    async def _terminate(self, call: Call, actor: Actor) -> Response:
        key = _upload_key(call)
        await self._resumable.terminate(actor, self._right(call, actor, key.bucket, key.name), key)
        return Response(status_code=204, headers=base_headers())

    def _right(self, call: Call, actor: Actor, bucket: str, key: str) -> UploadRight:
        """On whose behalf: the user's, or with a signed token that of who made it."""
        if not _is_signed(call.scope):
            return UploadRight(actor.owner_id, call.flag("x-upsert"))
        token = call.header("x-signature")
        if not token:
            raise refuse.invalid_signature("Missing x-signature header")
        signed = self._signer.verify(token, bucket, key, TokenScope.UPLOAD)
        return UploadRight(signed.owner, signed.is_upsert, is_signed=True)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _is_signed(scope: Scope) -> bool:
    path = _path(scope)
    return path == SIGNED_PATH or path.startswith(f"{SIGNED_PATH}/")


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    if method == "POST":
        for name, value in scope["headers"]:
            if name == b"x-http-method-override" and str(value, "latin-1").upper() in _OVERRIDES:
                return str(value, "latin-1").upper()
    return method


def _check_headers(call: Call, method: str) -> None:
    """Refuse what is no TUS request, or has headers that cannot be understood."""
    if not call.header("tus-resumable"):
        raise protocol_error(412, "Tus-Resumable Required\n")
    headers = [(str(name, "latin-1"), str(value, "latin-1").strip(" \t")) for name, value in call.scope["headers"]]
    invalid = invalid_headers(headers, method)
    if invalid:
        raise protocol_error(400, f"Invalid {' '.join(invalid)}\n")


def _upload_key(call: Call) -> BlobKey:
    """The upload that the URL names. Raises what a wrong id, bucket or key is."""
    path = _path(call.scope).rstrip("/")
    segment = last_segment(call.scope)
    # Any piece of the route's own text is no upload at all, where other texts are a wrong id: so upstream asks.
    if segment in TUS_PATH or path == SIGNED_PATH:
        raise refuse_upload.not_found()
    bucket, key, version = decode_upload_id(segment)
    check_bucket_name(bucket)
    check_key(key)
    return BlobKey(bucket, key, version)


def _incoming(call: Call) -> Incoming:
    return Incoming(content_length(call.scope), body_chunks(call.receive))


def _outcome_headers(progress: Progress) -> dict[str, str]:
    headers = base_headers() | {"upload-offset": str(progress.offset_bytes)}
    if progress.is_finished:
        headers["tus-complete"] = "1"
    else:
        headers["upload-expires"] = http_date(progress.expires_at)
    if progress.is_released:
        headers["connection"] = "close"
    return headers
