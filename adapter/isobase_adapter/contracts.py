"""The contracts between the adapter's parts: the control store, the outbox, and what carries things.

Each has implementations beside it: on PostgreSQL (the Isobase side's database, schema ``isobase``) and on SQLite for
a client that can reach none. All of them live on the runtime's event loop (``isobase_adapter.runtime``); the values
and ``Control.snapshot`` may be read from any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from isobase_adapter.capabilities import Capability
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from isobase_adapter.things import Thing

__all__ = [
    "CallRecord",
    "Carried",
    "Carrier",
    "Conflict",
    "Control",
    "Event",
    "Fence",
    "Flag",
    "Intent",
    "IntentGone",
    "Outbox",
    "OutboxAway",
    "OutboxItem",
    "Snapshot",
    "StillOpposed",
    "WriteBehind",
    "Writer",
    "WriterMoved",
    "seconds_since_boot",
]


@dataclass(slots=True, frozen=True)
class Flag:
    """A pattern's stage.

    Users outside ``share_percent`` and ``users`` are still in ``before``, the stage that it comes from.
    """

    pattern: str
    stage: Stage
    before: Stage
    share_percent: float = 100.0
    users: frozenset[str] = frozenset()
    version: int = 0

    @property
    def is_for_all(self) -> bool:
        """Whether ``stage`` holds for everybody."""
        return self.share_percent >= 100


@dataclass(slots=True, frozen=True)
class Writer:
    """Which side is written first for a pattern's capabilities, and since which change (``epoch`` grows by one
    with each).
    """

    pattern: str
    side: Side = Side.SUPABASE
    epoch: int = 0
    is_handing_over: bool = False
    """No write is let in until the outbox towards the present writer is empty and the other side takes over."""


@dataclass(slots=True, frozen=True)
class Snapshot:
    """All flags, writers and rules as last heard; replaced as a whole, never changed."""

    flags: Mapping[str, Flag] = field(default_factory=dict)
    writers: Mapping[str, Writer] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per pattern, what operators set while clients run: ``ignore_columns``, ``sample_percent``, ``rpc`` ..."""
    version: int = 0
    heard_at: datetime | None = None
    """When the store last answered; older while it is away."""


@dataclass(slots=True, frozen=True)
class Event:
    """Something an operator wants to know:

    a fallback, a breaker's change, a dead letter, a handover. No secrets in ``detail``.
    """

    name: str
    capability: str
    detail: Mapping[str, Any] = field(default_factory=dict)


