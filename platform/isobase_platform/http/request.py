"""Reading facts off an ASGI scope: headers, the bearer token, the request id, and what the RLS door wants to know."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from starlette.types import Scope

from isobase_platform.caller import RequestFacts
from isobase_platform.http.client_address import NO_PROXIES, TrustedProxies

__all__ = [
    "PROXIES_KEY",
    "REQUEST_ID_KEY",
    "bearer_token",
    "client_ip",
    "header",
    "headers_json",
    "request_facts",
    "request_id",
]

MAX_REMEMBERED_BYTES = 4096
"""Headers beyond this are written anew each time: what is remembered shall not fill the memory."""

REQUEST_ID_KEY = "isobase.request_id"
PROXIES_KEY = "isobase.proxies"
"""Where the edge leaves the proxies that it trusts."""
_BEARER = re.compile(r"bearer +([^\s]+) *", re.IGNORECASE)


def header(scope: Scope, name: str) -> str | None:
    """The first header called ``name`` (lower case), as latin-1 text, or None."""
    wanted = name.encode("latin-1")
    for key, value in scope["headers"]:
        if key == wanted:
            return str(value, "latin-1")
    return None


def bearer_token(scope: Scope) -> str | None:
    """The token of ``Authorization: Bearer TOKEN`` (the scheme in any case), or None for anything else."""
    value = header(scope, "authorization")
    match = _BEARER.fullmatch(value) if value is not None else None
    return match.group(1) if match else None


def request_id(scope: Scope) -> str:
    """The id that the edge gave this request; empty where no edge stands before the app (a service under test)."""
    value = scope.get(REQUEST_ID_KEY, "")
    return str(value)


def client_ip(scope: Scope) -> str | None:
    """The client's address, or None for a unix socket.

    The peer's, unless the peer is a proxy that the settings trust (``trusted_proxies``): then what it forwards.
    """
    proxies: TrustedProxies = scope.get(PROXIES_KEY, NO_PROXIES)
    return proxies.client(scope)


def headers_json(scope: Scope) -> str:
    """All headers as a JSON object with lower-case names; of repeated ones the last counts, as in PostgREST."""
    headers = tuple(scope["headers"])
    is_long = sum([len(name) + len(value) for name, value in headers]) > MAX_REMEMBERED_BYTES
    return _written(headers) if is_long else _headers_json(headers)


@lru_cache(maxsize=256)
def _headers_json(headers: tuple[tuple[bytes, bytes], ...]) -> str:
    return _written(headers)


def _written(headers: tuple[tuple[bytes, bytes], ...]) -> str:
    # One client sends the same headers again and again. NUL cannot travel to PostgreSQL and has no place in a header; HTTP
    # servers refuse it before this point.
    return json.dumps({_text(key): _text(value) for key, value in headers}, ensure_ascii=False)


def _text(raw: bytes) -> str:
    """A header as people wrote it: UTF-8, as PostgREST reads it, or else latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return str(raw, "latin-1")


def request_facts(scope: Scope) -> RequestFacts:
    """Method, path (without the mount's prefix, as the upstream server behind its gateway sees it), headers, cookies."""
    cookies = _cookies(_text((header(scope, "cookie") or "").encode("latin-1")))
    path: str = scope["path"]
    prefix = scope.get("root_path", "")
    return RequestFacts(
        method=scope.get("method", "GET"),
        path=(path.removeprefix(prefix) or "/").replace("\x00", ""),
        headers_json=headers_json(scope),
        cookies_json=json.dumps(cookies, ensure_ascii=False) if cookies else "{}",
    )


def _cookies(text: str) -> dict[str, str]:
    """What stands between semicolons, split at its first ``=``; of one name the last counts.

    Values are taken as they are, quotes and all, as PostgREST takes them. Python's own reader gives up at the first cookie
    that it does not like, and browsers send cookies of other programs along.
    """
    if not text:
        return {}
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.lstrip(" "): value for name, _, value in pairs}
