"""Whether somebody has put functions of their own into httpx or httpcore: a test's mock, a recorder, a monitor.

The session's short ways pass by httpx's client and its connections, and so would pass by those. It looks here with
every call, which costs a handful of comparisons, and takes httpx's ordinary way while something is changed:

- ``AsyncClient.request`` and ``stream``: ``unittest.mock``;
- ``AsyncClient.send``, ``_send_single_request``, ``_transport_for_url``: Sentry, Datadog, New Relic, respx;
- ``AsyncHTTPTransport.handle_async_request``, of the class: pytest-httpx, vcrpy, OpenTelemetry; of one transport:
  OpenTelemetry's ``instrument_client``;
- ``handle_async_request`` of httpcore's pool and connections: respx, Elastic APM.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType
from typing import Any

import httpx

__all__ = ["handed_on", "is_call_patched", "is_handed_on", "is_send_patched", "is_transport_patched"]

CLIENT: Any = httpx.AsyncClient
TRANSPORT: Any = httpx.AsyncHTTPTransport
LIBRARIES = frozenset({"httpx", "httpcore"})


class Originals:
    """The libraries' own functions, as far as they have been seen."""

    request: Any = None
    stream: Any = None
    send: Any = None
    send_single: Any = None
    choose: Any = None
    handle: Any = None
    pool_handle: Any = None
    connection_handle: Any = None


is_handed_on: ContextVar[bool] = ContextVar("isobase_call_handed_on", default=False)
"""Whether a call was handed on to ``request`` or ``stream`` of httpx's client because they are another's: what comes
to ``send`` from there is a whole call, not one attempt."""


@contextmanager
def handed_on(is_so: bool = True) -> Iterator[None]:
    """Let ``send`` do whole calls inside the block; False: single attempts again."""
    token = is_handed_on.set(is_so)
    try:
        yield
    finally:
        is_handed_on.reset(token)


def is_own(function: Any) -> bool:
    """Whether a function is the library's own, not one put in its place or around it."""
    return type(function) is FunctionType and function.__globals__["__name__"].partition(".")[0] in LIBRARIES


def is_call_patched() -> bool:
    """Whether ``request`` or ``stream`` of httpx's client is another's."""
    if CLIENT.request is Originals.request and CLIENT.stream is Originals.stream:
        return False
    request, stream = CLIENT.request, CLIENT.stream
    if not (is_own(request) and type(stream) is FunctionType and is_own(getattr(stream, "__wrapped__", None))):
        return True
    Originals.request, Originals.stream = request, stream
    return False


def is_send_patched(transport: httpx.AsyncBaseTransport) -> bool:
    """Whether what httpx's client sends with is another's, or what ``transport`` or httpx's own transport does it with."""
    if (
        CLIENT.send is Originals.send
        and CLIENT._send_single_request is Originals.send_single
        and CLIENT._transport_for_url is Originals.choose
        and "handle_async_request" not in transport.__dict__
    ):
        return is_transport_patched()
    send, send_single, choose = CLIENT.send, CLIENT._send_single_request, CLIENT._transport_for_url
    if not (is_own(send) and is_own(send_single) and is_own(choose)):
        return True
    Originals.send, Originals.send_single, Originals.choose = send, send_single, choose
    return "handle_async_request" in transport.__dict__ or is_transport_patched()


def is_transport_patched() -> bool:
    """Whether httpx's transport, or httpcore below it, sends with another's functions."""
    if TRANSPORT.handle_async_request is not Originals.handle:
        if not is_own(TRANSPORT.handle_async_request):
            return True
        Originals.handle = TRANSPORT.handle_async_request
    return "httpcore" in sys.modules and is_httpcore_patched()


def is_httpcore_patched() -> bool:
    """Whether httpcore, which somebody has imported, sends with another's functions."""
    core: Any = sys.modules["httpcore"]
    try:
        pool_handle = core.AsyncConnectionPool.handle_async_request
        connection_handle = core.AsyncHTTPConnection.handle_async_request
    except AttributeError:  # another thread is importing it
        return False
    if pool_handle is Originals.pool_handle and connection_handle is Originals.connection_handle:
        return False
    if not (is_own(pool_handle) and is_own(connection_handle)):
        return True
    Originals.pool_handle, Originals.connection_handle = pool_handle, connection_handle
    return False
