"""``POST /storage/upload``, ``GET /storage/{file_id}``, ``DELETE /storage/{file_id}``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from isobase_platform.errors import BadRequest
from isobase_platform.runtime import Platform
from isobase_services.storage.body import body_chunks, content_length
from isobase_services.storage.core import StorageCore
from isobase_services.storage.multipart import MultipartForm
from isobase_services.storage.simple.answers import file_answer
from isobase_services.storage.simple.caller import actor_of, path_id, user_of
from isobase_services.storage.simple.form import plan_form
from isobase_services.storage.simple.tidy import remove_older
from isobase_services.storage.simple.urls import FileUrls

__all__ = ["FileEndpoints"]

MAX_URL_TTL_S = 7 * 24 * 3600
"""The longest life of a URL that a request may ask for."""
_NO_FILE = {"message": "Object not found", "code": "no_such_key"}


class FileEndpoints:
    """The routes of one file."""

    def __init__(self, platform: Platform, core: StorageCore, urls: FileUrls) -> None:
        self._settings = platform.settings.storage
        self._verifier = platform.verifier
        self._core = core
        self._urls = urls

    async def upload(self, request: Request) -> Response:
        """Store the file of a form."""
        actor = actor_of(request, self._verifier, "storage.object.upload")
        user_id = user_of(actor)
        content_type = request.headers.get("content-type", "")
        if not content_type.lower().startswith("multipart/form-data"):
            raise BadRequest("The body must be multipart/form-data with a field named file", code="invalid_form")
        form = MultipartForm(content_type, body_chunks(request.receive))
        part = await form.head()
        file = plan_form(form, part, user_id, self._core.kinds, self._settings, content_length(request.scope))
        stored = await self._core.uploads.upload(actor, file.target, file)
        is_public = stored.bucket == self._settings.simple_public_bucket
        if file.kind is not None:
            is_public = await self._core.direct.is_public(actor, stored.bucket)
            await remove_older(self._core, actor, user_id, file.kind, stored.key)
        answer = file_answer(
            stored.id,
            stored.bucket,
            stored.key,
            self._urls,
            size_bytes=stored.size_bytes,
            mime_type=stored.mime_type,
            is_public=is_public,
        )
        return JSONResponse(answer, status_code=201)

    async def get(self, request: Request) -> Response:
        """A URL to read the file by; ``?expires_in=`` seconds, ``?download=`` a name to save it under."""
        actor = actor_of(request, self._verifier, "storage.object.sign")
        expires_in_s = _expires_in_s(request.query_params.get("expires_in"))
        row, is_public = await self._core.reads.find_visible(actor, path_id(request, "file_id", **_NO_FILE))
        download = request.query_params.get("download")
        answer = file_answer(
            row.id,
            row.bucket,
            row.key,
            self._urls,
            size_bytes=row.size("size"),
            mime_type=row.text("mimetype"),
            is_public=is_public,
            expires_in_s=expires_in_s,
            download=download,
        )
        if not is_public:
            direct = await self._core.direct_reads.url(row, answer["expires_in"], download)
            answer["url"] = direct or answer["url"]
        return JSONResponse(answer)

    async def delete(self, request: Request) -> Response:
        """Remove the file."""
        actor = actor_of(request, self._verifier, "storage.object.delete")
        row, _ = await self._core.reads.find_visible(actor, path_id(request, "file_id", **_NO_FILE))
        await self._core.removals.remove(actor, row.bucket, row.key)
        return JSONResponse({"file_id": str(row.id), "deleted": True})


def _expires_in_s(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_URL_TTL_S):
        raise BadRequest(f"expires_in must be a number of seconds from 1 to {MAX_URL_TTL_S}", code="invalid_parameter")
    return int(text)
