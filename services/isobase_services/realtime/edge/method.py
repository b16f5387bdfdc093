"""One method per route: any other is an unknown route to upstream, which answers 404 and not 405."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.errors import NotFound

__all__ = ["Only"]


class Only:
    """ASGI wrapper that lets one method through. Raises ``NotFound`` for the others."""

    def __init__(self, method: str, app: ASGIApp) -> None:
        self._method = method
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["method"] != self._method:
            raise NotFound("There is no such route")
        await self._app(scope, receive, send)
