"""Tells every message once, though it comes from both sides, in any order. Pure: no sockets, the time is an argument.

Row changes: the side that is written first (the leader) sees every state of a row; the other sees what was carried,
which may leave states out (two changes carried as one) but never makes new ones. So the leader's changes are told as they
come, in their order, and each takes its double of the other side away, whichever came first. What the other side alone
has waits ``WINDOW_S`` for the leader's; then it was lost there, and is told, unless something newer of its row was.
Doubles are matched by table, key and the row's content, one by one: a row that goes A, B, A is told three times.
Which row a change is of is said by its identity's columns, which updates and deletes show; a delete is the newest of its row,
so nothing that waits is told after it.

Broadcasts have no leader: whoever is first is told, and the double of the other side is taken away, one by one.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from isobase_adapter.sides import Side

__all__ = ["BroadcastMatcher", "RowChange", "RowMatcher", "row_change"]

WINDOW_S = 5.0
"""How long a change of the other side waits for the leader's."""
MEMORY_S = 120.0
"""How long a message that was told waits for its double."""
MAX_KEYS = 20_000


@dataclass(slots=True, frozen=True)
class RowChange:
    """A change as a listener hears it. ``key``: listener, table, whether it is a delete, and the row's first column.

    ``table``: listener and table. ``first``: the first column's name. ``identity``: the columns that tell the row from
    others, where the change shows them. ``sibling``: the key of the row's deletes, or of what is no delete.
    """

    key: Hashable
    content: Mapping[str, Any]
    payload: Any
    kind: str = ""
    table: Hashable = None
    first: str = ""
    identity: tuple[str, ...] = ()
    sibling: Hashable = None


@dataclass(slots=True)
class _Seen:
    side: Side
    change: RowChange
    at_s: float


@dataclass(slots=True)
class _Row:
    """What is open about one key: changes that were told and wait for their double, and others that wait to be told."""

    told: deque[_Seen]
    waiting: deque[_Seen]


def row_change(listener: Hashable, payload: Mapping[str, Any]) -> RowChange:
    """Read a change as both servers send it."""
    data = payload["data"]
    kind = str(getattr(data.get("type"), "value", data.get("type")))
    is_delete = kind == "DELETE"
    content = (data.get("old_record") if is_delete else data.get("record")) or {}
    columns = [column["name"] for column in data.get("columns") or () if column.get("name") in content]
    first = columns[0] if columns else next(iter(sorted(content)), "")
    name = (data.get("schema"), data.get("table"))
    value = _text(content.get(first))
    return RowChange(
        (listener, name, is_delete, first, value),
        content,
        payload,
        kind,
        (listener, name),
        first,
        _identity(data),
        (listener, name, not is_delete, first, value),
    )


