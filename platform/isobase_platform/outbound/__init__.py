"""HTTP to other people's servers: bounded in time and size, without redirects, and not into the private network.

Servers are named by the settings (an identity provider, a token issuer), never by a request. What such a server names in its
turn (endpoints of a discovery document) must be public, or a host that the settings name too: a document that was tampered
with shall not lead into the machine's own network. Addresses are looked up once and then connected to, so that a name cannot
change its meaning between check and use.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from isobase_platform.errors import IsobaseError

if TYPE_CHECKING:
    import httpx

__all__ = ["MAX_ANSWER_BYTES", "OutboundError", "OutboundHttp", "hosts_of"]

MAX_ANSWER_BYTES = 512 * 1024
"""A profile, a token answer or a key set is a few kilobytes."""
DEFAULT_TIMEOUT_S = 8.0
"""Below auth's own ten seconds for a request, so that a slow provider is reported as such."""


class OutboundError(IsobaseError):
    """Another server could not be asked, or its answer is of no use. The message names the host, never a secret."""

    default_code = "upstream_unavailable"
    default_status = 502


class OutboundHttp:
    """A client for the servers that settings name.

    ``trusted_hosts``: host names that may stand for private addresses. ``timeout_s``: for each of connecting, sending and
    waiting for bytes. Connections are opened on first use; close it with ``close``.
    """

    def __init__(self, trusted_hosts: Iterable[str] = (), *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._trusted_hosts = frozenset(trusted_hosts)
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None

    async def get_json(self, url: str, *, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON value at ``url``. Raises ``OutboundError`` for anything but a 2xx answer that holds one."""
        status, content = await self.send("GET", url, headers=headers)
        if not 200 <= status < 300:
            raise OutboundError(f"{_host(url)} answered {status}")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise OutboundError(f"{_host(url)} did not answer with JSON") from error

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> tuple[int, bytes]:
        """One request: (status, body). Raises ``OutboundError`` where no whole answer came."""
        # Imported on first use: a process without providers does without the HTTP client's memory.
        import httpx

        try:
            response = await self._open().request(method, url, headers=dict(headers or {}), content=content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OutboundError(f"{_host(url)} cannot be reached: {type(error).__name__}") from error
        return response.status_code, response.content

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx

            from isobase_platform.outbound.transport import GuardedTransport

            self._client = httpx.AsyncClient(
                transport=GuardedTransport(self._trusted_hosts, MAX_ANSWER_BYTES),
                timeout=self._timeout_s,
                follow_redirects=False,
                trust_env=False,
            )
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def hosts_of(urls: Iterable[str]) -> frozenset[str]:
    """The host names of ``urls``; what is no URL has none."""
    return frozenset(host for host in map(_host, urls) if host)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
