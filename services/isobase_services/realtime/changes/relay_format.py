"""The messages by which the leader shares the log with the other processes, as bytes. Pure.

``Beat``: how far the leader is. ``Fresh``: a slice that has just come. ``Page``: slices that a process asked for, and where
it stands then. ``Want``: a process listens, and what it has. ``Bye``: the leader ends.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from isobase_services.realtime.changes.changelog import (
    SLICE_OVERHEAD_BYTES,
    AnnouncedRelation,
    Entry,
    Slice,
    entry_size_bytes,
)
from isobase_services.realtime.changes.pgoutput import MessageCorrupt, Relation, decode
from isobase_services.realtime.changes.position import Point, Position

__all__ = ["Beat", "Bye", "Fresh", "Page", "RelayCodec", "RelayMessage", "Standing", "Want", "encode"]

MAX_REMEMBERED_RELATIONS = 2_000

_SLICE = struct.Struct(">QqIQIIBQIHI")
_SIZE = struct.Struct(">I")
_ENTRY = struct.Struct(">HI")


@dataclass(slots=True, frozen=True)
class Standing:
    """How far a leader is. ``term``: a later leader's is higher. ``last``: its newest change; ``head``: up to where it knows
    of all there is; ``now``: everything up to it was committed before now. ``is_live``: False while a leader catches up.
    """

    term: int
    epoch: str
    floor: Point
    last: Point
    head: Point
    now: Point
    is_live: bool


@dataclass(slots=True, frozen=True)
class Beat:
    """From the leader to all, every second or two."""

    standing: Standing


@dataclass(slots=True, frozen=True)
class Fresh:
    """From the leader to all."""

    term: int
    epoch: str
    item: Slice


@dataclass(slots=True, frozen=True)
class Page:
    """From the leader to one process: all there is behind ``since``; ``is_all``: up to the leader's head."""

    standing: Standing
    since: Point
    is_all: bool
    items: tuple[Slice, ...]


@dataclass(slots=True, frozen=True)
class Want:
    """From a process to all: whether it listens, and where it is (None: nowhere yet). ``asks`` for the page behind that."""

    is_wanted: bool
    asks: bool
    after: Position | None


@dataclass(slots=True, frozen=True)
class Bye:
    """From a leader to all: it does not read the log any more."""


RelayMessage: TypeAlias = Beat | Fresh | Page | Want | Bye


def encode(message: RelayMessage) -> bytes:
    """A message as bytes: one letter, a line of JSON, and the slices."""
    match message:
        case Fresh(term=term, epoch=epoch, item=item):
            return _line("F", [term, epoch]) + _encode_slice(item)
        case Beat(standing=standing):
            return _line("B", _standing_fields(standing))
        case Page(standing=standing, since=since, is_all=is_all, items=items):
            return _line("P", [*_standing_fields(standing), since, is_all]) + b"".join(map(_encode_slice, items))
        case Want(is_wanted=is_wanted, asks=asks, after=after):
            point = None if after is None else [after.epoch, *after.point]
            return _line("W", [is_wanted, asks, point])
        case Bye():
            return _line("Q", [])


