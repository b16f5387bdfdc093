"""Limits on a request's head, over a real socket: what is too large or too slow is cut, what is not is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from isobase_deploy import http_protocol
from isobase_deploy.http_protocol import MAX_HEAD_BYTES, LimitedHttpProtocol

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\n"


async def length_of_body(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(
        length_of_body, port=0, http=LimitedHttpProtocol, ws="none", lifespan="off", log_config=None, log_level="error"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def answer(port: int, *parts: bytes) -> bytes:
    """What the server says to ``parts`` until it closes; empty for a connection that it cuts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(60):
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_head_of_usual_size_and_a_large_body_are_served(port: int) -> None:
    head = GET + b"x-a: " + b"a" * (MAX_HEAD_BYTES - 1_000) + b"\r\nconnection: close\r\n\r\n"
    assert (await answer(port, head)).startswith(b"HTTP/1.1 200")
    size = 8 * MAX_HEAD_BYTES
    request = POST + b"content-length: %d\r\nconnection: close\r\n\r\n" % size
    assert (await answer(port, request, b"b" * size)).endswith(b"%d" % size)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param([GET, *[b"x-a: b\r\n" * 1_000] * 100], id="many headers"),
        pytest.param([GET + b"x-a: ", *[b"a" * 8_192] * 100], id="one header without end"),
        pytest.param([b"GET /", *[b"a" * 8_192] * 100], id="a URL without end"),
        pytest.param([POST + b"transfer-encoding: chunked\r\n\r\n0\r\nx-a: ", *[b"a" * 8_192] * 100], id="a trailer"),
    ],
)
async def test_a_head_without_end_is_cut(port: int, flood: list[bytes]) -> None:
    said = await answer(port, *flood)
    assert said == b"" or said.startswith(b"HTTP/1.1 431")
    assert (await answer(port, GET + b"connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_an_oversized_head_that_came_at_once_is_told_431(port: int) -> None:
    head = GET + b"x-a: " + b"a" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n"
    assert (await answer(port, head)).split(b"\r\n")[0] in (b"HTTP/1.1 431 Request Header Fields Too Large", b"")


@pytest.mark.parametrize("begun", [b"", GET, GET + b"connection: keep-alive\r\n\r\n" + GET])
async def test_a_head_that_takes_too_long_ends_the_connection(
    port: int, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.1)
    async with asyncio.timeout(60):
        await answer(port, begun)
