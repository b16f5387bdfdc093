"""Whose request it is, where proxies stand between: the forwarded header is believed only as far as trusted hops wrote it.

Each proxy appends the address that it saw. Read from the right, the first address that is not a trusted proxy's is the
client's; whatever stands left of it was written by the client and proves nothing. ``request.client_ip`` is the one door.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from starlette.types import Scope

from isobase_platform.networks import UNIX_SOCKET, Networks, parse_address

__all__ = ["NO_PROXIES", "TrustedProxies"]

_log = logging.getLogger("isobase.http")

MAX_HOPS = 32
"""Addresses of one header that are looked at, from the right; nobody has as many proxies."""


class TrustedProxies:
    """The proxies whose forwarded header is believed.

    ``networks``: their addresses; ``header``: its name, in any case.
    """

    def __init__(self, networks: Iterable[str] = (), header: str = "x-forwarded-for") -> None:
        self._networks = Networks(networks)
        self._header = header.lower().encode("latin-1")
        self._is_told = False

    def client(self, scope: Scope) -> str | None:
        """The client's address as PostgreSQL's inet takes it, or None for a unix socket that nobody forwards to."""
        peer = _peer(scope)
        address = parse_address(peer) if peer is not None else None
        if not (self._networks.has(address) if address is not None else self._networks.has_unix_socket):
            self._tell(scope, peer)
            return peer
        hops = [part for name, value in scope["headers"] if name == self._header for part in value.split(b",")]
        for hop in hops[: -MAX_HOPS - 1 : -1]:
            seen = parse_address(str(hop, "latin-1").strip())
            if seen is None:
                break  # not an address: nothing further left can be believed
            address = seen
            if not self._networks.has(seen):
                break
        return str(address) if address is not None else None

    def sent(self, scope: Scope) -> bool:
        """True where a trusted proxy sent the request, so that what it says of host and scheme is believed too."""
        peer = _peer(scope)
        address = parse_address(peer) if peer is not None else None
        return self._networks.has(address) if address is not None else self._networks.has_unix_socket

    def _tell(self, scope: Scope, peer: str | None) -> None:
        """Say once that somebody forwards who is not trusted: a liar, or a proxy that the settings do not know."""
        if not self._is_told and any(name == self._header for name, _ in scope["headers"]):
            self._is_told = True
            _log.warning(
                "a forwarded header is not believed: its sender is not in trusted_proxies",
                extra={"peer": peer or UNIX_SOCKET, "header": self._header.decode("latin-1")},
            )


NO_PROXIES = TrustedProxies()


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    if not client or not client[0]:
        return None
    address = parse_address(str(client[0]))
    return str(address) if address is not None else None
