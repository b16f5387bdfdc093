"""The values that travel: what a client said, what is sent to it, and the interface of a serialisation.

JSON that is only passed on stays text: a payload is parsed once where its content matters and is never serialised again for
each receiver. Source: contracts/realtime.md 1.2 and 1.3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from isobase_platform.strict_json import load_finite
from isobase_services.realtime.wire.frames import Frame

__all__ = [
    "EMPTY_OBJECT",
    "ClientMessage",
    "Codec",
    "JsonObject",
    "Message",
    "Outgoing",
    "Ref",
    "TextBroadcast",
    "UserBroadcast",
    "dump",
    "parse_json",
]

Ref: TypeAlias = str | int | float | None
"""A message reference. Clients of today send text; it is echoed as it came."""
Message: TypeAlias = str | bytes
"""One WebSocket message of a client: text or binary."""
JsonObject: TypeAlias = Mapping[str, object]

EMPTY_OBJECT = "{}"


# Made once: json.dumps makes an encoder for each call whose options are not its own.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":")).encode


def dump(value: object) -> str:
    """Compact JSON text of plain values; characters stay as they are. Lone surrogates are escaped, as UTF-8 has none."""
    text = _encode(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _encode_ascii(value)
    return text


def parse_json(text: str | bytes) -> object:
    """Read JSON as RFC 8259 has it: no NaN, no Infinity, no number that would become one, bytes are UTF-8.

    Raises ``ValueError`` for anything else and ``RecursionError`` never: nesting too deep to read is a ``ValueError`` too.
    """
    try:
        value: object = load_finite(text.decode() if isinstance(text, bytes) else text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


@dataclass(slots=True, frozen=True)
class UserBroadcast:
    """A broadcast whose payload stays bytes: binary type 3 from a client, or one sent over HTTP.

    ``payload`` is JSON text in UTF-8 when ``is_json``, else whatever the sender meant; ``meta`` is JSON text or empty.
    ``identifier`` names a message that is stored and may be replayed.
    """

    event: str
    payload: bytes
    is_json: bool
    meta: str = ""
    identifier: str | None = None


@dataclass(slots=True, frozen=True)
class TextBroadcast:
    """A broadcast as its whole JSON payload: ``{"type": "broadcast", "event": ..., "payload": ..., ...}``.

    ``identifier`` names a message that is stored and may be replayed.
    """

    payload: str
    identifier: str | None = None


Outgoing: TypeAlias = TextBroadcast | UserBroadcast


@dataclass(slots=True, frozen=True)
class ClientMessage:
    """One message of a client. ``broadcast`` is set for a binary user broadcast, whose ``payload`` is empty."""

    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    payload: JsonObject = field(default_factory=dict)
    broadcast: UserBroadcast | None = None


class Codec(Protocol):
    """One serialisation of the protocol. All methods are pure; JSON arguments are JSON text of an object."""

    def decode(self, message: Message) -> ClientMessage | None:
        """Read a message; None for a malformed one, which upstream drops while the socket stays open."""
        ...

    def reply(self, *, join_ref: Ref, ref: Ref, topic: str, status: str, response: str) -> Frame:
        """A ``phx_reply`` with ``status`` ok or error."""
        ...

    def push(self, *, join_ref: Ref, topic: str, event: str, payload: str) -> Frame:
        """A message of the server to one channel (presence_state, system)."""
        ...

    def closing(self, *, join_ref: Ref, topic: str, event: str, payload: str) -> Frame:
        """``phx_close`` or ``phx_error``, whose ref is that of the join."""
        ...

    def fan_out(self, *, topic: str, event: str, payload: str) -> Frame:
        """A message for every member of a topic: it carries no reference, so all members share its bytes."""
        ...

    def broadcast(self, *, topic: str, message: Outgoing) -> Frame | None:
        """A broadcast for every member; None where this version cannot carry it (raw binary on 1.0.0)."""
        ...


def is_ref(value: object) -> bool:
    """True for what may stand as a reference."""
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def user_broadcast_object(message: UserBroadcast) -> str:
    """The JSON payload by which a socket that reads text only gets a user broadcast whose payload is JSON."""
    meta = f',"meta":{message.meta}' if message.meta else ""
    payload = message.payload.decode("utf-8", "replace") or "null"
    return f'{{"type":"broadcast","event":{dump(message.event)},"payload":{payload}{meta}}}'
