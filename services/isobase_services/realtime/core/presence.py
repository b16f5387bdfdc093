"""Presence of one topic: who is there, and the difference that each change makes.

A key may be tracked by several channels, here and in other processes; each is one meta under that key. Neighbour:
``presence_elsewhere`` knows those of other processes. Source: contracts/realtime.md 1.9.
"""

from __future__ import annotations

import itertools
import os
from base64 import urlsafe_b64encode
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from isobase_services.realtime.wire.messages import dump

__all__ = ["Presence", "PresenceDiff", "PresenceEntry", "PresenceRefs"]


@dataclass(slots=True, frozen=True)
class PresenceEntry:
    """One tracked member. ``ref`` is its own for ever; ``meta`` is the JSON text of its meta, refs included."""

    key: str
    ref: str
    meta: str


@dataclass(slots=True, frozen=True)
class PresenceDiff:
    """What changed, as the payload of ``presence_diff``."""

    joins: tuple[PresenceEntry, ...] = ()
    leaves: tuple[PresenceEntry, ...] = ()

    @property
    def payload(self) -> str:
        """JSON text ``{"joins": {...}, "leaves": {...}}``."""
        return f'{{"joins":{_grouped(self.joins)},"leaves":{_grouped(self.leaves)}}}'


class PresenceRefs:
    """Makes ``phx_ref``: no two are equal, whichever process made them."""

    __slots__ = ("_numbers", "_process")

    def __init__(self) -> None:
        # Asked for when a service is made, not on import: forked workers would share what was imported before.
        self._process = os.urandom(4)
        self._numbers = itertools.count(1)

    def new(self) -> str:
        """The next one."""
        return urlsafe_b64encode(self._process + next(self._numbers).to_bytes(5, "big")).decode()


class Elsewhere(Protocol):
    """Who of a topic is tracked by other processes."""

    def entries(self, topic: Hashable) -> Iterable[PresenceEntry]:
        """The tracked members of a topic."""
        ...


@dataclass(slots=True, frozen=True)
class _Tracked:
    entry: PresenceEntry
    fields: Mapping[str, object]


class Presence:
    """The tracked members of one topic, by whoever tracks (a channel)."""

    __slots__ = ("_elsewhere", "_refs", "_topic", "_tracked")

    def __init__(self, topic: Hashable, refs: PresenceRefs, elsewhere: Elsewhere) -> None:
        self._topic = topic
        self._refs = refs
        self._elsewhere = elsewhere
        self._tracked: dict[Hashable, _Tracked] = {}

    def track(self, member: Hashable, key: str, fields: Mapping[str, object]) -> PresenceDiff | None:
        """Track ``member`` under ``key``; None when it is tracked with the same fields already.

        Tracking again is an update: the old meta leaves and the new one, which names the old ref, joins.
        """
        if self.has(member, fields):
            return None
        old = self._tracked.get(member)
        ref = self._refs.new()
        meta: dict[str, object] = {**fields, "phx_ref": ref}
        if old is not None:
            meta["phx_ref_prev"] = old.entry.ref
        entry = PresenceEntry(key, ref, dump(meta))
        self._tracked[member] = _Tracked(entry, fields)
        return PresenceDiff(joins=(entry,), leaves=() if old is None else (old.entry,))

    def has(self, member: Hashable, fields: Mapping[str, object]) -> bool:
        """True when ``member`` is tracked with these fields already."""
        tracked = self._tracked.get(member)
        # By their text too: to Python true and 1 are equal, to clients they are not.
        return tracked is not None and tracked.fields == fields and dump(tracked.fields) == dump(fields)

    def untrack(self, member: Hashable) -> PresenceDiff | None:
        """Forget ``member``; None when it was not tracked."""
        tracked = self._tracked.pop(member, None)
        return None if tracked is None else PresenceDiff(leaves=(tracked.entry,))

    @property
    def entries(self) -> tuple[PresenceEntry, ...]:
        """Whom this process itself tracks."""
        return tuple(tracked.entry for tracked in self._tracked.values())

    @property
    def state(self) -> str:
        """JSON text of ``presence_state``: ``{key: {"metas": [...]}}``, ``{}`` when nobody is tracked anywhere."""
        return _grouped((*self.entries, *self._elsewhere.entries(self._topic)))


def _grouped(entries: Iterable[PresenceEntry]) -> str:
    grouped: dict[str, list[str]] = {}
    for entry in entries:
        grouped.setdefault(entry.key, []).append(entry.meta)
    members = (f'{dump(key)}:{{"metas":[{",".join(metas)}]}}' for key, metas in grouped.items())
    return f"{{{','.join(members)}}}"
