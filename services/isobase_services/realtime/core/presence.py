"""Presence of one topic: who is there, and the difference that each change makes.

A key may be tracked by several channels; each is one meta under that key. Source: contracts/realtime.md 1.9.
"""

from __future__ import annotations

import itertools
import os
from base64 import urlsafe_b64encode
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from isobase_services.realtime.wire.messages import dump

__all__ = ["Presence", "PresenceDiff"]

_numbers = itertools.count(1)
_process = os.urandom(4)


@dataclass(slots=True, frozen=True)
class _Entry:
    key: str
    ref: str
    fields: Mapping[str, object]
    previous_ref: str | None

    @property
    def meta(self) -> dict[str, object]:
        meta: dict[str, object] = {**self.fields, "phx_ref": self.ref}
        if self.previous_ref is not None:
            meta["phx_ref_prev"] = self.previous_ref
        return meta


@dataclass(slots=True, frozen=True)
class PresenceDiff:
    """What changed, as the payload of ``presence_diff``."""

    joins: tuple[_Entry, ...] = ()
    leaves: tuple[_Entry, ...] = ()

    @property
    def payload(self) -> str:
        """JSON text ``{"joins": {...}, "leaves": {...}}``."""
        return dump({"joins": _grouped(self.joins), "leaves": _grouped(self.leaves)})


class Presence:
    """The tracked members of one topic, by whoever tracks (a channel)."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}

    def track(self, member: Hashable, key: str, fields: Mapping[str, object]) -> PresenceDiff | None:
        """Track ``member`` under ``key``; None when it is tracked with the same fields already.

        Tracking again is an update: the old meta leaves and the new one, which names the old ref, joins.
        """
        old = self._entries.get(member)
        if old is None:
            entry = _Entry(key, _new_ref(), fields, None)
            self._entries[member] = entry
            return PresenceDiff(joins=(entry,))
        if old.fields == fields:
            return None
        entry = _Entry(key, _new_ref(), fields, old.ref)
        self._entries[member] = entry
        return PresenceDiff(joins=(entry,), leaves=(old,))

    def untrack(self, member: Hashable) -> PresenceDiff | None:
        """Forget ``member``; None when it was not tracked."""
        entry = self._entries.pop(member, None)
        return None if entry is None else PresenceDiff(leaves=(entry,))

    @property
    def state(self) -> str:
        """JSON text of ``presence_state``: ``{key: {"metas": [...]}}``, ``{}`` when nobody is tracked."""
        return dump(_grouped(tuple(self._entries.values())))


def _grouped(entries: tuple[_Entry, ...]) -> dict[str, dict[str, list[dict[str, object]]]]:
    grouped: dict[str, dict[str, list[dict[str, object]]]] = {}
    for entry in entries:
        grouped.setdefault(entry.key, {"metas": []})["metas"].append(entry.meta)
    return grouped


def _new_ref() -> str:
    return urlsafe_b64encode(_process + next(_numbers).to_bytes(5, "big")).decode()
