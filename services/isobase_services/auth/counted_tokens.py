"""Refresh tokens that stand in no table: a session's id and a counter, signed with the session's own key. No I/O.

GoTrue gives them out where its refresh token algorithm is version 2; sessions that were carried from there go on with them.
Source: supabase/auth internal/crypto/refresh_tokens.go. Form: base64url of version (one byte, 0), session's id (16 bytes),
counter (unsigned LEB128), the first 16 bytes of HMAC-SHA256 over these, the first 4 bytes of SHA-256 over all before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

__all__ = ["CountedToken"]

VERSION = b"\x00"
ID_BYTES = 16
SIGNATURE_BYTES = 16
CHECKSUM_BYTES = 4
MAX_COUNTER_BYTES = 9
MIN_TOKEN_BYTES = 1 + ID_BYTES + 1 + SIGNATURE_BYTES + CHECKSUM_BYTES
MAX_TOKEN_BYTES = MIN_TOKEN_BYTES + MAX_COUNTER_BYTES - 1


@dataclass(slots=True, frozen=True)
class CountedToken:
    """One of them, as it was presented: its signature is not checked yet."""

    session_id: UUID
    counter: int
    _signed: bytes = field(repr=False)
    _signature: bytes = field(repr=False)

    @classmethod
    def parse(cls, token: str) -> Self | None:
        """Read a token, or None for what has not its form."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if not MIN_TOKEN_BYTES <= len(raw) <= MAX_TOKEN_BYTES or raw[:1] != VERSION:
            return None
        body, checksum = raw[:-CHECKSUM_BYTES], raw[-CHECKSUM_BYTES:]
        if not hmac.compare_digest(hashlib.sha256(body).digest()[:CHECKSUM_BYTES], checksum):
            return None
        signed, signature = body[:-SIGNATURE_BYTES], body[-SIGNATURE_BYTES:]
        counter = _counter(signed[1 + ID_BYTES :])
        return None if counter is None else cls(UUID(bytes=signed[1 : 1 + ID_BYTES]), counter, signed, signature)

    def is_signed_with(self, key: bytes) -> bool:
        """Whether the session's key made it."""
        return hmac.compare_digest(_signature(self._signed, key), self._signature)

    @staticmethod
    def encode(session_id: UUID, counter: int, key: bytes) -> str:
        """Give the token of a session's counter: always the same one."""
        signed = VERSION + session_id.bytes + _leb128(counter)
        body = signed + _signature(signed, key)
        raw = body + hashlib.sha256(body).digest()[:CHECKSUM_BYTES]
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _signature(signed: bytes, key: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")[:SIGNATURE_BYTES]


def _leb128(number: int) -> bytes:
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _counter(raw: bytes) -> int | None:
    number = 0
    for place, part in enumerate(raw):
        number |= (part & 0x7F) << (7 * place)
        if part < 0x80:
            # Nothing may follow, and one number has one form.
            return number if place == len(raw) - 1 and _leb128(number) == raw and number < 1 << 63 else None
    return None
