"""What travels over the bus: messages of one node in batches, numbered and sealed.

A bus is shared with others: several projects may have one Redis, and whoever may connect to a database may LISTEN and NOTIFY
there. So each batch is encrypted and authenticated (AES-256-GCM) under a key that only nodes of the project can derive, from
its JWT secret. Keys are one per sender and channel, so a sender's running number is a nonce that never comes twice.

Layout: version (1 byte), sender (12), number (8), then sealed: for each message its length (4) and its bytes. Pure;
neighbours: ``outlet`` writes, ``cluster`` reads.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = [
    "MESSAGE_OVERHEAD_BYTES",
    "NODE_ID_BYTES",
    "OVERHEAD_BYTES",
    "Header",
    "Seals",
    "Unreadable",
    "read_header",
]

VERSION = 1
NODE_ID_BYTES = 12
_HEADER = struct.Struct(">B12sQ")
_LENGTH = struct.Struct(">I")
TAG_BYTES = 16
OVERHEAD_BYTES = _HEADER.size + TAG_BYTES
"""What an envelope adds to its messages, beside ``MESSAGE_OVERHEAD_BYTES`` for each."""
MESSAGE_OVERHEAD_BYTES = _LENGTH.size
MAX_KEYS = 1_000
"""Derived keys that are kept: one per peer and channel; beyond it they are derived again."""
_CONTEXT = b"isobase realtime cluster v1"


class Unreadable(Exception):
    """An envelope of another version, of another project, or one that was changed on its way."""


@dataclass(slots=True, frozen=True)
class Header:
    """Who sent an envelope, and its number: one more than the one before it on this channel of the bus."""

    node_id: str
    number: int


def read_header(envelope: bytes) -> Header:
    """The open part of an envelope. Raises ``Unreadable``."""
    if len(envelope) < OVERHEAD_BYTES or envelope[0] != VERSION:
        raise Unreadable("not an envelope of this version")
    _, sender, number = _HEADER.unpack_from(envelope)
    return Header(sender.hex(), number)


class Seals:
    """Seals and opens envelopes. ``secret``: what the nodes of one project share; ``scope``: what tells projects apart."""

    def __init__(self, secret: str, scope: str) -> None:
        self._secret = secret.encode()
        self._scope = scope.encode()
        self._keys: dict[tuple[str, str], AESGCM] = {}

    def __repr__(self) -> str:
        """Without the secret."""
        return "Seals()"

    def seal(self, header: Header, bus_channel: str, payloads: Sequence[bytes]) -> bytes:
        """An envelope with ``payloads`` for ``bus_channel``. No number may be used twice there."""
        head = _HEADER.pack(VERSION, bytes.fromhex(header.node_id), header.number)
        parts: list[bytes] = []
        for payload in payloads:
            parts.append(_LENGTH.pack(len(payload)))
            parts.append(payload)
        return head + self._key(header.node_id, bus_channel).encrypt(_nonce(header.number), b"".join(parts), head)

    def open(self, header: Header, bus_channel: str, envelope: bytes) -> tuple[bytes, ...]:
        """The messages of an envelope whose header was read, in order. Raises ``Unreadable``."""
        from cryptography.exceptions import InvalidTag

        head, sealed = envelope[: _HEADER.size], envelope[_HEADER.size :]
        try:
            body = self._key(header.node_id, bus_channel).decrypt(_nonce(header.number), sealed, head)
        except InvalidTag as error:
            raise Unreadable("not sealed by a node of this project") from error
        payloads: list[bytes] = []
        position = 0
        while position < len(body):
            (size,) = _LENGTH.unpack_from(body, position)
            position += _LENGTH.size
            payloads.append(body[position : position + size])
            position += size
        return tuple(payloads)

    def _key(self, node_id: str, bus_channel: str) -> AESGCM:
        key = self._keys.get((node_id, bus_channel))
        if key is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            if len(self._keys) >= MAX_KEYS:
                self._keys.clear()
            parts = (_CONTEXT, self._scope, node_id.encode(), bus_channel.encode())
            digest = hmac.new(self._secret, b"\0".join(parts), hashlib.sha256).digest()
            key = self._keys[(node_id, bus_channel)] = AESGCM(digest)
        return key


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
