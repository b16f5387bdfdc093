"""The admin server: ``/live``, ``/ready``, ``/schema_cache`` and ``/metrics``, on a port of its own.

Source: PostgREST v14 docs, references/admin_server and references/observability, ``Admin.hs`` and ``Metrics.hs``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
from collections.abc import Mapping, Sequence
from enum import Enum

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from isobase_platform.runtime import Platform
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.query.schema_cache import SchemaCache

__all__ = ["AdminServer", "cache_json"]

REACH_TIMEOUT_S = 2.0


class AdminServer:
    """An app, and what ``HttpServer`` wants to know of one. ``listener`` is the API's."""

    def __init__(self, platform: Platform, keeper: CacheKeeper, listener: socket.socket) -> None:
        self._platform = platform
        self._keeper = keeper
        self._listener = listener

    @property
    def app(self) -> AdminServer:
        """This."""
        return self

    async def drain(self, timeout_s: float) -> None:
        """Nothing to end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._respond(scope["path"])
        await response(scope, receive, send)

    async def _respond(self, path: str) -> Response:
        match path.strip("/"):
            case "live":
                return Response(status_code=200 if await self._is_reachable() else 500)
            case "ready":
                return Response(status_code=await self._readiness())
            case "schema_cache":
                return Response(cache_json(self._keeper.cache_or_none), media_type="application/json")
            case "metrics":
                return Response(generate_latest(self._platform.metrics.registry), media_type=CONTENT_TYPE_LATEST)
            case _:
                return Response(status_code=404)

    async def _readiness(self) -> int:
        if not await self._is_reachable():
            return 500
        is_ready = not self._keeper.is_pending and await self._keeper.is_connected()
        return 200 if is_ready else 503

    async def _is_reachable(self) -> bool:
        """Whether the API's socket takes connections; nothing is sent over it."""
        address = self._listener.getsockname()
        try:
            async with asyncio.timeout(REACH_TIMEOUT_S):
                if self._listener.family == socket.AF_UNIX:
                    _, writer = await asyncio.open_unix_connection(address)
                else:
                    _, writer = await asyncio.open_connection(*address[:2])
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True


def cache_json(cache: SchemaCache | None) -> str:
    """The schema cache for people who look into it; its form is no promise, as upstream's is none."""
    if cache is None:
        return ""
    parts = {field.name: _shown(getattr(cache, field.name)) for field in dataclasses.fields(cache)}
    return json.dumps(parts, ensure_ascii=False, default=str)


def _shown(value: object) -> object:
    """Values of JSON; mappings with keys that are no texts as lists of their values."""
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _shown(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _shown(one) for key, one in value.items()}
        return [_shown(one) for one in value.values()]
    if isinstance(value, Sequence | frozenset) and not isinstance(value, str | bytes):
        return [_shown(one) for one in value]
    return value
