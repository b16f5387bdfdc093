"""Requests made the short way: the same request httpx would build, without parsing and copying what does not change.
Pure.

``short_request`` knows the cases that sub-clients have (a whole URL, a JSON or bytes body, headers); for everything
else it gives None, and httpx builds the request.
"""

from __future__ import annotations

import json as jsonlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import httpx

from isobase._http.headers import headers_of

__all__ = ["Origin", "ShortRequest", "origin_of", "place_of", "short_arguments", "short_request"]

SHORT_ARGUMENTS = frozenset({"headers", "params", "json", "content", "extensions"})
"""The arguments of httpx's ``request`` that a request made the short way may have."""
IDLE_WHEN_NONE = frozenset({"data", "files", "cookies"})
"""The arguments that say nothing where they are None."""

# What httpx leaves as it is in a URL; anything else (spaces, quotes, letters beyond ASCII, dot segments) is for httpx
# to normalise.
_PLAIN_URL = re.compile(
    r"(https?://[A-Za-z0-9.\-]+(?::[0-9]+)?)"
    r"(/(?:[A-Za-z0-9\-_~!$&'()*+,;=:@/]|%[0-9A-F]{2}|(?<!/)\.)*)"
    r"(?:\?((?:[A-Za-z0-9\-._~!$&()*+,;=:@/?]|%[0-9A-F]{2})*))?"
)
DEFAULT_PORTS = {"http": 80, "https": 443}
BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
JSON_TYPE = (b"Content-Type", b"application/json")


class Origin(NamedTuple):
    """Where a server is: the key of its connections."""

    is_tls: bool
    host: str
    port: int


class Site(NamedTuple):
    """An origin with the ``Host`` header of requests to it."""

    origin: Origin
    host_header: tuple[bytes, bytes]


def origin_of(url: httpx.URL) -> Origin:
    """Give the origin of a URL; raises ``httpx.UnsupportedProtocol`` unless it is one of http or https."""
    if url.scheme not in DEFAULT_PORTS:
        raise httpx.UnsupportedProtocol(f"Request URL has an unsupported protocol '{url.scheme}://'.")
    return Origin(url.scheme == "https", url.raw_host.decode("ascii"), url.port or DEFAULT_PORTS[url.scheme])


@lru_cache(maxsize=64)
def _site(address: str) -> Site:
    url = httpx.URL(address)
    return Site(origin_of(url), (b"Host", url.netloc))


def split_url(url: str) -> tuple[Site, bytes] | None:
    """Split a URL that needs no normalising into its site and its request target; None: it needs some."""
    found = _PLAIN_URL.fullmatch(url)
    if found is None:
        return None
    address, path, query = found.groups()
    return _site(address), (path if query is None else f"{path}?{query}").encode("ascii")


class ShortRequest(httpx.Request):
    """An ``httpx.Request`` whose URL is parsed when somebody looks at it."""

    def __init__(  # deliberately without httpx's own, which does what this class saves
        self, method: str, address: str, headers: httpx.Headers, body: bytes, extensions: dict[str, Any]
    ) -> None:
        self.method = method
        self.headers = headers
        self.extensions = extensions
        self._address = address
        self._url: httpx.URL | None = None
        self._content = body
        self.place: tuple[Origin, bytes] | None = None
        self.stream = httpx.ByteStream(body)

    @property
    def url(self) -> httpx.URL:
        """The URL."""
        if self._url is None:
            self._url = httpx.URL(self._address)
        return self._url

    @url.setter
    def url(self, url: httpx.URL) -> None:
        self._url = url
        self.place = None


def place_of(request: httpx.Request) -> tuple[Origin, bytes]:
    """Give where a request goes: the server, and the target on it."""
    if isinstance(request, ShortRequest) and request.place is not None:
        return request.place
    return origin_of(request.url), request.url.raw_path


def _encoded(headers: Mapping[str, str] | httpx.Headers) -> list[tuple[bytes, bytes]]:
    if isinstance(headers, httpx.Headers):
        return headers.raw
    return [(name.encode("ascii"), value.encode("utf-8")) for name, value in headers.items()]


def merged_headers(
    base: httpx.Headers, given: Mapping[str, str] | httpx.Headers | None, host: tuple[bytes, bytes]
) -> dict[bytes, tuple[bytes, bytes]]:
    """Give a session's headers with those of a call instead of its own of the same names, and the host's."""
    merged = {b"host": host}
    for header in base.raw:
        merged[header[0].lower()] = header
    if given:
        for header in _encoded(given):
            merged[header[0].lower()] = header
    return merged


def short_arguments(arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Give those of httpx's arguments that say something; None where one is not for a request made the short way."""
    if arguments.keys() <= SHORT_ARGUMENTS:
        return arguments
    said = {name: value for name, value in arguments.items() if value is not None or name not in IDLE_WHEN_NONE}
    return said if said.keys() <= SHORT_ARGUMENTS else None


def short_request(
    method: str,
    url: str,
    base: httpx.Headers,
    steps: dict[str, float | None],
    *,
    headers: Mapping[str, str] | httpx.Headers | None = None,
    params: Any = None,
    json: Any = None,
    content: Any = None,
    extensions: Mapping[str, Any] | None = None,
) -> ShortRequest | None:
    """Build a request as httpx would; None for what only httpx can: a URL to be normalised, bodies of other kinds.

    base: the session's headers. steps: its limits. The rest are httpx's arguments.
    """
    if params is not None:
        query = params if isinstance(params, str) else str(httpx.QueryParams(params))
        if query:
            if "?" in url:
                return None
            url = f"{url}?{query}"
    if (split := split_url(url)) is None:
        return None
    if isinstance(content, str):
        content = content.encode()
    if content is not None and not isinstance(content, bytes):
        return None
    site, target = split
    merged = merged_headers(base, headers, site.host_header)
    body = b""
    if json is not None and content is None:
        body = jsonlib.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        merged.setdefault(b"content-type", JSON_TYPE)
    elif content is not None:
        body = content
    if (body or method in BODY_METHODS) and b"transfer-encoding" not in merged:
        merged.setdefault(b"content-length", (b"Content-Length", b"%d" % len(body)))
    request = ShortRequest(
        method, url, headers_of(list(merged.values())), body, {**(extensions or {}), "timeout": steps}
    )
    request.place = (site.origin, target)
    return request