class RelayCodec:
    """Decodes messages; tables described by the same bytes become the same object."""

    def __init__(self) -> None:
        self._relations: dict[bytes, AnnouncedRelation] = {}

    def decode(self, data: bytes) -> RelayMessage:
        """What ``encode`` made. Raises ``ValueError`` for anything else."""
        try:
            return self._decode(data)
        except (struct.error, IndexError, TypeError, KeyError, MessageCorrupt) as error:
            raise ValueError("no message of a leader of this version") from error

    def _decode(self, data: bytes) -> RelayMessage:
        end = data.index(b"\n")
        fields = json.loads(data[1:end])
        match data[:1]:
            case b"F":
                return Fresh(int(fields[0]), str(fields[1]), self._slices(data, end + 1)[0])
            case b"B":
                return Beat(_standing(fields))
            case b"P":
                return Page(_standing(fields), _point(fields[7]), bool(fields[8]), tuple(self._slices(data, end + 1)))
            case b"W":
                point = fields[2]
                after = None if point is None else Position(str(point[0]), Point(int(point[1]), int(point[2])))
                return Want(bool(fields[0]), bool(fields[1]), after)
            case b"Q":
                return Bye()
        raise ValueError("an unknown kind of message")

    def _slices(self, data: bytes, position: int) -> list[Slice]:
        items: list[Slice] = []
        while position < len(data):
            item, position = self._slice(data, position)
            items.append(item)
        return items

    def _slice(self, data: bytes, position: int) -> tuple[Slice, int]:
        lsn, time_us, xid, after_lsn, after_number, first, is_last, end_lsn, announced, tables, entries = (
            _SLICE.unpack_from(data, position)
        )
        position += _SLICE.size
        oids = struct.unpack_from(f">{announced}I", data, position)
        position += 4 * announced
        relations: list[AnnouncedRelation] = []
        for _ in range(tables):
            size = _SIZE.unpack_from(data, position)[0]
            position += _SIZE.size
            relations.append(self._relation(_part(data, position, size)))
            position += size
        found: list[Entry] = []
        for _ in range(entries):
            table, size = _ENTRY.unpack_from(data, position)
            position += _ENTRY.size
            found.append(Entry(relations[table], _part(data, position, size)))
            position += size
        item = Slice(
            commit_lsn=lsn,
            commit_time_us=time_us,
            xid=xid,
            after=Point(after_lsn, after_number),
            first_index=first,
            entries=tuple(found),
            is_last=bool(is_last),
            end_lsn=end_lsn,
            announced=frozenset(oids),
            size_bytes=SLICE_OVERHEAD_BYTES + sum(map(entry_size_bytes, found)),
        )
        return item, position

    def _relation(self, data: bytes) -> AnnouncedRelation:
        known = self._relations.get(data)
        if known is None:
            relation = decode(data)
            if not isinstance(relation, Relation):
                raise ValueError("not the description of a table")
            if len(self._relations) >= MAX_REMEMBERED_RELATIONS:
                self._relations.clear()
            known = self._relations[data] = AnnouncedRelation(relation, data)
        return known


def _part(data: bytes, position: int, size: int) -> bytes:
    part = data[position : position + size]
    if len(part) != size:
        raise ValueError("a message of the leader ends too early")
    return part


def _line(kind: str, fields: Sequence[object]) -> bytes:
    return kind.encode() + json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _standing_fields(item: Standing) -> list[object]:
    return [item.term, item.epoch, item.floor, item.last, item.head, item.now, item.is_live]


def _standing(fields: Sequence[object]) -> Standing:
    term, epoch, floor, last, head, now, is_live, *_ = fields
    return Standing(int(str(term)), str(epoch), _point(floor), _point(last), _point(head), _point(now), bool(is_live))


def _point(value: object) -> Point:
    if not isinstance(value, list):
        raise ValueError("not a point")
    return Point(int(value[0]), int(value[1]))


def _encode_slice(item: Slice) -> bytes:
    tables: dict[int, tuple[int, bytes]] = {}
    parts: list[bytes] = []
    for entry in item.entries:
        number, _ = tables.setdefault(id(entry.table), (len(tables), entry.table.data))
        parts.append(_ENTRY.pack(number, len(entry.data)))
        parts.append(entry.data)
    head = _SLICE.pack(
        item.commit_lsn,
        item.commit_time_us,
        item.xid,
        item.after.lsn,
        item.after.number,
        item.first_index,
        item.is_last,
        item.end_lsn,
        len(item.announced),
        len(tables),
        len(item.entries),
    )
    described = [part for _, data in tables.values() for part in (_SIZE.pack(len(data)), data)]
    return b"".join((head, struct.pack(f">{len(item.announced)}I", *item.announced), *described, *parts))
