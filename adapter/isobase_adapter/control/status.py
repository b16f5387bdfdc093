"""How a move stands, as one value: what ``isobase migrate status`` shows and what gates ask."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from isobase_adapter.capabilities import Capability, Kind, fits
from isobase_adapter.control.operator import FlagView, views_of
from isobase_adapter.control.records import ClientRecord, EventRecord, MismatchGroup
from isobase_adapter.control.store import Backlog, Store, summed

__all__ = ["DEFAULT_WINDOW", "ReadFigures", "Status", "capability_from", "read_figures", "read_status"]

DEFAULT_WINDOW = timedelta(hours=1)
MAX_EVENTS = 10


@dataclass(slots=True, frozen=True)
class ReadFigures:
    """What was counted of a capability since a moment. ``unexplained``: groups of mismatches that nobody explained."""

    capability: str
    counts: Mapping[str, int]
    unexplained: tuple[MismatchGroup, ...] = ()
    explained: int = 0

    @property
    def compared(self) -> int:
        """Reads that were judged."""
        return self.counts.get("compared", 0)

    @property
    def mismatch_percent(self) -> float | None:
        """How many of them differed for good; None where none was judged."""
        return _percent(self.counts.get("mismatched", 0), self.compared)

    @property
    def noise_percent(self) -> float | None:
        """How many differed where one side was asked twice; None where none was."""
        return _percent(self.counts.get("noise_mismatched", 0), self.counts.get("noise_compared", 0))


@dataclass(slots=True, frozen=True)
class Status:
    """How a move stands. ``breakers``: those that are not closed, as (capability, side, calls, state, client)."""

    at: datetime
    since: datetime
    flags: tuple[FlagView, ...]
    clients: tuple[ClientRecord, ...]
    version: int
    backlogs: tuple[Backlog, ...]
    reads: tuple[ReadFigures, ...]
    breakers: tuple[tuple[str, str, str, str, str], ...]
    events: tuple[EventRecord, ...]
    sync: Mapping[str, Any] = field(default_factory=dict)
    """How ``isobase migrate sync`` is doing; empty where it never ran."""

    @property
    def behind(self) -> tuple[ClientRecord, ...]:
        """Clients that do not act upon the last change yet, or are silent."""
        return tuple(client for client in self.clients if client.is_silent or client.version < self.version)


async def read_status(store: Store, *, window: timedelta = DEFAULT_WINDOW) -> Status:
    """Read how a move stands; counters of the last ``window``. Raises ``ControlAway``."""
    now = datetime.now(UTC)
    snapshot = await store.read_snapshot()
    clients = await store.read_clients()
    return Status(
        at=now,
        since=now - window,
        flags=views_of(snapshot),
        clients=clients,
        version=snapshot.version,
        backlogs=await store.read_backlogs(),
        reads=await read_figures(store, since=now - window),
        breakers=tuple(_open_breakers(clients)),
        events=await store.read_events(MAX_EVENTS),
        sync=await store.read_sync(),
    )


async def read_figures(
    store: Store, *, since: datetime, patterns: Collection[str] | None = None
) -> tuple[ReadFigures, ...]:
    """Give the figures of each capability that something was counted of or that has mismatches, by name.

    patterns: leave out what none of them fits.
    """
    counts = summed(await store.read_counts(since))
    groups: dict[str, list[MismatchGroup]] = {}
    for group in await store.read_mismatches(None, since=since):
        if not group.is_noise:
            groups.setdefault(group.capability, []).append(group)
    return tuple(
        ReadFigures(
            name,
            counts.get(name, {}),
            tuple(group for group in groups.get(name, ()) if group.explained is None),
            sum(group.explained is not None for group in groups.get(name, ())),
        )
        for name in sorted(counts.keys() | groups.keys())
        if patterns is None or any(fits(pattern, capability_from(name)) for pattern in patterns)
    )


def capability_from(text: str) -> Capability:
    """Read a capability as it is written. Raises ``ValueError``."""
    kind, _, name = text.partition(":")
    return Capability(Kind(kind), name)


def _open_breakers(clients: Sequence[ClientRecord]) -> list[tuple[str, str, str, str, str]]:
    return sorted(
        (capability, side, calls, str(state), client.name)
        for client in clients
        for capability, sides in _items(client.state.get("breakers"))
        for side, kinds in _items(sides)
        for calls, state in _items(kinds)
        if state != "closed"
    )


def _items(value: object) -> Iterator[tuple[str, object]]:
    """What a client's word holds, which may be any JSON."""
    if isinstance(value, dict):
        yield from ((str(name), each) for name, each in value.items())


def _percent(part: int, whole: int) -> float | None:
    return part * 100 / whole if whole else None
