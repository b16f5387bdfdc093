"""Addresses of the realtime service: the socket's and that of its HTTP endpoints.

Source: realtime-py ``transformers.py`` and realtime-js ``lib/transformers.ts`` for what is cut off.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

__all__ = ["http_endpoint_url"]

_SOCKET_PATH = re.compile(r"(/socket/websocket|/socket|/websocket)/?$", re.IGNORECASE)
_SECRET_PARAMETERS = frozenset({"apikey", "token", "access_token"})


def http_endpoint_url(socket_url: str) -> str:
    """Give the base of the HTTP endpoints beside a socket's address.

    Scheme ``http(s)``, no socket path, no slash at the end.
    """
    url = "http" + socket_url[2:] if socket_url[:2].lower() == "ws" else socket_url
    return _SOCKET_PATH.sub("", url).rstrip("/")


def socket_url(url: str) -> str:
    """Give the socket's address below the service's: ``http(s)`` becomes ``ws(s)``, and ``/websocket`` is added."""
    scheme, rest = url.split("://", 1)
    return f"{scheme.lower().replace('http', 'ws')}://{rest}/websocket"


def with_parameters(url: str, parameters: dict[str, object], **last: str) -> str:
    """Give ``url`` with query parameters: ``parameters`` first, those that it has over them, ``last`` over both."""
    parts = urlsplit(url)
    present = dict(parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit(parts._replace(query=urlencode({**parameters, **present, **last}, doseq=True)))


def without_secrets(url: str) -> str:
    """Give ``url`` as it may be written to a log: keys are masked."""
    parts = urlsplit(url)
    pairs = [(k, "***" if k in _SECRET_PARAMETERS else v) for k, v in parse_qsl(parts.query, keep_blank_values=True)]
    return urlunsplit(parts._replace(query=urlencode(pairs, safe="*")))
