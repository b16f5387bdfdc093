"""Where a redirect may take a project's keys along: a decision on plain values."""

from __future__ import annotations

import httpx

__all__ = ["keeps_keys"]

_PORTS = {"http": 80, "https": 443}


def keeps_keys(source: httpx.URL, target: httpx.URL) -> bool:
    """Tell whether the keys of a request to ``source`` may go to ``target``: the same origin, or its upgrade to https.

    httpx asks the same of ``Authorization``, and knows nothing of ``apikey``.
    """
    if source.host != target.host:
        return False
    ports = [url.port or _PORTS.get(url.scheme) for url in (source, target)]
    if source.scheme == target.scheme:
        return ports[0] == ports[1]
    return (source.scheme, target.scheme, ports) == ("http", "https", [80, 443])
