"""Who puts functions of his own into httpx (mocks, recorders, monitors) sees the client's calls."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock, patch

import httpcore
import httpx
import pytest
import respx
from pytest_httpx import HTTPXMock

from isobase import AsyncClient, create_async_client
from isobase._http import AsyncSession, DeadlineExceeded, call_options
from isobase._http._async.patched import is_call_patched, is_send_patched
from tests.sdk.core.conftest import OK, WireServer

ADDRESS = "http://nowhere.invalid"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


async def a_client() -> AsyncClient:
    """A client of a project that does not exist."""
    return await create_async_client(ADDRESS, "a-key")


async def test_pytest_httpx_answers_for_the_network(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url=f"{ADDRESS}/rest/v1/rows?select=%2A", json=[{"id": 1}])
    httpx_mock.add_response(method="POST", url=f"{ADDRESS}/functions/v1/hello", text="hi")
    client = await a_client()
    assert (await client.table("rows").select("*").execute()).data == [{"id": 1}]
    assert await client.functions.invoke("hello", {"body": {"name": "Ada"}}) == b"hi"
    asked = httpx_mock.get_requests()
    assert asked[0].headers["apikey"] == "a-key"
    assert asked[1].read() == b'{"name":"Ada"}'
    await client.close()


async def test_pytest_httpx_answers_for_a_download_that_is_read_while_it_arrives(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(content=b"a file")
    async with AsyncSession() as session, session.stream("GET", f"{ADDRESS}/file") as response:
        assert await response.aread() == b"a file"


@pytest.mark.parametrize("way", ["httpcore", "httpx"])
async def test_respx_answers_for_the_network(way: str) -> None:
    client = await a_client()
    with respx.mock(using=way) as mock:
        route = mock.get(f"{ADDRESS}/rest/v1/rows").respond(json=[{"id": 1}])
        assert (await client.table("rows").select("*").execute()).data == [{"id": 1}]
        assert route.call_count == 1
    await client.close()


async def test_a_patched_request_answers_for_the_network() -> None:
    answer = httpx.Response(200, json=[], request=httpx.Request("GET", ADDRESS))
    client = await a_client()
    with patch("httpx.AsyncClient.request", new=AsyncMock(return_value=answer)) as asked:
        assert (await client.table("rows").select("*").execute()).data == []
    assert asked.call_count == 1
    await client.close()


async def test_a_patched_send_answers_for_the_network() -> None:
    answer = httpx.Response(200, json=[], request=httpx.Request("GET", ADDRESS))
    client = await a_client()
    with patch.object(httpx.AsyncClient, "send", new=AsyncMock(return_value=answer)) as asked:
        assert (await client.table("rows").select("*").execute()).data == []
    assert asked.call_args.args[0].url.path == "/rest/v1/rows"
    await client.close()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (httpx.AsyncClient, "request"),
        (httpx.AsyncClient, "send"),
        (httpx.AsyncClient, "_send_single_request"),
        (httpx.AsyncHTTPTransport, "handle_async_request"),
        (httpcore.AsyncConnectionPool, "handle_async_request"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_a_monitor_around_httpx_sees_every_attempt_and_the_call_keeps_its_retries_and_limits(
    wire: WireServer, monkeypatch: pytest.MonkeyPatch, owner: type[Any], name: str
) -> None:
    original = getattr(owner, name)
    seen: list[str] = []

    async def watched(self: Any, *arguments: Any, **named: Any) -> Any:
        seen.append(name)
        return await original(self, *arguments, **named)

    monkeypatch.setattr(owner, name, watched)
    wire.answer = lambda _heard, number: UNAVAILABLE if number < 2 else OK
    async with AsyncSession() as session:
        assert (await session.request("GET", wire.url + "/rows")).status_code == 200
        assert len(wire.heard) == 2
        assert len(seen) == (1 if name == "request" else 2)
        wire.answer = lambda _heard, _number: UNAVAILABLE
        assert (await session.request("POST", wire.url + "/rows", json={})).status_code == 503
        assert len(seen) == (2 if name == "request" else 3)
        wire.act = lambda _peer, _heard, _number: (wire.closing.wait(), None)[1]
        with call_options(timeout=0.2), pytest.raises(DeadlineExceeded):
            await session.request("POST", wire.url + "/rows", json={})
    assert len(seen) <= (3 if name == "request" else 4)  # it may have been late before it was sent


async def test_a_monitor_around_request_sees_a_call_with_the_newest_token(wire: WireServer) -> None:
    original = httpx.AsyncClient.request
    wire.answer = lambda _heard, _number: OK

    async def watched(self: Any, *arguments: Any, **named: Any) -> Any:
        return await original(self, *arguments, **named)

    async def newest(_authorization: str | None) -> str | None:
        return "Bearer newest"

    with patch.object(httpx.AsyncClient, "request", watched):
        async with AsyncSession(authorize=newest) as session:
            await session.request("GET", wire.url + "/rows", headers={"Authorization": "Bearer old"})
            async with session.stream("GET", wire.url + "/rows") as response:
                await response.aread()
    assert [heard.headers["authorization"] for heard in wire.heard] == ["Bearer newest"] * 2


async def test_a_monitor_around_one_client_s_transport_sees_its_calls(wire: WireServer) -> None:
    seen: list[str] = []
    async with AsyncSession() as session:
        transport = session._transport
        original = transport.handle_async_request

        async def watched(request: httpx.Request) -> httpx.Response:
            seen.append(request.url.path)
            return await original(request)

        with patch.object(transport, "handle_async_request", watched):
            await session.request("GET", wire.url + "/rows")
        await session.request("GET", wire.url + "/others")
    assert seen == ["/rows"]


async def test_the_session_s_own_connections_serve_again_once_the_mocks_are_gone(wire: WireServer) -> None:
    async with AsyncSession() as session:
        with respx.mock as mock:
            mock.get(wire.url + "/rows").respond(json=["mocked"])
            assert (await session.request("GET", wire.url + "/rows")).json() == ["mocked"]
            assert is_send_patched(session._transport)
        assert not is_send_patched(session._transport)
        assert not is_call_patched()
        assert (await session.request("GET", wire.url + "/rows")).json() == []
    assert len(wire.heard) == 1
