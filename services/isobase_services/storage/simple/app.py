"""The routes of the simple face.

A file belongs to the signed-in user: its key holds his id, and the policies made at start (``provision``) let him read, write
and delete it. Everything runs as the caller, so policies that a project adds hold here too.
Source: contracts/storage.md section 4.
"""

from __future__ import annotations

import re

from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.errors import IsobaseError
from isobase_platform.http.errors import ErrorBoundary, render_simple
from isobase_platform.runtime import Platform
from isobase_services.storage.core import StorageCore
from isobase_services.storage.errors import StorageError
from isobase_services.storage.simple.files import FileEndpoints
from isobase_services.storage.simple.uploads import UploadEndpoints
from isobase_services.storage.simple.urls import FileUrls

__all__ = ["simple_app"]


def simple_app(platform: Platform, core: StorageCore) -> ASGIApp:
    """The simple face as an ASGI app."""
    urls = FileUrls(platform.settings, core.signer)
    files = FileEndpoints(platform, core, urls)
    uploads = UploadEndpoints(platform, core, urls)
    routes = [
        Route("/upload", files.upload, methods=["POST"]),
        Route("/uploads", uploads.announce, methods=["POST"]),
        Route("/uploads/{upload_id}/complete", uploads.complete, methods=["POST"]),
        Route("/{file_id}", files.get, methods=["GET"]),
        Route("/{file_id}", files.delete, methods=["DELETE"]),
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
