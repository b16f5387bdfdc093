"""``POST /storage/uploads`` and ``POST /storage/uploads/{upload_id}/complete``: files that go to the blob store directly."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from isobase_platform.runtime import Platform
from isobase_services.storage.core import StorageCore
from isobase_services.storage.simple.answers import file_answer
from isobase_services.storage.simple.bodies import read_announce
from isobase_services.storage.simple.caller import actor_of, path_id, user_of
from isobase_services.storage.simple.tidy import remove_older
from isobase_services.storage.simple.urls import FileUrls

__all__ = ["UploadEndpoints"]


class UploadEndpoints:
    """The routes of direct uploads."""

    def __init__(self, platform: Platform, core: StorageCore, urls: FileUrls) -> None:
        self._verifier = platform.verifier
        self._core = core
        self._urls = urls

    async def announce(self, request: Request) -> Response:
        """Say what is coming; answers with the request to send it by."""
        actor = actor_of(request, self._verifier, "storage.object.sign_upload_url")
        user_id = user_of(actor)
        body = await read_announce(request)
        kind = self._core.kinds.get(body.kind)
        file = kind.plan(user_id, body.content_type, body.variables, time.time_ns() // 1_000_000)
        kind.check_size(body.size)
        begun = await self._core.direct.begin(actor, file, body.size)
        if begun.request is not None:
            method, url = begun.request.method, begun.request.url
            # The length is each client's own to say, and browsers let nobody else.
            headers = {name: value for name, value in begun.request.headers.items() if name != "content-length"}
        else:
            method, headers = "PUT", {"content-type": file.mime_type}
            url = self._urls.of_upload(file.bucket, file.key, begun.token or "")
        answer = {
            "upload_id": str(begun.id),
            "upload_url": url,
            "method": method,
            "headers": headers,
            "key": file.key,
            "expires_in": begun.expires_in_s,
        }
        return JSONResponse(answer, status_code=201)

    async def complete(self, request: Request) -> Response:
        """The bytes are there: make them a file, and answer as for any file."""
        actor = actor_of(request, self._verifier, "storage.object.upload")
        user_id = user_of(actor)
        no_upload = {"message": "There is no such upload, or it is not yours", "code": "upload_not_found"}
        done = await self._core.direct.complete(actor, path_id(request, "upload_id", **no_upload))
        kind = self._core.kinds.find(done.file.kind)
        if kind is not None:
            await remove_older(self._core, actor, user_id, kind, done.file.key)
        answer = file_answer(
            done.object_id,
            done.file.bucket,
            done.file.key,
            self._urls,
            size_bytes=done.size_bytes,
            mime_type=done.file.mime_type,
            is_public=done.is_public,
        )
        return JSONResponse(answer)
