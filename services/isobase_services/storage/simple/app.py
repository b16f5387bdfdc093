"""``POST /storage/upload``, ``GET /storage/{file_id}``, ``DELETE /storage/{file_id}``.

A file belongs to the signed-in user: its key begins with his id, and the policies made at start (``provision``) let him read,
write and delete there. Everything runs as the caller, so policies that a project adds hold here too.
Source: contracts/storage.md section 4.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.caller import ANON_ROLE, Caller
from isobase_platform.errors import BadRequest, Forbidden, IsobaseError, NotFound, TokenError, TokenRefusal
from isobase_platform.http.errors import ErrorBoundary, render_simple
from isobase_platform.http.request import bearer_token, request_facts
from isobase_platform.runtime import Platform
from isobase_services.storage.body import body_chunks, content_length
from isobase_services.storage.core import StorageCore
from isobase_services.storage.core.database import Actor
from isobase_services.storage.core.upload import UploadFacts, UploadTarget
from isobase_services.storage.errors import StorageError
from isobase_services.storage.multipart import FilePart, MultipartForm
from isobase_services.storage.provision import public_bucket
from isobase_services.storage.simple.urls import FileUrls

__all__ = ["simple_app"]

MAX_FILENAME_CHARS = 100
MAX_FOLDER_CHARS = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_FOLDER = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_TRUE = frozenset({"true", "1", "yes", "on"})


@dataclass(slots=True, frozen=True)
class _Choice:
    """What the form says beside the file."""

    folder: str
    is_public: bool


def simple_app(platform: Platform, core: StorageCore) -> ASGIApp:
    """The simple face as an ASGI app."""
    face = _SimpleFace(platform, core)
    routes = [
        Route("/upload", face.upload, methods=["POST"]),
        Route("/{file_id}", face.get, methods=["GET"]),
        Route("/{file_id}", face.delete, methods=["DELETE"]),
    ]
    return ErrorBoundary(_in_app(Router(routes=routes, redirect_slashes=False)), _render)


def _in_app(router: Router) -> ASGIApp:
    """Starlette's router speaks of unknown routes by exceptions, for ``ErrorBoundary``, only inside an application."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await router({**scope, "app": router}, receive, send)

    return app


def _render(error: IsobaseError, scope: Scope) -> Response:
    """The house's shape. Storage's own code names become the face's words: ``NoSuchKey`` -> ``no_such_key``."""
    if isinstance(error, StorageError):
        code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.code).lower()
        status = 500 if error.status > 511 else error.status
        error = IsobaseError(error.message, code=code, status=status)
    return render_simple(error, scope)


class _SimpleFace:
    def __init__(self, platform: Platform, core: StorageCore) -> None:
        self._platform = platform
        self._core = core
        self._settings = platform.settings.storage
        self._urls = FileUrls(platform.settings, core.signer)

    async def upload(self, request: Request) -> Response:
        """Store the file of a form."""
        actor = self._actor(request, "storage.object.upload")
        user_id = actor.owner_id
        if user_id is None:
            raise Forbidden("Only a signed-in user can upload", code="user_required")
        content_type = request.headers.get("content-type", "")
        if not content_type.lower().startswith("multipart/form-data"):
            raise BadRequest("The body must be multipart/form-data with a field named file", code="invalid_form")
        form = MultipartForm(content_type, body_chunks(request.receive))
        part = await form.head()
        choice = _choice(form)
        private = self._settings.simple_bucket
        bucket = public_bucket(private) if choice.is_public else private
        target = UploadTarget(bucket, _key(user_id, choice.folder, part), user_id, is_upsert=False)
        cdn = self._settings.cdn
        cache_control = cdn.public_cache_control if choice.is_public else cdn.private_cache_control
        body = _FormFile(form, part, choice, content_length(request.scope), cache_control)
        stored = await self._core.uploads.upload(actor, target, body)
        url, expires_in_s = self._urls.of(stored.bucket, stored.key, is_public=choice.is_public)
        return JSONResponse(
            {
                "file_id": str(stored.id),
                "url": url,
                "expires_in": expires_in_s,
                "key": stored.key,
                "size": stored.size_bytes,
                "content_type": stored.mime_type,
            },
            status_code=201,
        )

    async def get(self, request: Request) -> Response:
        """A URL to read the file by."""
        actor = self._actor(request, "storage.object.sign")
        row, is_public = await self._core.reads.find_visible(actor, _file_id(request))
        url, expires_in_s = self._urls.of(row.bucket, row.key, is_public=is_public)
        return JSONResponse(
            {
                "file_id": str(row.id),
                "url": url,
                "expires_in": expires_in_s,
                "key": row.key,
                "size": row.size("size"),
                "content_type": row.text("mimetype"),
            }
        )

    async def delete(self, request: Request) -> Response:
        """Remove the file."""
        actor = self._actor(request, "storage.object.delete")
        row, _ = await self._core.reads.find_visible(actor, _file_id(request))
        await self._core.removals.remove(actor, row.bucket, row.key)
        return JSONResponse({"file_id": str(row.id), "deleted": True})

    def _actor(self, request: Request, operation: str) -> Actor:
        token = bearer_token(request.scope)
        if token is None:
            raise TokenError("Sign in first: no bearer token was sent", TokenRefusal.MALFORMED)
        claims = self._platform.verifier.verify(token)
        role = claims.role or ANON_ROLE
        if role == ANON_ROLE:
            raise TokenError("Sign in first: the token is no user's", TokenRefusal.CLAIMS)
        return Actor(Caller(role, claims, request_facts(request.scope)), operation, token)


class _FormFile:
    """The form's file as the core takes it."""

    def __init__(
        self, form: MultipartForm, part: FilePart, choice: _Choice, declared_length: int | None, cache_control: str
    ) -> None:
        self._form = form
        self._choice = choice
        self.facts = UploadFacts(
            mime_type=part.content_type,
            cache_control=cache_control,
            user_metadata=None,
            declared_length=declared_length,
            known_size=None,
            robots_tag=None,
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._form.file_chunks():
            yield chunk
        if _choice(self._form) != self._choice:
            # The key and the bucket follow from these fields, and the bytes are there already.
            raise BadRequest("The fields folder and public must come before file", code="invalid_form")


def _choice(form: MultipartForm) -> _Choice:
    folder = form.fields.get("folder", "").strip("/")
    if folder and (len(folder) > MAX_FOLDER_CHARS or not _FOLDER.fullmatch(folder)):
        raise BadRequest(
            "The folder may hold letters, digits, _ and -, with / between its parts",
            code="invalid_folder",
            hint="Example: albums/2026",
        )
    return _Choice(folder, form.fields.get("public", "").strip().lower() in _TRUE)


def _key(user_id: str, folder: str, part: FilePart) -> str:
    """``USER/FOLDER/RANDOM-NAME``: the random part keeps two files of one name apart."""
    name = _UNSAFE.sub("-", part.filename).strip("-.")[-MAX_FILENAME_CHARS:].lstrip("-.") or "file"
    parts = [user_id, folder, f"{uuid.uuid4().hex[:12]}-{name}"]
    return "/".join(piece for piece in parts if piece)


def _file_id(request: Request) -> uuid.UUID:
    try:
        return uuid.UUID(request.path_params["file_id"])
    except ValueError as error:
        raise NotFound("Object not found", code="no_such_key") from error
