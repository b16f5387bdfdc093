"""HTTP functions for the tests: a server as an app has one behind ``/functions/v1``, in a thread of this process.

Isobase runs no functions, and a function is its user's own HTTP service; so what answers here is one, over real sockets.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["FunctionServer", "function_server"]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@dataclass
class FunctionServer:
    """Where the functions are, and what they saw of their callers."""

    url: str = ""
    elsewhere: str = ""
    """The same server under another host name, for redirects that leave the origin."""
    heard: list[dict[str, Any]] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when a caller of ``endless`` went away."""
    release: threading.Event = field(default_factory=threading.Event)
    """Lets ``events`` go on behind its first event."""


def _app(server: FunctionServer) -> Starlette:
    async def echo(request: Request) -> Response:
        body = await request.body()
        said = {
            "name": request.path_params["name"],
            "method": request.method,
            "query": dict(request.query_params),
            "headers": {name.decode(): value.decode() for name, value in request.scope["headers"]},
            "body": body.decode("latin-1"),
        }
        server.heard.append(said)
        return JSONResponse(said)

    async def bytes_of(_request: Request) -> Response:
        return Response(bytes(range(256)), media_type="application/octet-stream")

    async def fails(_request: Request) -> Response:
        return JSONResponse({"error": "no such order", "order": 7}, status_code=422)

    async def fails_in_words(_request: Request) -> Response:
        return PlainTextResponse("boom", status_code=500)

    async def fails_silently(_request: Request) -> Response:
        return Response(status_code=500)

    async def relay(_request: Request) -> Response:
        return PlainTextResponse("function not found", headers={"x-relay-error": "true"})

    async def leaves(request: Request) -> Response:
        return RedirectResponse(f"{server.elsewhere}/echo", status_code=307)

    async def events(_request: Request) -> Response:
        async def told() -> AsyncIterator[bytes]:
            yield b'\xef\xbb\xbf: a comment\nevent: progress\nid: 1\ndata: {"done":'
            yield b" 1}\r"
            yield b"\n\r\n"
            await asyncio.to_thread(server.release.wait, 60)
            yield "data: first line\u2028still\ndata: second line\nretry: 10\n\n".encode()
            yield b"data: cut off"

        return StreamingResponse(told(), media_type="text/event-stream")

    async def endless(_request: Request) -> Response:
        async def told() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 1000
                    await asyncio.sleep(0.02)
            finally:
                server.gone.set()

        return StreamingResponse(told())

    async def silent(_request: Request) -> Response:
        await asyncio.sleep(60)
        return Response()

    routes = [
        Route(f"/functions/v1/{name}", handler, methods=METHODS)
        for name, handler in {
            "bytes": bytes_of,
            "fails": fails,
            "fails-in-words": fails_in_words,
            "fails-silently": fails_silently,
            "relay": relay,
            "leaves": leaves,
            "events": events,
            "endless": endless,
            "silent": silent,
        }.items()
    ]
    return Starlette(routes=[*routes, Route("/functions/v1/{name:path}", echo, methods=METHODS)])


@contextmanager
def function_server() -> Iterator[FunctionServer]:
    """Run the server for as long as the block runs."""
    server = FunctionServer()
    config = uvicorn.Config(
        _app(server), host="127.0.0.1", port=0, ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        thread.join(0.01)
    (port,) = {socket.getsockname()[1] for each in running.servers for socket in each.sockets}
    server.url = f"http://127.0.0.1:{port}/functions/v1"
    server.elsewhere = f"http://localhost:{port}/functions/v1"
    try:
        yield server
    finally:
        running.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
