"""What the model of the write protocol knows at one moment.

A row's value is the tuple of the writes that made it, in order: a write appends its number, a carrier copies the whole
tuple. So a stale copy that lands late shows as a number that is gone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = ["ALL_RULES", "WHOLE", "Bounds", "Carrier", "Client", "Item", "Letter", "Row", "Rule", "State", "side_of"]

S, I = 0, 1  # noqa: E741  the two sides: Supabase and Isobase
WHOLE = -1
"""The key of an item that names a whole table."""
Row = tuple[int, ...]


class Rule(StrEnum):
    """The rules that make the protocol safe. The model is explored with all of them, and with each left out."""

    INTENT_FIRST = "an intent is durable before the first side is called"
    EPOCH_CHECKED = "an intent is admitted only in the writer's epoch and not while it is handed over"
    WRITER_LOCKED = "admission and handover lock the writer's row"
    DRAINED_FIRST = "a handover waits until nothing is on its way"
    FLIP_CHECKED = "the flip itself checks that the fence is its own and nothing is on its way"
    READ_UNDER_LOCK = "a carrier reads the source after it has the key's lock at the target"
    CARRIER_FENCED = (
        "a carrier checks the epoch under the pattern's lock at the target, which a change of writer takes alone"
    )
    NEW_ITEM = "a write that is postponed makes a new item; it does not change one that a drainer may hold"
    LEASE_BEFORE_SEND = "nothing is sent on an intent whose lease is over"
    POSTPONED_IF_THERE = "a write is postponed only while its intent is there; otherwise a drainer has carried it"
    LEASE_OUTLASTS = "a lease is longer than a request can live"
    FALLBACK_RECORDED = "a fallback without control is recorded in Supabase's database, and carriers heed it"
    SPOOLS_MERGED = "nobody carries or hands over while a client that fell back holds a spool"
    CONFLICTS_KEPT = "a key that is on its way in both directions is a conflict, both versions are kept"
    BEHIND = "a key is not written while something of it is on its way to the writer"
    RECORDED_AFTERWARDS = (
        "so is every write past the outbox once the writer has changed: something may be on its way to Supabase"
    )
    DEAD_FOR_LONG = "a client that is gone counts as heard when none of its requests can live any more"
    CONFLICT_FENCED = (
        "what is on its way to the writer becomes a letter only while no carrier to the writer is in the middle"
    )
    WHOLE_WHERE_UNKNOWN = "an intent whose keys are not known names the whole table"
    FENCE_HEARD = "a handover waits until every client has acknowledged the fence, its spool empty"
    ALL_HEARD = "a stage counts when every client has acknowledged it"
    HEARD_AFTER_CALLS = "a client acknowledges a stage when its calls of the stage before have ended"


ALL_RULES = frozenset(Rule)


class Item(NamedTuple):
    """A row of the outbox or of a spool. ``id`` is the number of the write that made it."""

    id: int
    key: int
    target: int
    epoch: int
    client: int
    is_intent: bool = True
    is_expired: bool = False


class Letter(NamedTuple):
    """A conflict: what the key was at both sides."""

    key: int
    supabase: Row
    isobase: Row


class Client(NamedTuple):
    """An adapter. ``at``: where in the protocol its present write is; ``read``: the row that its carrier read."""

    at: str = "idle"
    done: int = 0
    epoch: int = 0
    write: int = -1
    side: int = S
    is_spooled: bool = False
    read: Row = ()
    is_cut: bool = False
    """It alone cannot reach the Isobase side."""
    is_fenced: bool = False
    """It has acknowledged the handover that runs: it spools nothing until it heard how that ended."""
    is_dual: bool = True
    """The stage that it acts upon: twice written, or off."""


class Carrier(NamedTuple):
    """A drainer, a sweep, a repair or ``sync``: carries one key; ``item`` is -1 where no item asked for it."""

    at: str = "idle"
    item: int = -1
    keys: tuple[int, ...] = ()
    target: int = I
    epoch: int = 0
    read: Row = ()


class Bounds(NamedTuple):
    """How often each misfortune and each act of an operator may come."""

    crashes: int = 0
    lost_answers: int = 0
    failed_carries: int = 0
    pauses: int = 0
    handovers: int = 0
    aborts: int = 0
    failovers: int = 0
    outages: int = 0
    cuts: int = 0
    sweeps: int = 0
    stage_changes: int = 0


class State(NamedTuple):
    """One moment. The writer's side follows from its epoch: each change moves it to the other side."""

    supabase: tuple[Row, ...]
    isobase: tuple[Row, ...]
    clients: tuple[Client, ...]
    carriers: tuple[Carrier, ...]
    bounds: Bounds
    epoch: int = 0
    handing: int = -1
    """The coordinator that hands over now, or -1."""
    coordinators: tuple[str, ...] = ("idle",)
    items: frozenset[Item] = frozenset()
    spools: tuple[tuple[Item, ...], ...] = ()
    letters: frozenset[Letter] = frozenset()
    wire: frozenset[tuple[int, int, int]] = frozenset()
    """Requests on their way: write, side, epoch."""
    acknowledged: frozenset[int] = frozenset()
    after: frozenset[tuple[int, int]] = frozenset()
    """Pairs of writes of one key: the first was acknowledged before the second began."""
    misdirected: frozenset[int] = frozenset()
    """Writes that were done at a side that was not the writer any more, though it was handed over, not failed over."""
    is_isobase_up: bool = True
    fence: tuple[int, frozenset[int]] = (0, frozenset())
    """What Supabase's database knows: an epoch, and the clients that fell back and hold spools."""
    is_dual: bool = True
    """The stage that the store has: twice written, or off."""
    is_filled: bool = True
    """Whether rows from before are at both sides (copied since the stage counts)."""

    def row(self, side: int, key: int) -> Row:
        """A key's value at a side."""
        return (self.supabase if side == S else self.isobase)[key]

    def with_row(self, side: int, key: int, row: Row) -> State:
        """The same with another value."""
        if side == S:
            return self._replace(supabase=(*self.supabase[:key], row, *self.supabase[key + 1 :]))
        return self._replace(isobase=(*self.isobase[:key], row, *self.isobase[key + 1 :]))

    def with_client(self, number: int, client: Client) -> State:
        """The same with another client."""
        return self._replace(clients=(*self.clients[:number], client, *self.clients[number + 1 :]))

    def with_carrier(self, number: int, carrier: Carrier) -> State:
        """The same with another carrier."""
        return self._replace(carriers=(*self.carriers[:number], carrier, *self.carriers[number + 1 :]))

    def spending(self, name: str) -> State:
        """The same with one of the bounds used once."""
        return self._replace(bounds=self.bounds._replace(**{name: getattr(self.bounds, name) - 1}))


def side_of(epoch: int) -> int:
    """The side that is written first in ``epoch``."""
    return epoch % 2
