"""A call can be ended from outside at every moment, and leaves no dirty connection behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from isobase import CallCancelled, Cancellation, call_options
from isobase._http import AsyncSession
from isobase._http.streams import AsyncStream
from tests.sdk.core.conftest import Heard, WireServer, answer, drip


def cancel_soon(cancellation: Cancellation) -> None:
    """Cancel from another thread in a moment."""
    threading.Timer(0.2, cancellation.cancel).start()


async def test_a_call_that_waits_for_its_answer_is_ended(wire: WireServer) -> None:
    cancellation = Cancellation()

    def act(_peer: socket.socket, _heard: Heard, _number: int) -> None:
        cancel_soon(cancellation)
        wire.closing.wait()

    wire.act = act
    began = time.monotonic()
    async with AsyncSession() as session:
        with call_options(cancel=cancellation), pytest.raises(CallCancelled):
            await session.request("GET", wire.url)
    assert time.monotonic() - began < 10
    assert len(wire.heard) == 1


async def test_a_call_whose_answer_drips_is_ended(wire: WireServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    wire.act = lambda peer, _heard, _number: drip(wire, peer, head=head, piece=b"x")
    cancellation = Cancellation()
    parts = 0
    async with AsyncSession() as session:
        with call_options(cancel=cancellation), pytest.raises(CallCancelled):
            async with session.stream("GET", wire.url) as response:
                async for _part in response.aiter_bytes():
                    if not parts:
                        cancel_soon(cancellation)
                    parts += 1


async def test_a_call_that_waits_before_its_next_attempt_is_ended(wire: WireServer) -> None:
    cancellation = Cancellation()

    def reply(_heard: Heard, _number: int) -> bytes:
        cancel_soon(cancellation)
        return answer(b"", "503 Service Unavailable", "Retry-After: 600")

    wire.answer = reply
    began = time.monotonic()
    async with AsyncSession() as session:
        with call_options(cancel=cancellation), pytest.raises(CallCancelled):
            await session.request("GET", wire.url)
    assert time.monotonic() - began < 10


async def test_a_cancelled_call_is_not_even_begun(wire: WireServer) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    async with AsyncSession() as session:
        with call_options(cancel=cancellation), pytest.raises(CallCancelled):
            await session.request("GET", wire.url)
    assert not wire.heard


async def test_the_session_works_on_after_a_cancelled_call(wire: WireServer) -> None:
    cancellation = Cancellation()
    async with AsyncSession() as session:
        with call_options(cancel=cancellation):
            await session.request("GET", wire.url)
        cancellation.cancel()
        assert (await session.request("GET", wire.url)).status_code == 200
    assert wire.connections == 1


async def test_a_call_that_cannot_connect_is_ended() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fill = [socket.socket() for _ in range(4)]  # the kernel answers no further connection
        for sock in fill:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(address)
        cancellation = Cancellation()
        cancel_soon(cancellation)
        began = time.monotonic()
        async with AsyncSession(timeout=60) as session:
            with call_options(cancel=cancellation), pytest.raises(CallCancelled):
                await session.request("GET", f"http://127.0.0.1:{address[1]}/")
        assert time.monotonic() - began < 30
        for sock in fill:
            sock.close()


# [async]
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_connecting_can_be_given_up_at_every_moment_without_an_open_socket(wire: WireServer, host: str) -> None:
    port = int(wire.url.rpartition(":")[2])
    is_through = False
    turns = 0
    while not is_through:
        connecting = asyncio.create_task(AsyncStream.connect(host, port, None, 30.0))
        for _ in range(turns):
            await asyncio.sleep(0)
        if turns > 40:  # the address is looked up in a thread
            await asyncio.sleep((turns - 40) / 5000)
        connecting.cancel()
        try:
            (await connecting).close()
            is_through = True
        except asyncio.CancelledError:
            turns += 1
        del connecting
        await asyncio.sleep(0)  # what was left open would be told of now, as a warning


async def test_a_second_address_is_tried_where_the_first_refuses(
    wire: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(wire.url.rpartition(":")[2])
    loop = asyncio.get_running_loop()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    async def two(*_: object, **__: object) -> list[object]:
        return list(found)

    monkeypatch.setattr(loop, "getaddrinfo", two)
    stream = await AsyncStream.connect("isobase.example", port, None, 30.0)
    assert stream.is_usable(60.0)
    stream.close()
    found.pop()
    with pytest.raises(OSError, match="Connect call failed"):
        await AsyncStream.connect("isobase.example", port, None, 30.0)


# [/async]
