"""From the messages of a replication stream to slices of transactions. Pure; no change is decoded.

A transaction that says that its rows are a copy (``COPIED``) is passed over: they were told where they were written.
A large transaction becomes several slices, so that none is ever held in memory as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from isobase_services.realtime.changes.changelog import (
    SLICE_OVERHEAD_BYTES,
    AnnouncedRelation,
    Entry,
    Slice,
    entry_size_bytes,
)
from isobase_services.realtime.changes.pgoutput import (
    Begin,
    Commit,
    LogicalMessage,
    MessageCorrupt,
    Relation,
    decode,
    relation_oid_of_change,
)
from isobase_services.realtime.changes.position import Point

__all__ = ["COPIED", "MAX_SLICE_BYTES", "MAX_SLICE_ENTRIES", "Assembler"]

MAX_SLICE_BYTES = 256 * 1024
MAX_SLICE_ENTRIES = 500
COPIED = LogicalMessage("isobase.carried", b"copied")
"""What ``isobase migrate copy`` says of its transactions, before their rows."""


@dataclass(slots=True)
class _Open:
    """The transaction that is being received."""

    begin: Begin
    entries: list[Entry]
    first_index: int
    size_bytes: int
    is_copied: bool = False


class Assembler:
    """One per stream. ``start``: the point from which the stream tells everything; ``head``: up to where it has."""

    def __init__(self, start: Point) -> None:
        self.head = start
        self._open: _Open | None = None
        self._relations: dict[int, AnnouncedRelation] = {}
        self._announced: set[int] = set()

    def take(self, data: bytes) -> Slice | None:
        """One message; returns a slice when one is full or its transaction ended. Raises ``MessageCorrupt``."""
        oid = relation_oid_of_change(data)
        if oid is not None:
            return self._take_change(oid, data)
        match decode(data):
            case Begin() as begin:
                self._open = _Open(begin, [], 1, SLICE_OVERHEAD_BYTES)
            case Relation() as relation:
                self._relations[relation.oid] = AnnouncedRelation(relation, data)
                self._announced.add(relation.oid)
            case LogicalMessage() as message if message == COPIED and self._open is not None:
                self._open.is_copied = True
            case Commit(end_lsn=end_lsn):
                return self._end(end_lsn)
        return None

    def advance(self, lsn: int) -> Point | None:
        """The server has read its log up to ``lsn``; returns the new head, None within a transaction or for old news."""
        if self._open is not None or lsn <= self.head.lsn:
            return None
        self.head = Point(lsn, 0)
        return self.head

    def _take_change(self, oid: int, data: bytes) -> Slice | None:
        table = self._relations.get(oid)
        if table is None or self._open is None:
            raise MessageCorrupt("a change of a relation or transaction that was not announced")
        if self._open.is_copied:
            return None
        entry = Entry(table, data)
        size_bytes = entry_size_bytes(entry)
        full = None
        is_full = self._open.size_bytes + size_bytes > MAX_SLICE_BYTES or len(self._open.entries) >= MAX_SLICE_ENTRIES
        if is_full and self._open.entries:
            # Only now that another change follows, so that a transaction's last slice is never empty.
            full = self._cut(self._open, end_lsn=None)
        self._open.entries.append(entry)
        self._open.size_bytes += size_bytes
        return full

    def _end(self, end_lsn: int) -> Slice | None:
        if self._open is None:
            raise MessageCorrupt("a commit of a transaction that was not announced")
        transaction, self._open = self._open, None
        if not transaction.entries:
            # A TRUNCATE alone, or copied rows. The head stays: what follows would not fit to a log that was told nothing
            # of this.
            return None
        return self._cut(transaction, end_lsn)

    def _cut(self, transaction: _Open, end_lsn: int | None) -> Slice:
        item = Slice(
            commit_lsn=transaction.begin.commit_lsn,
            commit_time_us=transaction.begin.commit_time_us,
            xid=transaction.begin.xid,
            after=self.head,
            first_index=transaction.first_index,
            entries=tuple(transaction.entries),
            is_last=end_lsn is not None,
            end_lsn=end_lsn or 0,
            announced=frozenset(self._announced),
            size_bytes=transaction.size_bytes,
        )
        self.head = item.last
        self._announced.clear()
        transaction.first_index += len(transaction.entries)
        transaction.entries = []
        transaction.size_bytes = SLICE_OVERHEAD_BYTES
        return item
