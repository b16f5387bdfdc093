"""The path of a request as upstream's router reads it: percent signs that make no text are refused, and an encoded slash
belongs to the name that it stands in.

ASGI servers hand the path over decoded, where ``/object/a%2Fb/key`` and ``/object/a/b/key`` are the same: the first one names
the bucket ``a/b``, which cannot exist, and must not reach the bucket ``a``. Source: upstream's router (find-my-way).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_services.storage.errors import StorageError, refuse

__all__ = ["PathReader", "last_segment", "routed_path", "with_slashes"]

_ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)
_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_STAND_IN = "\udc2f"
"""Stands for an encoded slash until the route is found. No path holds it: as UTF-8 it would be broken."""


class PathReader:
    """ASGI wrapper around a router: reads the path again from its raw bytes where these have a percent sign.

    Raises the framework's refusal of a path that is not percent-encoded UTF-8.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        raw: bytes = scope.get("raw_path") or b""
        if scope["type"] == "http" and b"%" in raw:
            scope = {**scope, "path": _decoded(raw.partition(b"?")[0], scope.get("root_path", ""))}
        await self._app(scope, receive, send)


def with_slashes(name: str) -> str:
    """A bucket or key out of the path, whole."""
    return name.replace(_STAND_IN, "/")


def routed_path(scope: Scope) -> str:
    """The path to choose a face by: where it encodes slashes, these end no name. A path that is no text is as the server
    read it, and refused by the face."""
    raw: bytes = (scope.get("raw_path") or b"").partition(b"?")[0]
    if not _ENCODED_SLASH.search(raw):
        return str(scope["path"])
    try:
        return _decoded(raw, "")
    except StorageError:
        return str(scope["path"])


def last_segment(scope: Scope) -> str:
    """What stands behind the last slash of the path, one at its end left out; an encoded slash ends no segment."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return unquote_to_bytes(raw.partition(b"?")[0].rstrip(b"/").rpartition(b"/")[2]).decode("utf-8", "replace")


def _decoded(raw: bytes, root_path: str) -> str:
    try:
        if _BROKEN.search(raw):
            raise ValueError("a percent sign without two digits")
        parts = [unquote_to_bytes(part).decode("utf-8") for part in _ENCODED_SLASH.split(raw)]
    except ValueError as error:
        raise refuse.bad_url(raw.decode("latin-1").removeprefix(root_path)) from error
    return _STAND_IN.join(parts)
