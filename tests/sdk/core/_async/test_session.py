"""Calls end in time and are sent again only where that is safe."""

from __future__ import annotations

import gzip
import logging
import pickle
import socket
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest

from isobase import AsyncClient
from isobase._acompat import asleep
from isobase._http import AsyncSession, CallPolicy, DeadlineExceeded, call_options, current_options, limits
from isobase.postgrest import APIError
from tests.sdk.auth._async.tools import until
from tests.sdk.core.conftest import OK, Heard, WireServer, answer, drip, nobody

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


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
async def test_an_answer_that_drips_ends_at_the_deadline(wire: WireServer, head: bytes) -> None:
    wire.act = lambda peer, _heard, _number: drip(wire, peer, head=head, piece=b"x")
    began = time.monotonic()
    async with AsyncSession() as session:
        with call_options(timeout=0.5), pytest.raises(DeadlineExceeded):
            await session.request("GET", wire.url)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
async def test_an_answer_that_drips_through_a_client_of_the_app_ends_at_the_deadline(
    wire: WireServer, is_streamed: bool
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    wire.act = lambda peer, _heard, _number: drip(wire, peer, head=head, piece=b"x")
    async with AsyncSession.of(httpx.AsyncClient()) as session:
        with call_options(timeout=0.5), pytest.raises(DeadlineExceeded):
            if not is_streamed:
                await session.request("GET", wire.url)
            async with session.stream("GET", wire.url) as response:
                await response.aread()


async def test_a_streamed_answer_that_drips_ends_at_the_deadline(
    wire: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    wire.act = lambda peer, _heard, _number: drip(wire, peer, head=head, piece=b"x")
    clock = SimpleNamespace(monotonic=time.monotonic)
    monkeypatch.setattr(limits, "time", clock)
    parts = []
    async with AsyncSession() as session:
        with call_options(timeout=60), pytest.raises(DeadlineExceeded):
            async with session.stream("GET", wire.url) as response:
                async for part in response.aiter_bytes():
                    parts.append(part)
                    clock.monotonic = lambda: time.monotonic() + 60  # as if a minute had gone by
    assert len(parts) == 1


async def test_retries_end_with_the_deadline_and_do_not_wait_beyond_it(wire: WireServer) -> None:
    wire.answer = lambda _heard, _number: answer(b"", "503 Service Unavailable", "Retry-After: 3600")
    began = time.monotonic()
    async with AsyncSession() as session:
        with call_options(timeout=30), pytest.raises(DeadlineExceeded):
            await session.request("GET", wire.url)
    assert time.monotonic() - began < 10
    assert len(wire.heard) == 1


async def test_a_connection_is_used_again(wire: WireServer) -> None:
    async with AsyncSession() as session:
        for _ in range(3):
            await session.request("GET", wire.url)
            await session.request("POST", wire.url, json={})
    assert wire.connections == 1


async def test_a_connection_that_the_server_closed_meanwhile_is_found_before_a_write(wire: WireServer) -> None:
    wire.act = lambda peer, _heard, _number: peer.sendall(OK)  # and it closes
    async with AsyncSession() as session:
        for number in range(1, 4):
            response = await session.request("POST", wire.url, json={})
            assert response.status_code == 200
            await until(lambda wanted=number: wire.ended == wanted)  # type: ignore[misc]
            await asleep(0.05)  # the loop hears of it
    assert len(wire.heard) == wire.connections == 3


async def test_an_answer_that_was_given_up_closes_its_connection(wire: WireServer) -> None:
    wire.answer = lambda _heard, _number: answer(b"x" * 1_000_000)
    async with AsyncSession() as session:
        for _ in range(2):
            async with session.stream("GET", wire.url) as response:
                async for _part in response.aiter_bytes():
                    break
        response = await session.request("GET", wire.url)
        assert response.content == b"x" * 1_000_000
    assert wire.connections == 3


async def test_an_answer_read_to_its_end_keeps_its_connection(wire: WireServer) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    wire.answer = lambda _heard, _number: chunks
    async with AsyncSession() as session:
        for _ in range(2):
            async with session.stream("GET", wire.url) as response:
                assert await response.aread() == b"hello"
        assert (await session.request("GET", wire.url)).content == b"hello"
    assert wire.connections == 1


async def test_a_compressed_answer_is_given_as_it_was(wire: WireServer) -> None:
    wire.answer = lambda _heard, _number: answer(gzip.compress(b'{"a":1}'), "200 OK", "Content-Encoding: gzip")
    async with AsyncSession() as session:
        assert (await session.request("GET", wire.url)).json() == {"a": 1}


async def test_an_answer_before_the_whole_body_was_taken_is_given(wire: WireServer) -> None:
    refused = answer(b"too large", "413 Content Too Large", "Connection: close")
    wire.refuse_bodies_with = refused
    async with AsyncSession() as session:
        response = await session.request("POST", wire.url, content=b"x" * 8_000_000)
    assert (response.status_code, response.text) == (413, "too large")


async def test_a_body_given_piece_by_piece_arrives_whole(wire: WireServer) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number

    async with AsyncSession() as session:
        await session.request("POST", wire.url, content=pieces(), headers={"Content-Length": "3"})
    assert wire.heard[0].body == b"012"


async def test_a_write_that_could_not_connect_is_tried_again() -> None:
    async with AsyncSession() as session:
        with nobody() as nowhere, call_options(retries=1), pytest.raises(httpx.ConnectError) as caught:
            await session.request("POST", nowhere, json={})
    assert caught.value.request.headers["X-Retry-Count"] == "1"


async def test_the_key_stays_where_a_redirect_leaves_the_origin(wire: WireServer) -> None:
    elsewhere = wire.url.replace("127.0.0.1", "localhost")

    def redirect(heard: Heard, _number: int) -> bytes:
        return OK if heard.target == "/there" else answer(b"", "302 Found", f"Location: {elsewhere}/there")

    wire.answer = redirect
    async with AsyncSession(headers={"apikey": "secret", "Authorization": "Bearer secret"}) as session:
        response = await session.request("GET", wire.url + "/here")
    assert response.url.path == "/there"
    last = wire.heard[-1]
    assert last.target == "/there"
    assert "apikey" not in last.headers
    assert "authorization" not in last.headers


async def test_a_closed_session_sends_nothing(wire: WireServer) -> None:
    session = AsyncSession()
    await session.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await session.request("GET", wire.url)


async def test_log_lines_tell_the_path_and_no_secret(wire: WireServer, caplog: pytest.LogCaptureFixture) -> None:
    wire.answer = lambda _heard, number: UNAVAILABLE if number == 1 else OK
    with caplog.at_level(logging.DEBUG, "isobase"):
        async with AsyncSession(headers={"apikey": "secret"}) as session:
            await session.request("GET", wire.url + "/auth/v1/verify?token=secret", headers={"X": "secret"})
    lines = [record.getMessage() for record in caplog.records if record.name == "isobase.http"]
    assert [line.split(":")[0] for line in lines] == ["GET /auth/v1/verify"] * 3
    assert "503" in lines[0]
    assert "sent again" in lines[1]
    assert "200" in lines[2]
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(
            answer(b'{"a": 1}', "200 OK", "Content-Type: application/json", "X-Many: 1", "X-Many: 2"), id="json"
        ),
        pytest.param(answer(b"", "204 No Content"), id="empty"),
        pytest.param(
            answer("grüß".encode("latin-1"), "200 OK", "Content-Type: text/plain; charset=latin-1"), id="text"
        ),
        pytest.param(answer(gzip.compress(b"x" * 1000), "404 Gone Away", "Content-Encoding: gzip"), id="compressed"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", id="chunks"),
    ],
)
async def test_an_answer_that_came_the_short_way_is_as_httpx_gives_it(wire: WireServer, sent: bytes) -> None:
    wire.answer = lambda _heard, _number: sent
    async with AsyncSession() as session, httpx.AsyncClient() as plain:
        ours, theirs = (
            await session.request("GET", wire.url + "/a?b=c"),
            await plain.request("GET", wire.url + "/a?b=c"),
        )
    assert ours.headers.raw == theirs.headers.raw
    for name in (
        *("status_code", "reason_phrase", "http_version", "url", "content", "text", "encoding", "charset_encoding"),
        *("is_closed", "is_stream_consumed", "num_bytes_downloaded", "history", "next_request", "is_success"),
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.elapsed.total_seconds() > 0
    assert await ours.aread() == theirs.content
    await ours.aclose()
    assert pickle.loads(pickle.dumps(ours)).content == theirs.content


async def test_a_write_that_is_redirected_is_sent_once(wire: WireServer) -> None:
    def redirect(heard: Heard, _number: int) -> bytes:
        return answer(b"done") if heard.target == "/done" else answer(b"", "303 See Other", "Location: /done")

    wire.answer = redirect
    async with AsyncSession() as session:
        response = await session.request("POST", wire.url + "/write", json={})
    assert response.text == "done"
    assert [each.status_code for each in response.history] == [303]
    assert [(heard.method, heard.target) for heard in wire.heard] == [("POST", "/write"), ("GET", "/done")]


@pytest.mark.parametrize("is_special", [False, True], ids=["short way", "httpx's way"])
async def test_a_write_whose_redirect_leads_nowhere_is_sent_once(wire: WireServer, is_special: bool) -> None:
    async with AsyncSession(limits=httpx.Limits() if is_special else None) as session:
        with nobody() as nowhere, pytest.raises(httpx.ConnectError):
            wire.answer = lambda _heard, _number: answer(b"", "303 See Other", f"Location: {nowhere}/done")
            await session.request("POST", wire.url + "/write", json={})
    assert [heard.method for heard in wire.heard] == ["POST"]


async def test_a_redirect_in_circles_ends(wire: WireServer) -> None:
    wire.answer = lambda _heard, _number: answer(b"", "302 Found", "Location: /again")
    async with AsyncSession(max_redirects=3) as session:
        with pytest.raises(httpx.TooManyRedirects):
            await session.request("GET", wire.url)
    assert len(wire.heard) == 4


async def test_a_redirect_is_given_where_it_is_not_to_be_followed(wire: WireServer) -> None:
    wire.answer = lambda _heard, _number: answer(b"", "302 Found", "Location: /there")
    async with AsyncSession() as session:
        response = await session.request("GET", wire.url, follow_redirects=False)
    assert response.headers["location"] == "/there"


async def test_an_answer_for_which_nobody_said_a_time_ends_all_the_same(wire: WireServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    wire.act = lambda peer, _heard, _number: drip(wire, peer, head=head, piece=b"x")
    async with AsyncSession(policy=CallPolicy(unsaid_timeout=0.3)) as session:
        with pytest.raises(DeadlineExceeded):
            await session.request("GET", wire.url)


async def test_a_proxy_of_the_environment_is_used(wire: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", wire.url)
    monkeypatch.setenv("http_proxy", wire.url)
    async with AsyncSession() as session:
        await session.request("GET", "http://isobase.example/rows")
    assert wire.heard[0].target == "http://isobase.example/rows"


async def test_cookies_of_answers_are_not_kept_and_given_ones_are_sent(wire: WireServer) -> None:
    wire.answer = lambda _heard, _number: answer(b"[]", "200 OK", "Set-Cookie: a=1; Path=/")
    async with AsyncSession() as session, AsyncSession(cookies={"b": "2"}) as other:
        for auth in (None, httpx.BasicAuth("ada", "word")):  # straight, and through httpx
            for _ in range(2):
                await session.request("GET", wire.url, auth=auth)
        await other.request("GET", wire.url)
    assert [heard.headers.get("cookie") for heard in wire.heard] == [None] * 4 + ["b=2"]
    assert "authorization" in wire.heard[2].headers


async def test_the_time_of_asking_for_a_token_is_the_calls_own(wire: WireServer) -> None:
    given: list[float | None] = []

    async def authorize(_present: str | None) -> str:
        given.append(current_options().timeout)
        await asleep(0.3)
        return "Bearer late"

    async with AsyncSession(authorize=authorize, policy=CallPolicy(timeout=0.2)) as session:
        with pytest.raises(DeadlineExceeded):
            await session.request("GET", wire.url)
        assert wire.heard == []
        with call_options(timeout=30):
            await session.request("GET", wire.url)
    assert given == [0.2, 30]
    assert wire.heard[0].headers["authorization"] == "Bearer late"


async def test_rows_that_were_cut_on_their_way_are_no_rows(wire: WireServer) -> None:
    def act(peer: socket.socket, _heard: Heard, _number: int) -> None:
        peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n\r\n[{"id": 1}, {"i')

    wire.act = act
    async with AsyncClient(wire.url, "sb_publishable_key") as client:
        query = client.table("t").select("*")
        for ask in (query.execute, query.copy().maybe_single().execute, client.rpc("f").execute):
            with pytest.raises(APIError, match="no JSON"):
                await ask()


@pytest.mark.parametrize("value", ["\u00b2", "9" * 5000, "-1", "soon", "Fri, 31 Dec 9999 23:59:59 -9999"])
async def test_a_retry_after_that_makes_no_sense_is_not_waited_for(wire: WireServer, value: str) -> None:
    odd = answer(b"", "503 Away").replace(
        b"Content-Length", b"Retry-After: " + value.encode("latin-1") + b"\r\nContent-Length"
    )
    wire.answer = lambda _heard, number: odd if number == 1 else OK
    async with AsyncSession() as session:
        assert (await session.request("GET", wire.url)).status_code == 200
