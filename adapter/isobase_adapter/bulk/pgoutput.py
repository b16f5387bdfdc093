"""Reads what PostgreSQL's ``pgoutput`` writes of the log: which rows of which tables each transaction changed.

Only keys are wanted (rows are carried as they are by then), so values of other columns are passed over. A pure decoder:
bytes in, values out. Source: PostgreSQL, "Logical Replication Message Formats", protocol version 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from isobase_adapter.rows.database import CARRIED_MARK

__all__ = ["ChangedRow", "Commit", "Decoder", "Truncated"]

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_UNCHANGED = object()


@dataclass(slots=True, frozen=True)
class ChangedRow:
    """A row that was written or deleted. ``keys``: one key, or two where the key itself changed; each column -> text.

    None where the log does not hold a whole key: then the table has to be compared.
    """

    resource: str
    keys: tuple[dict[str, str], ...] | None
    is_carried: bool


@dataclass(slots=True, frozen=True)
class Truncated:
    """A table that was emptied."""

    resource: str
    is_carried: bool


@dataclass(slots=True, frozen=True)
class Commit:
    """The end of a transaction. ``end_lsn``: up to there the log may be forgotten."""

    end_lsn: int
    at: datetime


@dataclass(slots=True)
class _Relation:
    resource: str
    columns: list[tuple[str, bool]]
    """Name, and whether it is part of the replica identity."""


@dataclass(slots=True)
class Decoder:
    """Decodes messages in their order. ``key_of``: the columns that name a table's rows, by ``schema.table``."""

    key_of: dict[str, tuple[str, ...]]
    _relations: dict[int, _Relation] = field(default_factory=dict)
    _is_carried: bool = False

    def decode(self, message: bytes) -> Iterator[ChangedRow | Truncated | Commit]:
        """Give what a message says; most say one thing, some nothing."""
        kind, at = message[:1], 1
        if kind == b"B":
            self._is_carried = False
        elif kind == b"M":
            end = message.index(b"\0", 10)
            if message[10:end].decode() == CARRIED_MARK:
                self._is_carried = True
        elif kind == b"C":
            _, _, end_lsn, microseconds = struct.unpack_from("!bqqq", message, at)
            yield Commit(end_lsn, _EPOCH + timedelta(microseconds=microseconds))
        elif kind == b"R":
            self._keep_relation(message)
        elif kind in (b"I", b"U", b"D"):
            yield self._changed(message)
        elif kind == b"T":
            count, _ = struct.unpack_from("!ib", message, at)
            for number in struct.unpack_from(f"!{count}i", message, at + 5):
                yield Truncated(self._relations[number].resource, self._is_carried)

    def _keep_relation(self, message: bytes) -> None:
        (number,) = struct.unpack_from("!i", message, 1)
        schema, at = _text(message, 5)
        name, at = _text(message, at)
        (count,) = struct.unpack_from("!h", message, at + 1)
        at += 3
        columns: list[tuple[str, bool]] = []
        for _ in range(count):
            flags = message[at]
            column, at = _text(message, at + 1)
            columns.append((column, bool(flags & 1)))
            at += 8
        self._relations[number] = _Relation(f"{schema or 'pg_catalog'}.{name}", columns)

    def _changed(self, message: bytes) -> ChangedRow:
        (number,) = struct.unpack_from("!i", message, 1)
        relation = self._relations[number]
        wanted = self.key_of.get(relation.resource, ())
        at = 5
        keys: list[dict[str, str]] = []
        is_whole = bool(wanted)
        while at < len(message):
            part = message[at : at + 1]
            values, at = _values(message, at + 1, relation, wanted)
            if part in (b"K", b"O"):
                old = {name: value for name, value in values.items() if isinstance(value, str)}
                if len(old) == len(wanted):
                    keys.append(old)
                else:
                    is_whole = False
                continue
            # A long value that did not change is not in the log; then it is what it was.
            before = keys[0] if keys else {}
            new = {
                name: before[name] if value is _UNCHANGED and name in before else value
                for name, value in values.items()
            }
            found = {name: value for name, value in new.items() if isinstance(value, str)}
            if len(found) != len(wanted):
                is_whole = False
            elif found not in keys:
                keys.append(found)
        return ChangedRow(relation.resource, tuple(keys) if is_whole and keys else None, self._is_carried)


def _text(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(b"\0", at)
    return message[at:end].decode(), end + 1


def _values(
    message: bytes, at: int, relation: _Relation, wanted: tuple[str, ...]
) -> tuple[dict[str, str | object | None], int]:
    """Read a row; gives the wanted columns' values (text, None, or unchanged) and where it ends."""
    (count,) = struct.unpack_from("!h", message, at)
    at += 2
    values: dict[str, str | object | None] = {}
    for index in range(count):
        kind = message[at : at + 1]
        at += 1
        name = relation.columns[index][0]
        value: str | object | None = None
        if kind == b"u":
            value = _UNCHANGED
        elif kind in (b"t", b"b"):
            (size,) = struct.unpack_from("!i", message, at)
            at += 4
            if name in wanted:
                value = message[at : at + size].decode()
            at += size
        if name in wanted:
            values[name] = value
    return values, at
