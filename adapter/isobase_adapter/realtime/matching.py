"""Tells every message once, though it comes from both sides, in any order. Pure: no sockets, the time is an argument.

Row changes: the side that is written first (the leader) sees every state of a row; the other sees what was carried,
which may leave states out (two changes carried as one) but never makes new ones. So the leader's changes are told as they
come, in their order, and each takes its double of the other side away, whichever came first. What the other side alone
has waits ``WINDOW_S`` for the leader's; then it was lost there, and is told, unless something newer of its row was.
Doubles are matched by table, key and the row's content, one by one: a row that goes A, B, A is told three times.

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
    """A change as a listener hears it. ``key``: listener, table, whether it is a delete, and the row's first column."""

    key: Hashable
    content: Mapping[str, Any]
    payload: Any
    kind: str = ""


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
    told_at_s: float = float("-inf")


def row_change(listener: Hashable, payload: Mapping[str, Any]) -> RowChange:
    """Read a change as both servers send it."""
    data = payload["data"]
    is_delete = data.get("type") == "DELETE"
    content = (data.get("old_record") if is_delete else data.get("record")) or {}
    columns = [column["name"] for column in data.get("columns") or () if column.get("name") in content]
    first = columns[0] if columns else next(iter(sorted(content)), "")
    name = (data.get("schema"), data.get("table"))
    return RowChange(
        (listener, name, is_delete, first, _text(content.get(first))), content, payload, str(data.get("type"))
    )


class RowMatcher:
    """Row changes of one channel."""

    def __init__(self, window_s: float = WINDOW_S, memory_s: float = MEMORY_S) -> None:
        self._window_s = window_s
        self._memory_s = memory_s
        self._rows: OrderedDict[Hashable, _Row] = OrderedDict()

    def arrived(self, side: Side, change: RowChange, *, leads: bool, now_s: float) -> list[RowChange]:
        """Take a change in; gives what is to be told now. leads: its side is written first, or the other is away."""
        row = self._row(change.key, now_s)
        if _take(row.told, side.other, change) is not None:
            return []
        if not leads:
            row.waiting.append(_Seen(side, change, now_s))
            return []
        row.told_at_s = now_s
        if _take(row.waiting, side.other, change) is None:
            row.told.append(_Seen(side, change, now_s))
        return [change]

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
            newest_s = row.told_at_s
            for seen in [seen for seen in row.waiting if is_due(seen)]:
                row.waiting.remove(seen)
                if newest_s > seen.at_s:
                    continue  # something newer of this row was told meanwhile
                row.told.append(_Seen(seen.side, seen.change, now_s))
                # As old as it is, not as new as now: what came right after it still waits, and is told next.
                row.told_at_s = max(row.told_at_s, seen.at_s)
                found.append((seen.at_s, seen.change))
        return [change for _, change in sorted(found, key=lambda each: each[0])]

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
