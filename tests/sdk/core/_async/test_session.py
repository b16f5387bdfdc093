"""Calls end in time and are sent again only where that is safe."""

from __future__ import annotations

import time

import httpx
import pytest

from isobase._http import AsyncSession, DeadlineExceeded, call_options
from tests.sdk.core.conftest import OK, WireServer

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


async def test_a_read_is_sent_again_after_503_and_says_so(wire: WireServer) -> None:
    wire.answer = lambda _heard, number: UNAVAILABLE if number < 3 else OK
    async with AsyncSession() as session:
        response = await session.request("GET", wire.url + "/rows")
    assert response.status_code == 200
    assert [heard.headers.get("x-retry-count") for heard in wire.heard] == [None, "1", "2"]


async def test_a_write_is_sent_once_when_its_answer_is_lost(wire: WireServer) -> None:
    wire.answer = lambda _heard, _number: None
    async with AsyncSession() as session:
        with pytest.raises(httpx.RemoteProtocolError):
            await session.request("POST", wire.url + "/rows", json={"a": 1})
    assert len(wire.heard) == 1


async def test_no_retries_when_the_call_says_so(wire: WireServer) -> None:
    wire.answer = lambda _heard, _number: UNAVAILABLE
    async with AsyncSession() as session:
        with call_options(retries=0):
            response = await session.request("GET", wire.url + "/rows")
    assert response.status_code == 503
    assert len(wire.heard) == 1


async def test_a_server_that_never_answers_ends_at_the_deadline(wire: WireServer) -> None:
    wire.act = lambda _peer, _heard, _number: (wire.closing.wait(), None)[1]
    began = time.monotonic()
    async with AsyncSession() as session:
        with call_options(timeout=0.3), pytest.raises(DeadlineExceeded) as caught:
            await session.request("GET", wire.url + "/rows")
    assert caught.value.timeout == 0.3
    assert isinstance(caught.value, httpx.TimeoutException)
    assert time.monotonic() - began < 10


async def test_a_client_that_the_app_gave_keeps_its_hooks_and_gets_retries(wire: WireServer) -> None:
    wire.answer = lambda _heard, number: UNAVAILABLE if number == 1 else OK
    seen: list[str] = []

    async def hook(request: httpx.Request) -> None:
        seen.append(request.method)

    async with httpx.AsyncClient(event_hooks={"request": [hook]}, headers={"x-app": "1"}) as given:
        session = AsyncSession.of(given)
        assert session.headers["x-app"] == "1"
        response = await session.request("GET", wire.url)
    assert response.json() == []
    assert seen == ["GET", "GET"]
    assert wire.heard[1].headers["x-app"] == "1"
