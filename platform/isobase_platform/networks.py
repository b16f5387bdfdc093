"""Addresses and networks of clients, as plain values. Who the client is, is decided in ``http.client_address``."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

__all__ = ["UNIX_SOCKET", "Address", "Networks", "parse_address"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
UNIX_SOCKET = "unix"
"""In a list of networks: whoever connects by this machine's unix socket."""


class Networks:
    """A set of networks given as ``10.0.0.0/8``, single addresses, or ``unix``. Raises ValueError for anything else."""

    def __init__(self, networks: Iterable[str]) -> None:
        given = tuple(networks)
        self.has_unix_socket = UNIX_SOCKET in given
        self._networks = tuple(ipaddress.ip_network(text) for text in given if text != UNIX_SOCKET)

    def __bool__(self) -> bool:
        return self.has_unix_socket or bool(self._networks)

    def has(self, address: Address) -> bool:
        """Whether the address is in one of the networks."""
        return any(address.version == network.version and address in network for network in self._networks)


def parse_address(text: str) -> Address | None:
    """The address in ``192.0.2.1``, ``192.0.2.1:443``, ``2001:db8::1`` or ``[2001:db8::1]:443``, or None.

    A zone (``%eth0``) is dropped, and an IPv4 address in IPv6's clothes is IPv4.
    """
    return _parsed(text) if len(text) <= 64 else None


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
