"""Which tables ``sync`` still has to compare as a whole: of what was before a log began, the log says nothing.

It is noted before a slot or a publication is made, and taken away table by table: whoever is killed in between, or loses
a connection, goes on with what is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from isobase_adapter.bulk.connections import Connection
from isobase_adapter.bulk.copy import JOB as COPY_JOB
from isobase_adapter.bulk.jobs import Jobs
from isobase_adapter.sides import Side

__all__ = ["Owed", "owe", "read_owed", "settle", "write_owed"]

JOB = "sync"


@dataclass(slots=True, frozen=True)
class Owed:
    """What one side's log does not know. ``is_all``: nothing of before; ``tables``: ``schema.table``.

    ``half_copied``: tables of which ranges had been copied when the log began; what a copy brings since, the log knows.
    """

    is_all: bool = False
    tables: frozenset[str] = frozenset()
    half_copied: frozenset[str] = frozenset()

    def has_to_be_compared(self, resumed: str) -> bool:
        """Whether a table that a copy went on with has ranges of before the log."""
        return resumed in self.half_copied or (not self.is_all and resumed in self.tables)


def _part(side: Side) -> str:
    return f"owed:{side}"


async def read_owed(control: Connection, side: Side) -> Owed:
    """Give what is owed."""
    state = (await Jobs(control, JOB).read()).get(_part(side), {})
    tables, half_copied = (frozenset(state.get(name, ())) for name in ("tables", "half_copied"))
    return Owed(bool(state.get("is_all")), tables, half_copied)


async def owe(control: Connection, side: Side, tables: frozenset[str] | None) -> None:
    """Keep that tables are owed too, None: all."""
    owed = await read_owed(control, side)
    if tables is not None:
        await write_owed(control, side, replace(owed, tables=owed.tables | tables))
        return
    parts = await Jobs(control, COPY_JOB).read()
    half_copied = frozenset(part.rpartition(" #")[0] for part in parts if " #" in part)
    await write_owed(control, side, replace(owed, is_all=True, half_copied=half_copied))


async def write_owed(control: Connection, side: Side, owed: Owed) -> None:
    """Keep what is owed from now on."""
    if owed == Owed():
        await Jobs(control, JOB).forget([_part(side)])
    else:
        state = {
            "is_all": owed.is_all,
            "tables": sorted(owed.tables),
            "half_copied": sorted(owed.half_copied),
        }
        await Jobs(control, JOB).set(_part(side), state)


async def settle(control: Connection, tables: Iterable[str]) -> None:
    """These were compared: neither side's log has to know of before."""
    done = frozenset(tables)
    for side in Side:
        owed = await read_owed(control, side)
        if owed.tables & done:
            await write_owed(control, side, replace(owed, tables=owed.tables - done))
