"""HTTP/1.1 as bytes: what a request looks like, where an answer's head and body end (RFC 9112). Pure; neighbours do the
reading.

Answers are read strictly where leniency would let two parties disagree about where a body ends: lengths that differ,
folded or nameless headers, chunks of no number. What is refused raises ``httpx.RemoteProtocolError``, what may not be
sent ``httpx.LocalProtocolError``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

__all__ = ["BodyReader", "Head", "chunk", "head_end", "parse_head", "request_head"]

MAX_HEAD_BYTES = 256 * 1024
MAX_CHUNK_LINE_BYTES = 8 * 1024
END_OF_HEAD = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
BODYLESS_STATUSES = frozenset({204, 304})

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: ([^\r\n\x00]*))?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN_VALUE = re.compile(rb"[\x00\r\n]")
_FORBIDDEN_TARGET = re.compile(rb"[\x00-\x20\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,19}")  # as many digits as 64 bits have; Python reads no number of any length
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")


def request_head(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Give a request's head; raises ``httpx.LocalProtocolError`` for a line break or the like in a name, value or
    target.
    """
    if _FORBIDDEN_TARGET.search(target) or not _NAME.fullmatch(method_bytes := method.encode("ascii")):
        raise httpx.LocalProtocolError("illegal request line")
    parts = [method_bytes, b" ", target, b" HTTP/1.1\r\n"]
    for name, value in headers:
        if _FORBIDDEN_VALUE.search(value) or not _NAME.fullmatch(name):
            raise httpx.LocalProtocolError(f"illegal header {name!r}")
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def chunk(data: bytes) -> bytes:
    """Give one chunk of a body sent in chunks."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(slots=True)
class Head:
    """An answer's head. ``length`` is that of the body: None where it ends by chunks or by the connection's end."""

    status: int
    version: bytes
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    length: int | None
    is_chunked: bool
    keeps_alive: bool
    is_encoded: bool


def head_end(buffer: bytes | bytearray) -> int:
    """Give where an answer's head ends in ``buffer``, -1 while it does not; raises when it is longer than any
    server's.
    """
    end = buffer.find(END_OF_HEAD)
    if end < 0 and len(buffer) > MAX_HEAD_BYTES:
        raise httpx.RemoteProtocolError("the head of the answer is too long")
    return end


def parse_head(data: bytes, method: str) -> Head:
    """Read a head (without its empty line) of the answer to ``method``."""
    lines = data.split(b"\r\n")
    found = _STATUS_LINE.fullmatch(lines[0])
    if found is None:
        raise httpx.RemoteProtocolError(f"illegal status line: {lines[0][:100]!r}")
    status = int(found[2])
    keeps_alive = found[1] == b"1"
    length: int | None = None
    is_chunked = is_encoded = False
    headers: list[tuple[bytes, bytes]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise httpx.RemoteProtocolError(f"illegal header line: {line[:100]!r}")
        value = value.strip(b" \t")
        headers.append((name, value))
        match name.lower():
            case b"content-length":
                lengths = {each.strip() for each in value.split(b",")}
                if len(lengths) > 1 or not _LENGTH.fullmatch(only := lengths.pop()) or length not in (None, int(only)):
                    raise httpx.RemoteProtocolError("illegal content-length")
                length = int(only)
            case b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise httpx.RemoteProtocolError(f"unknown transfer-encoding: {value[:100]!r}")
                is_chunked = True
            case b"connection":
                options = value.lower()
                if b"close" in options:
                    keeps_alive = False
                elif b"keep-alive" in options:
                    keeps_alive = True
            case b"content-encoding":
                is_encoded = value.lower() != b"identity"
    if is_chunked:
        # RFC 9112, 6.1: the length is not to be believed, and the connection not to be used again.
        keeps_alive = keeps_alive and length is None
        length = None
    if method == "HEAD" or status in BODYLESS_STATUSES or status < 200:
        length, is_chunked = 0, False
    elif length is None and not is_chunked:
        keeps_alive = False
    return Head(status, b"HTTP/1." + found[1], found[3] or b"", headers, length, is_chunked, keeps_alive, is_encoded)


class BodyReader:
    """Takes the bytes after a head and gives those of the body. ``is_done`` once the body has ended; more bytes are an
    error.
    """

    def __init__(self, head: Head) -> None:
        self._left = head.length
        self._received = 0
        self._is_chunked = head.is_chunked
        self._buffer = b""
        self._chunk_left = 0
        self._after_chunk = False
        self._in_trailer = False
        self.is_done = head.length == 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes; gives the part of the body in them. ``b""`` is the connection's end."""
        if not data:
            return self._end()
        if self._is_chunked:
            return self._feed_chunked(data)
        if self._left is None:
            self._received += len(data)
            return data
        if len(data) > self._left:
            raise httpx.RemoteProtocolError("more bytes than the answer has")
        self._left -= len(data)
        self._received += len(data)
        self.is_done = self._left == 0
        return data

    def _end(self) -> bytes:
        if self._left is None and not self._is_chunked:
            self.is_done = True
            return b""
        if self._is_chunked:
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body (incomplete chunked read)"
            )
        raise httpx.RemoteProtocolError(
            "peer closed connection without sending complete message body "
            f"(received {self._received} bytes, expected {self._received + (self._left or 0)})"
        )

    def _feed_chunked(self, data: bytes) -> bytes:
        buffer = self._buffer + data if self._buffer else data
        position = 0
        parts: list[bytes] = []
        while not self.is_done:
            if self._chunk_left:
                part = buffer[position : position + self._chunk_left]
                if not part:
                    break
                parts.append(part)
                position += len(part)
                self._chunk_left -= len(part)
                self._after_chunk = self._chunk_left == 0
                continue
            end = buffer.find(b"\r\n", position)
            if end < 0:
                if len(buffer) - position > MAX_CHUNK_LINE_BYTES:
                    raise httpx.RemoteProtocolError("a line between chunks is too long")
                break
            line, position = buffer[position:end], end + 2
            if self._after_chunk:
                if line:
                    raise httpx.RemoteProtocolError("a chunk is longer than it said")
                self._after_chunk = False
            elif self._in_trailer:
                self.is_done = not line
            else:
                size = _CHUNK_SIZE.fullmatch(line)
                if size is None:
                    raise httpx.RemoteProtocolError(f"illegal chunk size: {line[:100]!r}")
                self._chunk_left = int(size[1], 16)
                self._in_trailer = self._chunk_left == 0
        self._buffer = buffer[position:]
        if self.is_done and self._buffer:
            raise httpx.RemoteProtocolError("more bytes than the answer has")
        return parts[0] if len(parts) == 1 else b"".join(parts)
