"""``GET /.well-known/isobase``: what this server can do that Supabase's cannot, for clients that work with both.

A client that gets 404 here speaks with another server and keeps to what both know.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform import __version__
from isobase_platform.service import Service

__all__ = ["WELL_KNOWN_PATH", "well_known_page"]

WELL_KNOWN_PATH = "/.well-known/isobase"
MAX_AGE_S = 300
ALLOWED = "GET, HEAD, OPTIONS"


def well_known_page(services: Sequence[Service]) -> dict[str, ASGIApp]:
    """The page by its path: name, version and the features of ``services``. It needs no key; any web page may read it."""
    features = sorted({feature for service in services for feature in service.features})
    found = JSONResponse(
        {"name": "isobase", "version": __version__, "features": features},
        headers={"cache-control": f"public, max-age={MAX_AGE_S}"},
    )
    options = Response(status_code=204, headers=_cors())
    refused = Response(status_code=405, headers={"allow": ALLOWED})

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        answer = found if scope["method"] in {"GET", "HEAD"} else options if scope["method"] == "OPTIONS" else refused
        await answer(scope, receive, send)

    return {WELL_KNOWN_PATH: serve}


def _cors() -> dict[str, str]:
    return {
        "allow": ALLOWED,
        "access-control-allow-origin": "*",
        "access-control-allow-methods": ALLOWED,
        "access-control-allow-headers": "*, authorization",
        "access-control-max-age": "3600",
    }
