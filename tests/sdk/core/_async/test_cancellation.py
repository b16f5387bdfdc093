"""A call can be ended from outside at every moment, and leaves no dirty connection behind."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from isobase import CallCancelled, Cancellation, call_options
from isobase._http import AsyncSession
from tests.sdk.core.conftest import WireServer, answer, drip


def cancel_soon(cancellation: Cancellation) -> None:
    """Cancel from another thread in a moment."""
    threading.Timer(0.2, cancellation.cancel).start()


async def test_a_call_that_waits_for_its_answer_is_ended(wire: WireServer) -> None:
    wire.act = lambda _peer, _heard, _number: (wire.closing.wait(), None)[1]
    cancellation = Cancellation()
    cancel_soon(cancellation)
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
    cancel_soon(cancellation)
    async with AsyncSession() as session:
        with call_options(cancel=cancellation), pytest.raises(CallCancelled):
            async with session.stream("GET", wire.url) as response:
                async for _part in response.aiter_bytes():
                    pass


async def test_a_call_that_waits_before_its_next_attempt_is_ended(wire: WireServer) -> None:
    wire.answer = lambda _heard, _number: answer(b"", "503 Service Unavailable", "Retry-After: 60")
    cancellation = Cancellation()
    cancel_soon(cancellation)
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
