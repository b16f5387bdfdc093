"""Whether a socket is opened: the protocol version, the API key, and how many sockets there are.

Pure but for reading the hub's counters. Source: contracts/realtime.md 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.types import Scope

from isobase_platform.caller import RequestFacts
from isobase_platform.http.request import header, request_facts
from isobase_services.realtime.core.access import AccessRefused, grant_access
from isobase_services.realtime.edge.errors import HandshakeRefused
from isobase_services.realtime.session.hub import Hub
from isobase_services.realtime.wire import Codec, codec_for

__all__ = ["Admission", "admit", "socket_facts"]

_OF_THE_HANDSHAKE = frozenset(
    (b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions")
)


@dataclass(slots=True, frozen=True)
class Admission:
    """What a socket starts with: its codec, the token of its API key, and what policies may read of the handshake."""

    codec: Codec
    token: str
    request: RequestFacts


def socket_facts(scope: Scope) -> RequestFacts:
    """What policies may read of a handshake: everything but the headers that only make it one.

    One of these is random; without them the sockets of one client program share one text.
    """
    headers = [(name, value) for name, value in scope["headers"] if name not in _OF_THE_HANDSHAKE]
    return request_facts({**scope, "headers": headers})


def admit(scope: Scope, hub: Hub) -> Admission:
    """Check a handshake. Raises ``HandshakeRefused``."""
    query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    codec = codec_for(query.get("vsn"))
    if codec is None:
        raise HandshakeRefused("", status=403)
    if hub.is_draining:
        raise HandshakeRefused("Error connecting to Realtime", status=503)
    given = header(scope, "x-api-key") or query.get("apikey")
    if given is None:
        raise HandshakeRefused("API key is missing")
    request = socket_facts(scope)
    # Upstream never sees an opaque key: its gateway swaps it. A key that is not this project's stays what it is, no JWT.
    token = hub.api_keys.token_for(given) or given
    try:
        token = grant_access(hub.verifier, token, request).token
    except AccessRefused as error:
        raise HandshakeRefused(error.handshake_message, status=error.status) from error
    # Only those that have joined count, as upstream counts users; but what is merely open is bounded too.
    if max(hub.user_count, len(hub.connections) - hub.settings.max_sockets) >= hub.settings.max_sockets:
        raise HandshakeRefused("Too many connected users", status=429)
    if hub.joins.is_exceeded:
        raise HandshakeRefused("Too many joins per second", status=429)
    return Admission(codec=codec, token=token, request=request)
