"""httpx's headers, made of pairs of bytes as they stand on the wire, without its look at every single one."""

from __future__ import annotations

import httpx

__all__ = ["headers_of"]

_IS_KNOWN = vars(httpx.Headers([(b"A", b"b")])) == {"_list": [(b"A", b"a", b"b")], "_encoding": None}
"""Whether this httpx keeps headers as those of today do; in every other it makes them itself."""


def headers_of(pairs: list[tuple[bytes, bytes]]) -> httpx.Headers:
    """Give what ``httpx.Headers(pairs)`` gives; names are ASCII."""
    if not _IS_KNOWN:
        return httpx.Headers(pairs)
    headers = httpx.Headers.__new__(httpx.Headers)
    headers._list = [(name, name.lower(), value) for name, value in pairs]
    # What httpx would find out when first asked for one; anything else than ASCII is for it to guess.
    headers._encoding = "ascii" if b"".join([value for _, value in pairs]).isascii() else None
    return headers
