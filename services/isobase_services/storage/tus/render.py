"""Errors of the TUS face: plain text with the true status. Source: contracts/storage.md 1.4."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Scope

from isobase_platform.errors import IsobaseError
from isobase_services.storage.rest.render import storage_error
from isobase_services.storage.tus.protocol import EXPOSED_HEADERS, VERSION

__all__ = ["TEXT", "base_headers", "render_tus_error"]

TEXT = "text/plain;charset=UTF-8"
"""The type of every answer, as upstream's runtime writes it."""


def base_headers() -> dict[str, str]:
    """What every answer carries; upstream's server speaks CORS itself."""
    return {
        "tus-resumable": VERSION,
        "access-control-allow-origin": "*",
        "access-control-expose-headers": ", ".join(EXPOSED_HEADERS),
    }


def render_tus_error(error: IsobaseError, scope: Scope) -> Response:
    """The message as text. A HEAD request gets its length alone."""
    known = storage_error(error)
    headers = base_headers()
    if known.status == 412:
        headers["tus-version"] = VERSION
    headers["content-type"] = TEXT
    if scope["method"] == "HEAD":
        headers["content-length"] = str(len(known.message.encode()))
        return Response(status_code=known.status, headers=headers)
    return Response(known.message, known.status, headers=headers)