class Control(Protocol):
    """Flags, writers, clients and events, shared by all clients and by the operator."""

    @property
    def snapshot(self) -> Snapshot:
        """What is known now; never waits.

        Raises ``NothingKnown`` (``isobase_adapter.control.errors``) before anything was heard: no side is guessed.
        """
        ...

    async def start(self) -> None:
        """Load, register this client, and follow changes until ``close``."""
        ...

    async def close(self) -> None:
        """Sign this client off and end."""
        ...

    async def reload(self) -> Snapshot:
        """Read again now."""
        ...

    def on_change(self, listener: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call ``listener`` after every change; returns what ends it."""
        ...

    def tell(self, event: Event) -> None:
        """Keep an event, in the background; never waits and never fails. From any thread."""
        ...

    def count(self, capability: str, name: str, value: int = 1) -> None:
        """Count something for ``isobase migrate status``, per minute; never waits and never fails. From any thread."""
        ...


def seconds_since_boot() -> float:
    """Seconds that pass while the machine is suspended, too (``time.monotonic`` stands still then, on Linux)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class WriterMoved(Exception):
    """The writer is another one than the caller knew, or is being handed over: reload, wait, and begin again."""


class WriteBehind(WriterMoved):
    """Something of the same key, or a whole resource, must be carried the other way first, after a failover."""


class StillOpposed(Exception):
    """The other side took writes of this, before a failover, that the side which is written first has not got: they wait for
    the next handover, or for an operator. Nothing of it is carried over them.
    """


class OutboxAway(Exception):
    """The outbox cannot be reached, and no spool may stand in for it."""


@dataclass(slots=True, frozen=True)
class CallRecord:
    """What a write was, for operators:

    method, path, names of what it sends; never a token, key, password or body's values.
    """

    method: str
    path: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Intent:
    """A write that was let in: recorded before its first side is called, and there until both sides have it."""

    id: int
    capability: str
    target: Side
    epoch: int
    things: tuple[Thing, ...] = ()
    """What it may change, as far as was known before the first side was called."""
    is_queued: bool = False
    """Something that must reach the other side before it waits for an operator: it is carried by the drainer only."""
    expires_at_s: float = float("inf")
    """When its lease is over, in ``seconds_since_boot`` of this machine."""
    send_before_s: float = float("inf")
    """The call has to be sent by then, or its time limit would reach over the lease's end."""

    def is_over(self, now_s: float) -> bool:
        """Whether somebody else may have taken it over by ``now_s``."""
        return now_s >= self.expires_at_s


@dataclass(slots=True, frozen=True)
class OutboxItem:
    """A thing that is to be carried to ``target``, or (without things) an intent whose first write's end is
    unknown.
    """

    id: int
    capability: str
    target: Side
    thing: Thing
    attempts: int
    call: CallRecord


class Outbox(Protocol):
    """Writes that one side does not have yet. Everything it took is there after a crash."""

    async def begin(
        self,
        capability: Capability,
        *,
        target: Side,
        epoch: int,
        call: CallRecord,
        things: Sequence[Thing],
        lease_s: float | None = None,
        over_conflicts: bool = False,
    ) -> Intent:
        """Let a write in, durably, in one round trip.

        target: the side that is written second. things: what it may change as far as is known before; where nothing is
        known, the whole (``Thing.is_whole``). lease_s: seconds until its first write has surely ended, None: the
        outbox's setting. Raises ``WriterMoved`` when ``epoch`` is not the writer's any more, ``WriteBehind`` when
        something of the same key must arrive first (over_conflicts: that becomes a dead letter instead), ``OutboxAway``
        when it cannot be kept.
        """
        ...

    async def keep(self, intents: Sequence[Intent]) -> None:
        """Their calls are still on their way: let their leases begin anew."""
        ...

    async def settle(self, intent: Intent) -> None:
        """Both sides have it, or the first side refused it and nothing changed: forget it.

        Raises ``IntentGone``: then the write may not be acknowledged.
        """
        ...

    async def postpone(self, intent: Intent, things: Sequence[Thing], error: str) -> None:
        """The first side has it, the second does not: replay ``things`` in the background.

        Raises ``IntentGone``: then the write may not be acknowledged.
        """
        ...

    async def doubt(self, intent: Intent, error: str, *, has_ended: bool) -> None:
        """Nobody knows whether the first side has it: what the intent names is compared and carried in the background.

        has_ended: the first write cannot go on any more (the server answered with an error of its own); else it is
        compared soon and once more when the lease is over.
        """
        ...

    def fence(self, intent: Intent) -> Fence:
        """What a carrier holds that carries for this intent; it settles the intent with the rows where it can."""
        ...


class IntentGone(Exception):
    """The intent was taken over: its lease ran out, or a failover moved the writer. The write may not be acknowledged."""


class Fence(Protocol):
    """Keeps whoever was paused, or is slow, from carrying what is old to a side that is the writer by now.

    In the transaction that writes at the target a carrier does, in this order: take ``lock_number`` shared
    (``pg_advisory_xact_lock_shared``) and the things' locks; await ``check``; read the source; write; commit. A handover
    takes the lock exclusively on the side that becomes the writer.
    """

    @property
    def lock_number(self) -> int:
        """The number of the advisory lock on the target's database."""
        ...

    async def check(self, connection: Any | None) -> bool:
        """Make sure that the source is still ahead of the target, and say whether the intent was settled with it.

        connection: the target's ``asyncpg.Connection``, in its transaction; None for carriers without one, which ask just
        before they write. Raises ``WriterMoved``: nothing may be written.
        """
        ...


class Conflict(Exception):
    """A thing changed at the target since it was changed at the source while the sides could not talk."""

    def __init__(self, thing: Thing, *, source: Any, target: Any) -> None:
        """thing: which. source, target: what each side holds, as JSON values; None: it is not there."""
        super().__init__(f"{thing.kind} of {thing.resource} changed on both sides")
        self.thing = thing
        self.source = source
        self.target = target


@dataclass(slots=True, frozen=True)
class Carried:
    """What carrying came to. ``changed``: how many rows, users or objects were written or deleted at the target.

    ``has_settled``: ``Fence.check`` said that the intent is forgotten with the transaction that wrote.
    """

    changed: int = 0
    has_settled: bool = False


class Carrier(Protocol):
    """Makes things at the target what they are at the source."""

    async def carry(
        self,
        things: Sequence[Thing],
        target: Side,
        *,
        fence: Fence | None = None,
        expected: Mapping[Thing, str] | None = None,
    ) -> Carried:
        """Carry them, each under its advisory lock on the target's database, reading the source after the lock is held.

        fence: checked in the transaction that writes (``Fence`` says how); None only where no writer can move, as in the
        tests. Things that need several transactions check it in each. expected: for a thing the
        hash (``images``) that the target must still have, or ``Conflict`` is raised; a target that equals the source
        is no conflict. Done twice it changes nothing more. Raises the target's or source's own errors; then nothing
        of this call may be taken for carried.
        """
        ...

    async def images(self, things: Sequence[Thing], side: Side) -> Mapping[Thing, tuple[Any, str]]:
        """Read what ``side`` holds now: for each thing its image (JSON values, None: it is not there) and the hash of it.

        For dead letters and conflicts; a whole (``Thing.is_whole``) has no image and is left out.
        """
        ...
