"""PostgreSQL's messages as bytes: those that an exchange sends, and the two whose contents it reads.

Pure functions on plain values; ``wire`` sends and receives. Source: PostgreSQL's documentation, "Message Formats".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeAlias

import asyncpg

__all__ = [
    "READY",
    "SYNC",
    "Binary",
    "Packed",
    "Parameter",
    "Row",
    "Silent",
    "Step",
    "bind",
    "close",
    "packed",
    "parse",
    "read_error",
    "read_row",
]

_HEADER = struct.Struct("!ci")
_LENGTH = struct.Struct("!i")
_SHORT = struct.Struct("!H")
SYNC = b"S\x00\x00\x00\x04"
_EXECUTE = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00"
READY = b"Z\x00\x00\x00\x05I"
_NULL = b"\xff\xff\xff\xff"
# One format for all result columns: binary, which for text and bytea is the bytes themselves.
_BINARY_RESULTS = b"\x00\x01\x00\x01"
_ALL_TEXT = b"\x00\x00"


class Binary(bytes):
    """A parameter in PostgreSQL's binary format; for bytea the bytes themselves."""


Parameter: TypeAlias = "str | bytes | None"
"""Text (as ``str`` or encoded already), ``Binary``, or NULL."""
Row: TypeAlias = "list[bytes | None]"
"""A row's columns in binary format."""
Step: TypeAlias = "tuple[str, Sequence[Parameter] | Packed]"
"""One statement of an exchange: its SQL and the values of its parameters."""


class Packed(bytes):
    """The values of parameters as the protocol has them, to be sent again and again."""


class Silent:
    """Statements that run at the end of an exchange for their effect. ``tags`` are the command tags that they answer with.

    A statement that answers ``SELECT`` must give one row without columns.
    """

    __slots__ = ("reply", "statements")

    def __init__(self, statements: Sequence[tuple[str, str]]) -> None:
        self.statements = tuple(sql for sql, _ in statements)
        self.reply = b"".join(_silent_reply(tag) for _, tag in statements) + READY


def _silent_reply(tag: str) -> bytes:
    row = b"D\x00\x00\x00\x06\x00\x00" if tag.startswith("SELECT") else b""
    text = tag.encode() + b"\x00"
    return b"2\x00\x00\x00\x04" + row + _HEADER.pack(b"C", 4 + len(text)) + text


def read_row(data: bytes, at: int) -> Row:
    """The row of a DataRow message whose contents begin ``at``."""
    count = (data[at] << 8) | data[at + 1]
    at += 2
    row: Row = []
    for _ in range(count):
        length = int.from_bytes(data[at : at + 4], "big", signed=True)
        at += 4
        if length < 0:
            row.append(None)
        else:
            row.append(data[at : at + length])
            at += length
    return row


def read_error(body: bytes) -> asyncpg.PostgresError:
    """The error that an ErrorResponse message with this body tells of."""
    fields = {chr(part[0]): part[1:].decode(errors="replace") for part in body.rstrip(b"\x00").split(b"\x00") if part}
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(fields)
    return error


def parse(out: list[bytes], name: bytes, sql: str) -> None:
    """Prepare ``sql`` under ``name``; the types of its parameters are PostgreSQL's to infer."""
    text = sql.encode()
    out.append(_HEADER.pack(b"P", 4 + len(name) + 1 + len(text) + 1 + 2))
    out.append(name + b"\x00" + text + b"\x00\x00\x00")


def close(out: list[bytes], name: bytes) -> None:
    """Forget a prepared statement."""
    out.append(_HEADER.pack(b"C", 4 + 1 + len(name) + 1))
    out.append(b"S" + name + b"\x00")


def packed(values: Sequence[str]) -> Packed:
    """``values`` as text, packed."""
    count = _SHORT.pack(len(values))
    parts = [_ALL_TEXT, count]
    for value in values:
        text = value.encode()
        parts += [_LENGTH.pack(len(text)), text]
    return Packed(b"".join([*parts, _BINARY_RESULTS]))


def bind(out: list[bytes], name: bytes, values: Sequence[Parameter] | Packed) -> None:
    """Bind and Execute."""
    if isinstance(values, Packed):
        out.append(_HEADER.pack(b"B", 4 + 1 + len(name) + 1 + len(values)) + b"\x00" + name + b"\x00")
        out.append(values)
        out.append(_EXECUTE)
        return
    count = _SHORT.pack(len(values))
    formats = _ALL_TEXT
    # Everything but the values: length, portal, name, formats, counts.
    size = 4 + 1 + len(name) + 1 + 2 + len(_BINARY_RESULTS) + 4 * len(values)
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(_NULL)
            continue
        if value.__class__ is str:
            value = value.encode()
        elif value.__class__ is Binary:
            formats = count + b"".join([b"\x00\x01" if isinstance(one, Binary) else b"\x00\x00" for one in values])
        size += len(value)
        parts.append(_LENGTH.pack(len(value)))
        parts.append(value)  # type: ignore[arg-type]
    out.append(_HEADER.pack(b"B", size + len(formats)) + b"\x00" + name + b"\x00" + formats + count)
    out += parts
    out.append(_BINARY_RESULTS + _EXECUTE)
