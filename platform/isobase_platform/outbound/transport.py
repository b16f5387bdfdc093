"""The transport below ``OutboundHttp``: where it may connect to and how much it reads."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator

import httpx

__all__ = ["GuardedTransport"]


class GuardedTransport(httpx.AsyncBaseTransport):
    """Connects to public addresses, and to ``trusted_hosts`` wherever they are; reads at most ``max_bytes`` of an answer."""

    def __init__(self, trusted_hosts: frozenset[str], max_bytes: int) -> None:
        self._trusted_hosts = trusted_hosts
        self._max_bytes = max_bytes
        # Environment proxies are left out on purpose: behind one the address that is connected to could not be checked.
        self._inner = httpx.AsyncHTTPTransport(trust_env=False, retries=0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``. Raises ``httpx.ConnectError`` for a private address, ``httpx.ReadError`` for a large answer."""
        host = request.url.host
        if request.url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol("only http and https", request=request)
        # A small compressed answer could become a large one.
        request.headers["accept-encoding"] = "identity"
        if host not in self._trusted_hosts:
            request = _pinned(request, await _public_address(request), host)
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.stream.aclose()
            raise httpx.DecodingError("the answer is compressed though plain text was asked for", request=request)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Bounded(response.stream, self._max_bytes, request),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, max_bytes: int, request: httpx.Request) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > self._max_bytes:
                raise httpx.ReadError(f"the answer is larger than {self._max_bytes} bytes", request=self._request)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _pinned(request: httpx.Request, address: str, host: str) -> httpx.Request:
    """The request to ``address``, with the name in Host and in the TLS handshake."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )


async def _public_address(request: httpx.Request) -> str:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(request.url.host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpx.ConnectError("the name is not known", request=request) from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    # One private address among public ones is reason enough: the name means more than it says.
    if not addresses or not all(_is_public(address) for address in addresses):
        raise httpx.ConnectError("the address is not public", request=request)
    return addresses[0]


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_global and not address.is_multicast
