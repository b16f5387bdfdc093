"""What an outbox keeps, apart from where: items, dead letters, limits, delays."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from isobase_adapter.contracts import CallRecord
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

__all__ = [
    "ADMISSION_LOCK_NUMBER",
    "END_IF_LEFT_OPEN",
    "FENCE_LOCK_NUMBER",
    "WHOLE_OF",
    "Entry",
    "Item",
    "OutboxLimits",
    "RowEdit",
    "State",
    "delay_s",
    "lock_numbers_to_check",
]

ADMISSION_LOCK_NUMBER = int.from_bytes(b"isobase", "big")
"""The advisory lock on the control database under which writes are let in, shared, and writers change (schema.sql).
"""

FENCE_LOCK_NUMBER = int.from_bytes(b"iso-out", "big")
"""The advisory lock, on the target's database, that carriers hold shared and a handover exclusively."""

END_IF_LEFT_OPEN = "set local idle_in_transaction_session_timeout = '5s'"
"""For transactions that hold one of these locks over several statements: a process that is stopped in the middle of one,
or whose network is gone, holds nobody up for longer.
"""

WHOLE_OF = {
    ThingKind.ROW: ThingKind.TABLE,
    ThingKind.USER: ThingKind.USERS,
    ThingKind.OBJECT: ThingKind.OBJECTS,
}
"""The kind that stands for everything of a kind's resource."""


class State(StrEnum):
    """What an entry of the outbox is."""

    INTENT = "intent"
    """A write that was let in and has not ended as far as anybody knows."""
    PENDING = "pending"
    """A thing to be carried."""
    DEAD = "dead"
    """A thing that could not be carried and waits for an operator."""


@dataclass(slots=True, frozen=True)
class OutboxLimits:
    """Times in seconds, and attempts.

    lease_s: when a first write has surely ended, if its call says nothing else; longer than the call's own time
    limit by at least ``send_within_s``. send_within_s: a call has to be sent so soon after it was let in.
    carry_s: how long one item may be carried before another worker takes it. attempts: how often an item is tried
    before it is dead. first_delay_s, longest_delay_s: the wait after the first failure, doubled with each more.
    """

    lease_s: float = 150.0
    send_within_s: float = 10.0
    carry_s: float = 60.0
    attempts: int = 12
    first_delay_s: float = 0.5
    longest_delay_s: float = 60.0


@dataclass(slots=True, frozen=True)
class RowEdit:
    """How an operator has a letter's row carried otherwise than the source has it.

    leave_out: columns that keep the target's value, or its default. image: values of columns, by name, laid over what the
    source holds (over nothing where it holds no row).
    """

    leave_out: tuple[str, ...] = ()
    image: Mapping[str, Any] | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Give it as the outbox keeps it."""
        return {"leave_out": list(self.leave_out), "image": None if self.image is None else dict(self.image)}

    @classmethod
    def from_text(cls, text: str | None) -> RowEdit | None:
        """Read the text of what ``as_json`` gave."""
        if text is None:
            return None
        value = json.loads(text)
        return cls(tuple(value["leave_out"]), value["image"])


@dataclass(slots=True, frozen=True)
class Item:
    """A thing that a drainer took to carry to ``target``."""

    id: int
    capability: str
    target: Side
    epoch: int
    thing: Thing
    attempts: int
    before_hash: str | None = None
    """What the target held before the source was written on its own; another one there now is a conflict."""
    edit: RowEdit | None = None


@dataclass(slots=True, frozen=True)
class Entry:
    """An entry as operators see it: no token, key, password or value of a body."""

    id: int
    state: State
    capability: str
    target: Side
    epoch: int
    things: tuple[Thing, ...]
    call: CallRecord
    attempts: int
    created_at: datetime
    next_at: datetime | None = None
    error: str | None = None
    is_conflict: bool = False
    versions: Mapping[str, Any] = field(default_factory=dict)
    """Of a dead letter: what each side held when it died, by side."""
    edit: RowEdit | None = None
    """What an operator wants otherwise; values of columns named like secrets are left out."""


def lock_numbers_to_check(things: Sequence[Thing]) -> list[int]:
    """Give the lock numbers of things, and after them those of the wholes that they belong to."""
    own = [thing.lock_number for thing in things]
    wholes = {Thing(WHOLE_OF[thing.kind], thing.resource).lock_number for thing in things if thing.kind in WHOLE_OF}
    return own + sorted(wholes - set(own))


def delay_s(limits: OutboxLimits, attempts: int) -> float:
    """Seconds until an item is tried again after its ``attempts``-th failure: growing, and never the same for two."""
    grown = min(limits.first_delay_s * 2.0 ** min(attempts - 1, 30), limits.longest_delay_s)
    return grown * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret
