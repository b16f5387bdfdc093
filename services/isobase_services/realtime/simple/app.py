"""The routes of the simple face: its WebSocket, and rooms by plain HTTP for servers and for who wants no socket."""

from __future__ import annotations

from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform.http.errors import ErrorBoundary, render_simple
from isobase_services.realtime.session.hub import Hub
from isobase_services.realtime.simple.desk import RoomDesk
from isobase_services.realtime.simple.http import RoomEndpoints
from isobase_services.realtime.simple.socket import SimpleSocketEndpoint

__all__ = ["simple_app"]


def simple_app(hub: Hub, desk: RoomDesk) -> ASGIApp:
    """The simple face as an ASGI app, to be mounted at ``/realtime``."""
    router = Router(routes=RoomEndpoints(hub, desk).routes, redirect_slashes=False)
    socket = SimpleSocketEndpoint(hub, desk)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].removeprefix(scope.get("root_path", "")) in ("", "/"):
            await socket(scope, receive, send)
            return
        # Starlette's router speaks of unknown routes by exceptions, for the boundary, only inside an application.
        await router({**scope, "app": router}, receive, send)

    return ErrorBoundary(app, render_simple)
