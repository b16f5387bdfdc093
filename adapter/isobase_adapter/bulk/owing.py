"""Which tables ``sync`` still has to compare as a whole: of what was before a log began, the log says nothing.

It is noted before a slot or a publication is made, and taken away table by table: whoever is killed in between, or loses
a connection, goes on with what is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from isobase_adapter.bulk.connections import Connection
from isobase_adapter.bulk.jobs import Jobs
from isobase_adapter.sides import Side

__all__ = ["Owed", "read_owed", "settle", "write_owed"]

JOB = "sync"


@dataclass(slots=True, frozen=True)
class Owed:
    """What one side's log does not know. ``is_all``: nothing of before; ``tables``: ``schema.table``."""

    is_all: bool = False
    tables: frozenset[str] = frozenset()


def _part(side: Side) -> str:
    return f"owed:{side}"


async def read_owed(control: Connection, side: Side) -> Owed:
    """Give what is owed."""
    state = (await Jobs(control, JOB).read()).get(_part(side), {})
    return Owed(bool(state.get("is_all")), frozenset(state.get("tables", ())))


async def write_owed(control: Connection, side: Side, owed: Owed) -> None:
    """Keep what is owed from now on."""
    if owed == Owed():
        await Jobs(control, JOB).forget([_part(side)])
    else:
        await Jobs(control, JOB).set(_part(side), {"is_all": owed.is_all, "tables": sorted(owed.tables)})


async def settle(control: Connection, tables: Iterable[str]) -> None:
    """These were compared: neither side's log has to know of before."""
    done = frozenset(tables)
    for side in Side:
        owed = await read_owed(control, side)
        if owed.tables & done:
            await write_owed(control, side, Owed(owed.is_all, owed.tables - done))
