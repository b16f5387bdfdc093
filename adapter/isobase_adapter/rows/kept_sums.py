"""What of a table's comparison is done, so that one that was ended can be gone on with in its middle.

Each side's pieces (ranges of its pages) that were read are kept with their checksums, added up, and with the time of
their reading. They stay true of that time alone. Rows that were written since mostly make ranges of keys look different,
and those are looked at row by row; but a row that one side alone changed after its piece was read may go unseen. So
whoever goes on tells of which time a piece is, and nothing that must be sure of now (a gate) goes on with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from isobase_adapter.rows.checksums import Buckets, Checksums, buckets_for
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.pairs import Pair, Pairs
from isobase_adapter.rows.quoting import qualified
from isobase_adapter.sides import Side

__all__ = ["KeptSide", "KeptSums"]

_FILES = """
select current_database() || '/' || d.oid || '/' || current_setting('server_version_num') || '/' || coalesce(string_agg(
         l.oid || ':' || pg_relation_filenode(l.oid), ',' order by l.oid), '') as files
  from (select relid as oid from pg_partition_tree(to_regclass($1)) where isleaf
        union select to_regclass($1)) as l
  cross join pg_database as d where d.datname = current_database() group by d.oid
"""
"""A file that was written anew (truncate, vacuum full, another database) makes what is kept of it worthless."""


@dataclass(slots=True)
class KeptSide:
    """One side. ``done``: when each piece was read, in seconds, by its name; ``sums``: of all of them."""

    sums: Checksums = field(default_factory=Checksums)
    done: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class KeptSums:
    """One table. ``on_kept``: called after each piece that was kept; may write down ``as_json``."""

    files: dict[str, str] = field(default_factory=dict)
    buckets: Buckets | None = None
    sides: dict[Side, KeptSide] = field(default_factory=lambda: {side: KeptSide() for side in Side})
    on_kept: Callable[[], None] = lambda: None
    older: dict[Side, dict[str, float]] = field(default_factory=dict)
    """The pieces that an earlier run read, as far as this one goes on with them."""

    async def begin(self, pair: Pair, pairs: Pairs) -> Buckets:
        """Go on where nothing stands against it, or begin anew; gives how rows fall into ranges of keys."""
        sides = list(pairs.databases.items())
        files = await asyncio.gather(*(_files_of(pair, side, database) for side, database in sides))
        now = {str(side): one for (side, _), one in zip(sides, files, strict=True)}
        if self.buckets is None or self.files != now:
            self.files, self.buckets = now, await buckets_for(pair, pairs)
            self.sides = {side: KeptSide() for side in Side}
        self.older = {side: dict(kept.done) for side, kept in self.sides.items()}
        return self.buckets

    def kept(self, side: Side) -> tuple[Collection[str], Mapping[int, tuple[int, int]]]:
        """Give the names of the pieces that were read before, and what they came to."""
        return self.sides[side].done.keys(), self.sides[side].sums.buckets

    def keep(self, side: Side, piece: str, sums: Mapping[int, tuple[int, int]]) -> None:
        """Keep what a piece came to."""
        kept = self.sides[side]
        for bucket, (count, total) in sums.items():
            kept.sums.add(bucket, count, total)
        kept.done[piece] = datetime.now(UTC).timestamp()
        self.on_kept()

    @property
    def oldest(self) -> datetime | None:
        """When the oldest piece of an earlier run was read; None where this run has read everything."""
        times = [at for done in self.older.values() for at in done.values()]
        return datetime.fromtimestamp(min(times), UTC) if times else None

    def describe_older(self) -> list[str]:
        """Say which pieces an earlier run read, neighbours together, with the times of their reading."""
        lines: list[str] = []
        for side, done in self.older.items():
            runs: list[_Run] = []
            for table, first, last, at in sorted(_place(name, at) for name, at in done.items()):
                if runs and (runs[-1].table, runs[-1].last + 1) == (table, first):
                    run = runs[-1]
                    run.last, run.began, run.ended = last, min(run.began, at), max(run.ended, at)
                else:
                    runs.append(_Run(table, first, last, at, at))
            lines += [f"{side}: {run}" for run in runs]
        return lines

    def as_json(self) -> dict[str, Any]:
        """Give it for a file."""
        assert self.buckets is not None
        return {
            "files": self.files,
            "buckets": [self.buckets.is_range, self.buckets.shift],
            "sides": {
                str(side): {
                    "done": kept.done,
                    "sums": [[bucket, count, total] for bucket, (count, total) in kept.sums.buckets.items()],
                }
                for side, kept in self.sides.items()
            },
        }

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> KeptSums:
        """Read what ``as_json`` gave. Raises ``ValueError``, ``KeyError`` and ``TypeError`` for anything else."""
        is_range, shift = value["buckets"]
        sides = {}
        for side in Side:
            kept = value["sides"][str(side)]
            sums = Checksums({int(bucket): (int(count), int(total)) for bucket, count, total in kept["sums"]})
            sides[side] = KeptSide(sums, {str(name): float(at) for name, at in kept["done"].items()})
        files = {str(side): str(one) for side, one in value["files"].items()}
        return cls(files, Buckets(bool(is_range), int(shift)), sides)


@dataclass(slots=True)
class _Run:
    table: str
    first: int
    last: int
    began: float
    ended: float

    def __str__(self) -> str:
        began, ended = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}" for at in (self.began, self.ended))
        return f"{self.table} pages {self.first}..{self.last}, read {began} to {ended} UTC"


def _place(name: str, at: float) -> tuple[str, int, int, float]:
    table, _, pages = name.rpartition(" pages ")
    first, _, last = pages.partition("..")
    return table, int(first), int(last), at


async def _files_of(pair: Pair, side: Side, database: SideDatabase) -> str:
    table = pair.at(side)
    rows = await database.fetch(_FILES, qualified(table.schema, table.name))
    return str(rows[0]["files"])
