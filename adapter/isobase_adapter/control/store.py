"""What a control store can do: the contract of ``PostgresStore`` and ``SqliteStore``.

A store does I/O and nothing else; what is allowed is ``control.changes``'s, what a client does with it
``control.following``'s, what an operator does ``control.operator``'s. Every call raises ``ControlAway`` while the store
does not answer and ``NotInstalled`` where its tables are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from isobase_adapter.capabilities import Capability
from isobase_adapter.contracts import Event, Flag, Snapshot, Writer
from isobase_adapter.control.records import (
    ClientRecord,
    EventRecord,
    FlagChange,
    Heartbeat,
    MinuteCount,
    MismatchGroup,
)
from isobase_adapter.sides import Side

__all__ = [
    "MAX_GROUPS_PER_CAPABILITY",
    "MAX_SAMPLES_PER_GROUP",
    "SYNC_LOCK_NUMBER",
    "Backlog",
    "FoundMismatch",
    "PlannedChange",
    "Planner",
    "Store",
    "summed",
]

SYNC_LOCK_NUMBER = 0x69736F6273796E63
"""The advisory lock that ``isobase migrate sync`` holds in the Isobase side's database for as long as it runs."""
MAX_GROUPS_PER_CAPABILITY = 200
"""Causes of mismatches that are told apart; more of them go into one group, ``other``."""
MAX_SAMPLES_PER_GROUP = 5


@dataclass(slots=True, frozen=True)
class PlannedChange:
    """What a change writes. ``writer``: a row for a pattern that has none yet."""

    flag: Flag | None
    writer: Writer | None = None


Planner = Callable[[Snapshot], PlannedChange]
"""Decides a change from what the store holds at that moment, under its lock. May raise ``ChangeRefused``."""


@dataclass(slots=True, frozen=True)
class FoundMismatch:
    """A difference between two answers, to be added to its group."""

    capability: str
    fingerprint: str
    cause: Mapping[str, Any]
    sample: Mapping[str, Any]
    is_noise: bool = False


@dataclass(slots=True, frozen=True)
class Backlog:
    """What waits in the outbox of a target side."""

    target: str
    intents: int = 0
    pending: int = 0
    dead: int = 0
    oldest_s: float | None = None
    """Age of the oldest item that is not dead."""
    by_capability: Mapping[str, int] = field(default_factory=dict)


class Store(Protocol):
    """A place that keeps flags, writers, rules, clients, events, counters and mismatches."""

    @property
    def poll_s(self) -> float:
        """Seconds between two looks for changes where nobody tells of them."""
        ...

    async def open(self, on_change: Callable[[], None] | None = None) -> None:
        """Connect; ``on_change`` is called, from the event loop, whenever something may have changed or was lost."""
        ...

    async def close(self) -> None:
        """Give everything back; may be called twice."""
        ...

    async def read_snapshot(self) -> Snapshot:
        """Read flags, writers and rules as of one moment."""
        ...

    async def beat(self, heartbeat: Heartbeat) -> int:
        """Keep a sign of life; returns the number of the last change."""
        ...

    async def sign_off(self, client: UUID) -> None:
        """Forget a client, unless it left spooled writes behind."""
        ...

    async def read_clients(self) -> tuple[ClientRecord, ...]:
        """Give all clients, those that went silent too."""
        ...

    async def forget_client(self, client: UUID) -> bool:
        """Forget a client, whatever it left; False where there is none."""
        ...

    async def change_flag(self, pattern: str, plan: Planner, *, changed_by: str, reason: str) -> Snapshot:
        """Change or (``flag`` None) remove a flag as ``plan`` decides; returns what holds then."""
        ...

    async def change_rule(self, pattern: str, name: str, value: Any, *, changed_by: str) -> Snapshot:
        """Set a rule of a pattern, or remove it with None; returns what holds then."""
        ...

    async def read_history(self, pattern: str | None, limit: int) -> tuple[FlagChange, ...]:
        """Give the newest changes of flags first."""
        ...

    async def add_events(self, events: Sequence[tuple[datetime, Event]], client: UUID | None) -> None:
        """Keep events."""
        ...

    async def read_events(self, limit: int) -> tuple[EventRecord, ...]:
        """Give the newest events first."""
        ...

    async def read_sync(self) -> Mapping[str, Any]:
        """Give how ``sync`` was doing when it last said so, ``said_s`` ago, with ``is_running``; empty where it never ran."""
        ...

    async def add_counts(self, counts: Sequence[MinuteCount]) -> None:
        """Add to counters."""
        ...

    async def read_counts(self, since: datetime) -> tuple[MinuteCount, ...]:
        """Give counters from a moment on."""
        ...

    async def add_mismatches(self, found: Sequence[FoundMismatch]) -> None:
        """Add differences to their groups, bounded in groups, samples and bytes."""
        ...

    async def read_mismatches(
        self, capabilities: Collection[str] | None, *, since: datetime | None = None
    ) -> tuple[MismatchGroup, ...]:
        """Give groups, those with the most occurrences first; ``since``: that occurred from then on."""
        ...

    async def explain_mismatch(self, group: int, why: str | None, *, by: str) -> bool:
        """Mark a group explained (None: not any more); False where there is none."""
        ...

    async def read_backlogs(self) -> tuple[Backlog, ...]:
        """Give what waits in the outbox, per target."""
        ...

    async def has_backlog(self, capabilities: Collection[Capability], lacking: Side | None = None) -> bool:
        """Whether writes wait in the outbox that may change what these capabilities read.

        lacking: the side that is to be read: what is in flight does not count then, as nobody was told of it yet, and what
        can never be carried there does. None: everything that is not dead.
        A function may read anything: for it every write counts.
        """
        ...

    async def forget_before(self, moment: datetime) -> None:
        """Forget counters and mismatches that are older."""
        ...


def summed(counts: Sequence[MinuteCount]) -> dict[str, dict[str, int]]:
    """Sum counters over time: per capability, per name."""
    sums: dict[str, dict[str, int]] = {}
    for count in counts:
        of_capability = sums.setdefault(count.capability, {})
        of_capability[count.name] = of_capability.get(count.name, 0) + count.value
    return sums
