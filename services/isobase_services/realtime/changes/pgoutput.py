"""Decoding of PostgreSQL's ``pgoutput`` plugin, protocol version 1.

The server sends a transaction when it commits: Begin, then Relation / Insert / Update / Delete / Truncate, then Commit.
Values come as text. Source: PostgreSQL documentation, "Logical Replication Message Formats".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = [
    "UNCHANGED",
    "Begin",
    "Cell",
    "Change",
    "Commit",
    "Delete",
    "Insert",
    "LogicalMessage",
    "Message",
    "MessageCorrupt",
    "Relation",
    "RelationColumn",
    "Unchanged",
    "Update",
    "decode",
]

POSTGRES_EPOCH_S = 946_684_800
"""2000-01-01 00:00 UTC, from which the server counts microseconds."""


class MessageCorrupt(Exception):
    """The stream holds what this protocol version does not have; it must be started again."""


class Unchanged:
    """The type of ``UNCHANGED``: a large value that an UPDATE did not touch is not in the log."""

    __slots__ = ()


UNCHANGED: Final = Unchanged()
Cell: TypeAlias = str | Unchanged | None
"""A column's value: its text, None for NULL, or unchanged."""


@dataclass(slots=True, frozen=True)
class Begin:
    """``commit_time_us``: unix microseconds. ``commit_lsn``: where the transaction's commit stands in the log. ``xid``: the
    transaction's number without its epoch (32 bits).
    """

    commit_lsn: int
    commit_time_us: int
    xid: int


@dataclass(slots=True, frozen=True)
class Commit:
    """``end_lsn``: the position after the transaction."""

    end_lsn: int


@dataclass(slots=True, frozen=True)
class RelationColumn:
    """A published column; ``is_identity`` when it is part of the replica identity."""

    name: str
    type_oid: int
    is_identity: bool


@dataclass(slots=True, frozen=True)
class Relation:
    """A table as it is at this point of the log; sent before its first change and after each alteration."""

    oid: int
    schema: str
    table: str
    columns: tuple[RelationColumn, ...]


@dataclass(slots=True, frozen=True)
class Insert:
    """A new row: one cell per column of the relation."""

    relation_oid: int
    new: tuple[Cell, ...]


@dataclass(slots=True, frozen=True)
class Update:
    """``old`` is None unless the identity changed or the replica identity is FULL (``old_is_whole``)."""

    relation_oid: int
    new: tuple[Cell, ...]
    old: tuple[Cell, ...] | None
    old_is_whole: bool


@dataclass(slots=True, frozen=True)
class Delete:
    """``old`` holds the identity columns, the others are None; or the whole row (``old_is_whole``)."""

    relation_oid: int
    old: tuple[Cell, ...]
    old_is_whole: bool


@dataclass(slots=True, frozen=True)
class LogicalMessage:
    """What a transaction said of itself (``pg_logical_emit_message``), at this place among its changes."""

    prefix: str
    content: bytes


Change: TypeAlias = Insert | Update | Delete
Message: TypeAlias = Begin | Commit | Relation | LogicalMessage | Change

_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_INT32 = struct.Struct(">I")
_INT16 = struct.Struct(">H")
_COLUMN = struct.Struct(">Ii")


def decode(data: bytes) -> Message | None:
    """Decode one message; None for what says nothing here (origins, types, truncates, messages outside transactions).

    Raises ``MessageCorrupt``.
    """
    try:
        match data[:1]:
            case b"I":
                return Insert(_relation(data), _tuple(data, _expect(data, 5, b"N"))[0])
            case b"U":
                return _update(data)
            case b"D":
                old, _ = _tuple(data, 6)
                return Delete(_relation(data), old, data[5:6] == b"O")
            case b"B":
                lsn, time_us, xid = _BEGIN.unpack_from(data, 1)
                return Begin(lsn, time_us + POSTGRES_EPOCH_S * 1_000_000, xid)
            case b"C":
                _flags, _commit_lsn, end_lsn, _time = _COMMIT.unpack_from(data, 1)
                return Commit(end_lsn)
            case b"R":
                return _relation_message(data)
            case b"M":
                return _logical_message(data)
            case b"O" | b"Y" | b"T":
                return None
    except (struct.error, UnicodeDecodeError, ValueError, IndexError) as error:
        raise MessageCorrupt("a message of the replication stream ends too early") from error
    raise MessageCorrupt(f"unknown message kind {data[:1]!r}")


def relation_oid_of_change(data: bytes) -> int | None:
    """The relation of an insert, update or delete, without decoding the rest; None for other messages."""
    return _INT32.unpack_from(data, 1)[0] if data[:1] in (b"I", b"U", b"D") and len(data) >= 5 else None


def _relation(data: bytes) -> int:
    oid: int = _INT32.unpack_from(data, 1)[0]
    return oid


def _expect(data: bytes, position: int, kind: bytes) -> int:
    if data[position : position + 1] != kind:
        raise MessageCorrupt(f"expected {kind!r}")
    return position + 1


def _update(data: bytes) -> Update:
    old: tuple[Cell, ...] | None = None
    kind = data[5:6]
    position = 5
    if kind in (b"K", b"O"):
        old, position = _tuple(data, 6)
    new, _ = _tuple(data, _expect(data, position, b"N"))
    return Update(_relation(data), new, old, kind == b"O")


def _tuple(data: bytes, position: int) -> tuple[tuple[Cell, ...], int]:
    count = _INT16.unpack_from(data, position)[0]
    position += 2
    cells: list[Cell] = []
    for _ in range(count):
        kind = data[position]
        position += 1
        if kind == 0x74:  # t: text follows
            size = _INT32.unpack_from(data, position)[0]
            position += 4
            end = position + size
            if end > len(data):
                raise MessageCorrupt("a value ends after its message")
            cells.append(str(data[position:end], "utf-8"))
            position = end
        elif kind == 0x6E:  # n: NULL
            cells.append(None)
        elif kind == 0x75:  # u: unchanged TOAST value
            cells.append(UNCHANGED)
        else:
            raise MessageCorrupt(f"unknown value kind {kind}")
    return tuple(cells), position


def _text(data: bytes, position: int) -> tuple[str, int]:
    end = data.index(b"\x00", position)
    return str(data[position:end], "utf-8"), end + 1


def _logical_message(data: bytes) -> LogicalMessage | None:
    is_transactional = bool(data[1] & 1)
    prefix, position = _text(data, 10)
    start = position + 4
    end = start + _INT32.unpack_from(data, position)[0]
    if end > len(data):
        raise MessageCorrupt("a message ends after the one that holds it")
    return LogicalMessage(prefix, data[start:end]) if is_transactional else None


def _relation_message(data: bytes) -> Relation:
    schema, position = _text(data, 5)
    table, position = _text(data, position)
    position += 1  # the replica identity's kind: the columns' flags say what is needed
    count = _INT16.unpack_from(data, position)[0]
    position += 2
    columns: list[RelationColumn] = []
    for _ in range(count):
        is_identity = bool(data[position] & 1)
        name, position = _text(data, position + 1)
        type_oid, _modifier = _COLUMN.unpack_from(data, position)
        position += 8
        columns.append(RelationColumn(name, type_oid, is_identity))
    return Relation(_relation(data), schema or "pg_catalog", table, tuple(columns))
