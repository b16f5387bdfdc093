"""What is carried from one side to the other, named by key: rows, users, objects.

Carrying goes by state, not by statement: "make this row at the target what it is at the source". So it may be done
again at any time, and the last time after the last write leaves both equal (docs/decisions/0037-state-is-carried.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

__all__ = ["Thing", "ThingKind", "distinct"]


class ThingKind(StrEnum):
    """What can be carried."""

    ROW = "row"
    """A row; resource ``schema.table``, key its primary key's values as JSON, in the key's order."""
    TABLE = "table"
    """Whatever differs in a table, where it is not known which rows a write changed; resource ``schema.table``,
    no key.
    """
    USER = "user"
    """A user with identities, sessions, refresh tokens and factors; resource ``auth``, key the user's id."""
    USERS = "users"
    """Whatever differs in auth's tables; resource ``auth``, no key."""
    OBJECT = "object"
    """An object of a bucket; resource the bucket's id, key the object's name."""
    OBJECTS = "objects"
    """Whatever differs in a bucket; resource the bucket's id, no key."""
    BUCKET = "bucket"
    """A bucket's own settings; resource the bucket's id, no key."""


WHOLE = frozenset({ThingKind.TABLE, ThingKind.USERS, ThingKind.OBJECTS})
"""Kinds that stand for everything of their resource."""


@dataclass(slots=True, frozen=True)
class Thing:
    """One thing to carry. ``key``: its values as JSON values; empty for kinds without a key."""

    kind: ThingKind
    resource: str
    key: tuple[Any, ...] = ()
    is_anew: bool = False
    """Of a row: it may have been inserted under a key that another row had. What the other one's deletion did to the rows
    that referred to it cannot be seen of this one, so those are carried with it.
    """

    @property
    def is_whole(self) -> bool:
        """Whether it stands for everything of its resource."""
        return self.kind in WHOLE

    @property
    def lock_number(self) -> int:
        """The signed 64-bit number of the advisory lock that whoever carries this thing holds on the target's
        database.
        """
        text = json.dumps([self.kind, self.resource, *self.key], separators=(",", ":"), ensure_ascii=False, default=str)
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)

    def as_json(self) -> dict[str, Any]:
        """Give it as the outbox keeps it."""
        value = {"kind": str(self.kind), "resource": self.resource, "key": list(self.key)}
        return value | {"is_anew": True} if self.is_anew else value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what ``as_json`` gave."""
        return cls(ThingKind(value["kind"]), value["resource"], tuple(value["key"]), value.get("is_anew", False))


def distinct(things: Iterable[Thing]) -> tuple[Thing, ...]:
    """Give each thing once, in the order of their first mention; one that is there anew by any mention is so."""
    found: dict[Thing, Thing] = {}
    for thing in things:
        name = replace(thing, is_anew=False) if thing.is_anew else thing
        if thing.is_anew or name not in found:
            found[name] = thing
    return tuple(found.values())
