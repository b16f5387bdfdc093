"""What a service is to the process that runs it: named mounts, a life, and a fragment of the API description.

``isobase_services.<name>.create_service(platform)`` returns one; ``isobase_deploy`` lists them behind one gateway or runs
one alone. Neighbours: ``runtime`` (what a service is built from) and ``http.edge`` (what stands before its mounts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.types import ASGIApp

__all__ = ["ApiKeyRule", "Mount", "Service"]

from dataclasses import dataclass
from enum import Enum


class ApiKeyRule(Enum):
    """What the gateway does with the API key before a mount sees the request (contracts/auth.md 0, storage.md 1.0)."""

    BEARER = "bearer"
    """A lone ``apikey`` becomes the bearer token; opaque keys are swapped for their role's token (data API)."""
    OPTIONAL = "optional"
    """As BEARER, but a request may come without any key where keys are required: public and signed URLs (storage)."""
    OPAQUE_ONLY = "opaque_only"
    """Only opaque keys are swapped; a plain-JWT ``apikey`` is never turned into a bearer token (auth)."""
    NONE = "none"
    """The mount authenticates by itself (the realtime socket, S3 signatures, the simple face's open routes)."""


@dataclass(slots=True, frozen=True)
class Mount:
    """An ASGI app under a path prefix such as ``/rest/v1``.

    The app sees ``path`` without the prefix and ``root_path`` with it. ``serves_bare`` marks the one mount that also
    answers at ``/`` when its service runs alone, as the upstream server does.
    """

    prefix: str
    app: ASGIApp
    api_key: ApiKeyRule = ApiKeyRule.BEARER
    serves_bare: bool = False
    cors_expose: tuple[str, ...] = ()
    """Response headers that browsers may read beside the safe ones."""
    cors_expose_prefix: str | None = None
    """What other headers begin with that browsers may read, in lower case; the answer names those that it has."""
    takes_websockets: bool = False
    """Whether the app knows what to do with a WebSocket; elsewhere the edge turns sockets away."""


class Service(Protocol):
    """One of auth, database, storage, realtime."""

    @property
    def name(self) -> str:
        """The service's name as in ``isobase serve NAME``."""
        ...

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """Where the service answers; the longest matching prefix over all services wins."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """What the service can do that its upstream cannot, by names that ``/.well-known/isobase`` tells clients."""
        ...

    @property
    def openapi(self) -> Mapping[str, Any]:
        """The simple face's part of ``/openapi.json``: ``{"paths": {...}, "schemas": {...}}``; empty where none."""
        ...

    async def start(self) -> None:
        """Load what is needed before the first request (schema cache, listeners). Raises what prevents serving."""
        ...

    async def drain(self, timeout_s: float) -> None:
        """Stop taking new work, let running work end within ``timeout_s`` seconds, close sockets (1012) and tasks."""
        ...
