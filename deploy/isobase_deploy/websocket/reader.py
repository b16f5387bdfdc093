"""A client's bytes as WebSocket messages: RFC 6455 section 5, the server's side, without extensions. No I/O.

Sizes are refused by a frame's header, before its payload arrives, so that a socket holds at most one message and a chunk.
"""

from __future__ import annotations

from enum import IntEnum

from websockets.exceptions import ProtocolError
from websockets.frames import Close

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build without its C part
    from websockets.utils import apply_mask

__all__ = ["CloseCode", "FrameReader", "Opcode", "ProtocolViolation", "SocketEvent"]

FINAL = 0x80
RESERVED = 0x70
MASKED = 0x80
LENGTH = 0x7F
MAX_CONTROL_BYTES = 125
MASK_BYTES = 4


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """The close codes that reading may lead to (RFC 6455 7.4.1)."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    INVALID_TEXT = 1007
    TOO_BIG = 1009


class ProtocolViolation(Exception):
    """The client broke the protocol; the socket must be closed with ``code``."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


SocketEvent = tuple[Opcode, str | bytes]
"""A whole message (TEXT with str, BINARY with bytes) or a control frame with its payload."""

_OPCODES: tuple[Opcode | None, ...] = tuple(
    Opcode(number) if number in Opcode._value2member_map_ else None for number in range(16)
)


class FrameReader:
    """The reading half of one socket. ``max_message_bytes`` bounds a message over all its fragments."""

    __slots__ = ("_at", "_data", "_fragments", "_is_text", "_max_message_bytes")

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._data: bytes | bytearray = b""
        self._at = 0
        self._fragments: bytearray | None = None
        self._is_text = False

    def feed(self, data: bytes) -> None:
        """Take what arrived; ``next`` reads it."""
        if self._at == len(self._data):
            self._data, self._at = data, 0
            return
        held = self._data
        if isinstance(held, bytearray):
            del held[: self._at]
        else:
            self._data = held = bytearray(memoryview(held)[self._at :])
        self._at = 0
        held += data

    def next(self) -> SocketEvent | None:
        """The next message or control frame, or None until more arrives. Raises ``ProtocolViolation``."""
        while True:
            frame = self._next_frame()
            if frame is None:
                return None
            is_final, opcode, payload = frame
            if opcode >= Opcode.CLOSE:
                return opcode, payload
            if opcode is Opcode.CONTINUATION:
                fragments = self._fragments
                assert fragments is not None
                fragments += payload
                if not is_final:
                    continue
                self._fragments = None
                payload = bytes(fragments)
            elif not is_final:
                self._is_text = opcode is Opcode.TEXT
                self._fragments = bytearray(payload)
                continue
            else:
                self._is_text = opcode is Opcode.TEXT
            if not self._is_text:
                return Opcode.BINARY, payload
            try:
                return Opcode.TEXT, payload.decode()
            except UnicodeDecodeError:
                raise ProtocolViolation(CloseCode.INVALID_TEXT, "text is not UTF-8") from None

    def _next_frame(self) -> tuple[bool, Opcode, bytes] | None:
        """(is final, opcode, unmasked payload) of the next whole frame."""
        data, at = self._data, self._at
        available = len(data) - at
        if available < 2:
            return None
        first, second = data[at], data[at + 1]
        opcode = _OPCODES[first & 0x0F]
        is_final = first >= FINAL
        if opcode is None or first & RESERVED:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "unknown opcode or reserved bit")
        if second < MASKED:
            raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "a client's frame must be masked")
        length = second & LENGTH
        head_bytes = 2
        if opcode >= Opcode.CLOSE:
            if not is_final or length > MAX_CONTROL_BYTES:
                raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "control frames are short and whole")
        else:
            if length > MAX_CONTROL_BYTES:
                head_bytes = 4 if length == 126 else 10
                if available < head_bytes:
                    return None
                length = int.from_bytes(data[at + 2 : at + head_bytes], "big")
            if length + len(self._fragments or b"") > self._max_message_bytes:
                raise ProtocolViolation(CloseCode.TOO_BIG, "message too big")
            if (opcode is Opcode.CONTINUATION) is (self._fragments is None):
                raise ProtocolViolation(CloseCode.PROTOCOL_ERROR, "fragments out of order")
        start = at + head_bytes + MASK_BYTES
        end = start + length
        if len(data) < end:
            return None
        payload = apply_mask(bytes(data[start:end]), bytes(data[start - MASK_BYTES : start])) if length else b""
        if end == len(data):
            self._data, self._at = b"", 0
        else:
            self._at = end
        return is_final, opcode, payload


def close_code_of(payload: bytes) -> int | None:
    """The code of a client's close frame; None when it gives none. Raises ``ProtocolViolation`` for a malformed one."""
    try:
        close = Close.parse(payload)
    except (ProtocolError, UnicodeDecodeError) as error:
        code = CloseCode.INVALID_TEXT if isinstance(error, UnicodeDecodeError) else CloseCode.PROTOCOL_ERROR
        raise ProtocolViolation(code, "malformed close frame") from error
    return int(close.code) if payload else None