def _identity(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the columns that an old row consists of, where it is not whole."""
    old = data.get("old_record") or {}
    names = [column["name"] for column in data.get("columns") or ()]
    shown = tuple(name for name in names if name in old)
    return shown if len(shown) < len(names) else ()


class RowMatcher:
    """Row changes of one channel."""

    def __init__(self, window_s: float = WINDOW_S, memory_s: float = MEMORY_S) -> None:
        self._window_s = window_s
        self._memory_s = memory_s
        self._rows: OrderedDict[Hashable, _Row] = OrderedDict()
        self._identities: dict[Hashable, tuple[str, ...]] = {}
        self._newest: OrderedDict[Hashable, float] = OrderedDict()
        """Until when what came from a side of a row is older than what was told of it."""

    def arrived(self, side: Side, change: RowChange, *, leads: bool, now_s: float) -> list[RowChange]:
        """Take a change in; gives what is to be told now. leads: its side is written first, or the other is away."""
        self._learn(change)
        row = self._row(change.key, now_s)
        if _take(row.told, side.other, change) is not None:
            self._outdate(side, change, now_s)
            return []
        double = _take(row.waiting, side.other, change)
        if not leads and double is None:
            row.waiting.append(_Seen(side, change, now_s))
            return []
        # What waits from this side is older: the other led when it came. What the other side sent before the double is
        # older, too, where neither led, and before a delete: the leader has told all that it has of the row by then.
        # Before another state it may be newer, as a row comes back to what it was.
        found = self._earlier(side, change, now_s)
        if double is None:
            row.told.append(_Seen(side, change, now_s))
        elif not leads or change.kind == "DELETE":
            found = [*self._earlier(side.other, change, double.at_s), *found]
        self._outdate(side, change, now_s)
        self._outdate(side.other, change, double.at_s if double is not None else now_s)
        return [*found, change]

    def _earlier(self, side: Side, change: RowChange, until_s: float) -> list[RowChange]:
        """Give what waits from a side of a change's row, for it to be told before the change."""
        which, keys = self._which(change), {change.key, change.sibling}
        rows = [self._rows[key] for key in keys if key in self._rows]
        found: list[_Seen] = []
        for row in rows:
            for seen in [seen for seen in row.waiting if seen.side is side and seen.at_s <= until_s]:
                if self._which(seen.change) == which and not self._is_outdated(seen):
                    row.waiting.remove(seen)
                    row.told.append(seen)
                    found.append(seen)
        return [seen.change for seen in sorted(found, key=lambda each: each.at_s)]

    def due(self, now_s: float) -> list[RowChange]:
        """Give what has waited long enough, in the order in which it came."""
        return self._released(lambda seen: now_s - seen.at_s >= self._window_s, now_s)

    def release(self, side: Side, now_s: float) -> list[RowChange]:
        """Give what waits from a side, as nobody else will tell it: it leads from now on."""
        return self._released(lambda seen: seen.side is side, now_s)

    @property
    def is_waiting(self) -> bool:
        """Whether anything waits to be told."""
        return any(row.waiting for row in self._rows.values())

    def _released(self, is_due: Any, now_s: float) -> list[RowChange]:
        found: list[tuple[float, RowChange]] = []
        for row in self._rows.values():
            for seen in [seen for seen in row.waiting if is_due(seen)]:
                row.waiting.remove(seen)
                if self._is_outdated(seen):
                    continue  # something newer of this row was told meanwhile
                row.told.append(_Seen(seen.side, seen.change, now_s))
                # As old as it is, not as new as now: what came right after it still waits, and is told next.
                for side in Side:
                    self._outdate(side, seen.change, seen.at_s)
                found.append((seen.at_s, seen.change))
        return [change for _, change in sorted(found, key=lambda each: each[0])]

    def _is_outdated(self, seen: _Seen) -> bool:
        return self._newest.get((seen.side, self._which(seen.change)), seen.at_s) > seen.at_s

    def _outdate(self, side: Side, change: RowChange, at_s: float) -> None:
        """What came from a side of a change's row before ``at_s`` is not to be told any more."""
        entry = (side, self._which(change))
        self._newest[entry] = max(self._newest.get(entry, at_s), at_s)
        self._newest.move_to_end(entry)
        while len(self._newest) > MAX_KEYS or next(iter(self._newest.values())) < at_s - self._memory_s:
            self._newest.popitem(last=False)

    def _learn(self, change: RowChange) -> None:
        """Keep what tells a table's rows apart; where old rows are shown whole, the first column has to do."""
        if change.identity:
            self._identities[change.table] = change.identity
        elif change.kind != "INSERT" and change.content:
            self._identities.setdefault(change.table, (change.first,))

    def _which(self, change: RowChange) -> Hashable:
        """Which row a change is of. Until anything has told rows apart, each insert is of a row of its own."""
        names = self._identities.get(change.table)
        if names is None or any(name not in change.content for name in names):
            return (change.key, _text(change.content))
        return (change.table, names, *(_text(change.content[name]) for name in names))

    def _row(self, key: Hashable, now_s: float) -> _Row:
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = _Row(deque(), deque())
        self._rows.move_to_end(key)
        while row.told and now_s - row.told[0].at_s > self._memory_s:
            row.told.popleft()
        while len(self._rows) > 1:
            oldest = next(iter(self._rows.values()))
            is_old = not oldest.waiting and (not oldest.told or now_s - oldest.told[-1].at_s > self._memory_s)
            if not is_old and len(self._rows) <= MAX_KEYS:
                break
            self._rows.popitem(last=False)
        return row


class BroadcastMatcher:
    """Broadcasts of one channel: of each event and payload as many are told as the side has sent that sent more."""

    def __init__(self, memory_s: float = MEMORY_S) -> None:
        self._memory_s = memory_s
        self._told: OrderedDict[Hashable, deque[tuple[Side, float]]] = OrderedDict()

    def is_new(
        self, side: Side, listener: Hashable, message: Mapping[str, Any], *, other_hears: bool, now_s: float
    ) -> bool:
        """Whether a broadcast is to be told. other_hears: the other side is joined, and will bring it too."""
        key = (listener, message.get("event"), _text(message.get("payload")))
        told = self._told.setdefault(key, deque())
        self._told.move_to_end(key)
        while told and now_s - told[0][1] > self._memory_s:
            told.popleft()
        double = next((entry for entry in told if entry[0] is side.other), None)
        if double is not None:
            told.remove(double)
        elif other_hears:
            told.append((side, now_s))
        self._forget(now_s)
        return double is None

    def _forget(self, now_s: float) -> None:
        while self._told:
            oldest = next(iter(self._told.values()))
            is_old = not oldest or now_s - oldest[-1][1] > self._memory_s
            if not is_old and len(self._told) <= MAX_KEYS:
                break
            self._told.popitem(last=False)


def _take(entries: deque[_Seen], side: Side, change: RowChange) -> _Seen | None:
    """Take the double of a change away: the one that is equal (an insert for an insert, where there is one; two changes
    that were carried as one come as another kind), else the oldest that differs only where one side tells
    nothing (a large value that did not change is not sent).
    """
    fitting = [seen for seen in entries if seen.side is side and _fits(seen.change.content, change.content)]
    if not fitting:
        return None
    equal = [seen for seen in fitting if seen.change.content == change.content]
    found = next((seen for seen in equal if seen.change.kind == change.kind), equal[0] if equal else fitting[0])
    entries.remove(found)
    return found


def _fits(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(
        value is None or other[name] is None or value == other[name] for name, value in one.items() if name in other
    )


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"bytes:{bytes(value).hex()}"
    return json.dumps(value, sort_keys=True, default=str)
