"""Where a redirect leads: whether a project's keys may go along."""

from __future__ import annotations

import httpx

__all__ = ["keeps_keys"]

DEFAULT_PORTS = {"http": 80, "https": 443}


def keeps_keys(source: httpx.URL, target: httpx.URL) -> bool:
    """Whether ``target`` is of the same origin, or the same host moved from http to https."""
    if source.host != target.host:
        return False
    ports = [url.port or DEFAULT_PORTS.get(url.scheme) for url in (source, target)]
    if source.scheme == target.scheme:
        return ports[0] == ports[1]
    return (source.scheme, target.scheme) == ("http", "https") and ports == [80, 443]
