"""A WebSocket message of the server as the bytes that go over the wire, built once and written to any number of sockets.

A server's frames carry no mask (RFC 6455 5.1), so one message is the same bytes for every receiver: header and payload are
joined here and the result is handed to each transport as it is. Where a server takes messages only, ``payload`` gives it one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Frame", "FrameRun", "binary_frame", "text_frame"]

FINAL_TEXT = 0x81
FINAL_BINARY = 0x82
MAX_LENGTH_IN_HEAD = 125
MAX_LENGTH_IN_TWO_BYTES = 0xFFFF
LENGTH_IN_TWO_BYTES = 126
LENGTH_IN_EIGHT_BYTES = 127


@dataclass(slots=True, frozen=True, eq=False)
class Frame:
    """One message: ``wire`` is the whole frame, of which the first ``head_bytes`` are the header."""

    wire: bytes
    head_bytes: int
    is_text: bool

    @property
    def payload(self) -> bytes:
        """The message without its header; UTF-8 when ``is_text``."""
        return self.wire[self.head_bytes :]

    def __len__(self) -> int:
        """Bytes on the wire."""
        return len(self.wire)


@dataclass(slots=True, frozen=True, eq=False)
class FrameRun:
    """Several messages for one socket; ``wire`` is all of them joined."""

    frames: tuple[Frame, ...]
    wire: bytes

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> FrameRun:
        """Join ``frames``."""
        return cls(tuple(frames), b"".join([frame.wire for frame in frames]))


def text_frame(text: str) -> Frame:
    """A text message. ``text`` holds no lone surrogate."""
    payload = text.encode()
    head = _head(FINAL_TEXT, len(payload))
    return Frame(head + payload, len(head), True)


def binary_frame(*parts: bytes) -> Frame:
    """A binary message made of ``parts``."""
    head = _head(FINAL_BINARY, sum(map(len, parts)))
    return Frame(b"".join((head, *parts)), len(head), False)


def _head(first: int, length: int) -> bytes:
    if length <= MAX_LENGTH_IN_HEAD:
        return bytes((first, length))
    if length <= MAX_LENGTH_IN_TWO_BYTES:
        return bytes((first, LENGTH_IN_TWO_BYTES)) + length.to_bytes(2, "big")
    return bytes((first, LENGTH_IN_EIGHT_BYTES)) + length.to_bytes(8, "big")
