"""The last transactions of the log as they came from the server: a ring in memory, bounded in time and bytes.

Replays for clients, gaps of other nodes and the refilling after a change of leader are answered from here. Transactions are
kept as raw messages, in slices of bounded size, each tied to the one before it (``after``), so that a missing one is noticed
and one that comes again is passed over. Pure: the caller tells the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from isobase_services.realtime.changes.pgoutput import Relation
from isobase_services.realtime.changes.position import START, Point, Position

__all__ = ["AnnouncedRelation", "ChangeLog", "Entry", "GapFound", "PositionTooOld", "Slice"]

SLICE_OVERHEAD_BYTES = 400
ENTRY_OVERHEAD_BYTES = 100
"""What the objects around a slice and around one message take."""


class GapFound(Exception):
    """A slice does not follow what is here: something between is missing."""


class PositionTooOld(Exception):
    """What came after the position is not kept any more, or the position is of another history."""


@dataclass(slots=True, frozen=True, eq=False)
class AnnouncedRelation:
    """A table as the log described it: decoded, and the message it came in."""

    relation: Relation
    data: bytes


@dataclass(slots=True, frozen=True)
class Entry:
    """One insert, update or delete, undecoded."""

    table: AnnouncedRelation
    data: bytes


@dataclass(slots=True, frozen=True)
class Slice:
    """Consecutive changes of one transaction, at least one.

    ``after``: the point up to which the log was complete before it. ``first_index``: the number of its first change.
    ``end_lsn``: the position behind the transaction, known with its last slice (else 0). ``announced``: the tables that the
    server described anew here, because something about them changed. ``size_bytes``: what it takes in memory.
    """

    commit_lsn: int
    commit_time_us: int
    xid: int
    after: Point
    first_index: int
    entries: tuple[Entry, ...]
    is_last: bool
    end_lsn: int
    announced: frozenset[int]
    size_bytes: int

    @property
    def last(self) -> Point:
        """The point of its last change."""
        return Point(self.commit_lsn, self.first_index + len(self.entries) - 1)

    def beyond(self, point: Point) -> Slice:
        """The part of it that lies behind ``point``, which is not behind its end."""
        if point.lsn != self.commit_lsn or point.number < self.first_index:
            return self
        skipped = point.number - self.first_index + 1
        entries = self.entries[skipped:]
        size_bytes = self.size_bytes - sum(entry_size_bytes(entry) for entry in self.entries[:skipped])
        return replace(self, after=point, first_index=point.number + 1, entries=entries, size_bytes=size_bytes)


def entry_size_bytes(entry: Entry) -> int:
    """What one entry takes in memory, in bytes."""
    return len(entry.data) + ENTRY_OVERHEAD_BYTES


class ChangeLog:
    """The ring of one node. ``max_age_s`` and ``max_bytes`` bound what is kept; what goes is forgotten from the oldest on.

    ``epoch`` is None until ``reset`` has named the history. ``head``: everything up to it is or was here. ``floor``: what
    came up to it is not kept (any more).
    """

    def __init__(self, *, max_age_s: float, max_bytes: int) -> None:
        self.max_age_s = max_age_s
        self.max_bytes = max_bytes
        self.epoch: str | None = None
        self.floor = START
        self.head = START
        self.size_bytes = 0
        self._kept: deque[tuple[float, Slice]] = deque()
        self._released_lsn = 0
        self._is_whole = True

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget everything, the history's name too."""
        self.reset("", START)
        self.epoch = None

    def reset(self, epoch: str, floor: Point) -> None:
        """Begin (again) with nothing, at ``floor`` of the history ``epoch``."""
        self._kept.clear()
        self.size_bytes = 0
        self.epoch = epoch
        self.floor = self.head = floor
        self._released_lsn = floor.lsn
        self._is_whole = True

    def append(self, item: Slice, now_s: float) -> Slice | None:
        """Keep a slice; returns what of it is new, None when nothing is. Raises ``GapFound`` when it does not follow."""
        if item.last <= self.head:
            return None
        if item.after > self.head:
            raise GapFound
        fresh = item.beyond(self.head)
        self._kept.append((now_s, fresh))
        self.size_bytes += fresh.size_bytes
        self.head = fresh.last
        self._is_whole = fresh.is_last
        self.evict(now_s)
        return fresh

    def advance(self, point: Point) -> None:
        """Nothing was committed up to ``point`` that is not here already."""
        if point > self.head and self._is_whole:
            self.head = point

    def evict(self, now_s: float) -> None:
        """Forget what is too old or too much."""
        while self._kept and (now_s - self._kept[0][0] > self.max_age_s or self.size_bytes > self.max_bytes):
            _, item = self._kept.popleft()
            self.size_bytes -= item.size_bytes
            self.floor = item.last
            if item.is_last:
                self._released_lsn = item.end_lsn

    @property
    def released_lsn(self) -> int:
        """Up to where the server need not keep its log for this one: all transactions before it are whole and forgotten."""
        if not self._kept and self._is_whole:
            return max(self._released_lsn, self.head.lsn if self.head.number == 0 else 0)
        return self._released_lsn

    def released_lsn_within(self, max_held_bytes: int) -> int:
        """As ``released_lsn``, but never more than about ``max_held_bytes`` of the server's log behind the head.

        The changes stay in the ring; only a process that starts anew does not get them again.
        """
        released_lsn = self.released_lsn
        wanted_lsn = self.head.lsn - max_held_bytes
        if released_lsn >= wanted_lsn:
            return released_lsn
        for _, item in self._kept:
            if item.commit_lsn > wanted_lsn:
                break
            if item.is_last:
                released_lsn = max(released_lsn, item.end_lsn)
        return released_lsn

    @property
    def last_change(self) -> Point:
        """The point of the newest change that is kept; ``floor`` when none is."""
        return self._kept[-1][1].last if self._kept else self.floor

    def check(self, since: Position) -> None:
        """Raises ``PositionTooOld`` when what came after ``since`` is not all here."""
        if since.epoch != self.epoch or since.point < self.floor or since.point > self.head:
            raise PositionTooOld

    def between(self, since: Point, until: Point) -> Iterator[Slice]:
        """The slices (cut where needed at the start) behind ``since`` that begin at or before ``until``, oldest first.

        The caller stops at ``until`` within the last one. The iterator is over a copy: the log may grow meanwhile.
        """
        for _, item in list(self._kept):
            if item.last <= since:
                continue
            if Point(item.commit_lsn, item.first_index) > until:
                return
            yield item.beyond(since)

    def page(self, since: Point, max_bytes: int) -> list[Slice]:
        """The slices behind ``since``, oldest first, up to about ``max_bytes`` (at least one where there is one)."""
        page: list[Slice] = []
        size_bytes = 0
        for _, item in self._kept:
            if item.last <= since:
                continue
            page.append(item.beyond(since))
            size_bytes += item.size_bytes
            if size_bytes >= max_bytes:
                break
        return page
