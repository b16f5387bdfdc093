"""Finds the rows of a table that are not equal at the two sides, in bounded memory.

Checksums tell which buckets differ; their keys and row hashes are then read from both sides in one order and merged.
What is found may still be on its way (a write that came between the two readings): whoever blames looks again.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from isobase_adapter.rows.checksums import (
    SCAN_TIMEOUT_S,
    Buckets,
    Checksums,
    Progress,
    all_of,
    buckets_for,
    checksums,
    is_integer_key,
    key_text_of,
    row_hash,
)
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.kept_sums import KeptSums
from isobase_adapter.rows.keys import canonical
from isobase_adapter.rows.pairs import Pair, Pairs
from isobase_adapter.rows.quoting import qualified, quote_identifier
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

__all__ = ["Compared", "DifferenceKind", "RowDifference", "compare", "differing_rows", "is_small"]

ROWS_PER_FETCH = 5_000
MAX_NAMED_BUCKETS = 2_000
"""With more differing buckets than this, all rows are merged: naming them would cost more than it saves."""
SMALL_TABLE_ROWS = 20_000
"""A table that is smaller is merged at once, without checksums first."""


class DifferenceKind(StrEnum):
    """How a row differs."""

    MISSING = "missing"
    """The target has none."""
    EXTRA = "extra"
    """The source has none."""
    DIFFERENT = "different"


@dataclass(slots=True, frozen=True)
class RowDifference:
    """A row that is not equal. ``thing`` is None for rows without a key, which ``row_hash`` names then; ``copies``:
    how many equal rows source and target have.
    """

    kind: DifferenceKind
    thing: Thing | None
    row_hash: int = 0
    copies: tuple[int, int] = (0, 0)


@dataclass(slots=True, frozen=True)
class Compared:
    """What a table's checksums say: rows of each side, and the buckets that differ."""

    buckets: Buckets
    sums: dict[Side, Checksums]
    differing: tuple[int, ...]


async def compare(
    pair: Pair,
    pairs: Pairs,
    *,
    with_computed: bool = False,
    parallel: int = 2,
    on_progress: Progress | None = None,
    kept: KeptSums | None = None,
) -> Compared:
    """Compute both sides' checksums at the same time and compare them. kept: what is done of it, gone on with and kept."""
    buckets = await buckets_for(pair, pairs) if kept is None else await kept.begin(pair, pairs)
    found = await all_of(
        *(
            checksums(
                pair,
                side,
                database,
                buckets,
                with_computed=with_computed,
                parallel=parallel,
                on_progress=on_progress,
                keeps=kept,
            )
            for side, database in pairs.databases.items()
        )
    )
    sums = dict(zip(pairs.databases, found, strict=True))
    return Compared(buckets, sums, tuple(sums[Side.SUPABASE].differing(sums[Side.ISOBASE])))


async def differing_rows(
    pair: Pair, pairs: Pairs, target: Side, *, compared: Compared | None = None, with_computed: bool = False
) -> AsyncGenerator[RowDifference, None]:
    """Give the rows that differ, in the order of their keys' text.

    compared: what ``compare`` said, to read only the buckets that differ; None reads all rows.
    """
    if compared is not None and not compared.differing:
        return
    condition = _condition(pair, compared)
    async with AsyncExitStack() as stack:
        streams = {
            side: await stack.enter_async_context(_Stream(database, _listing(pair, side, condition, with_computed)))
            for side, database in pairs.databases.items()
        }
        source, target_stream = streams[target.other], streams[target]
        mine, theirs = await source.next(), await target_stream.next()
        while mine is not None or theirs is not None:
            if theirs is None or (mine is not None and mine["place"] < theirs["place"]):
                assert mine is not None
                yield _difference(pair, DifferenceKind.MISSING, mine, (mine["copies"], 0))
                mine = await source.next()
            elif mine is None or theirs["place"] < mine["place"]:
                yield _difference(pair, DifferenceKind.EXTRA, theirs, (0, theirs["copies"]))
                theirs = await target_stream.next()
            else:
                if (mine["h"], mine["copies"]) != (theirs["h"], theirs["copies"]):
                    yield _difference(pair, DifferenceKind.DIFFERENT, mine, (mine["copies"], theirs["copies"]))
                mine, theirs = await source.next(), await target_stream.next()


def is_small(pair: Pair) -> bool:
    """Whether a table is merged at once: known to be small."""
    estimates = (pair.supabase.estimated_rows, pair.isobase.estimated_rows)
    return all(0 <= rows < SMALL_TABLE_ROWS for rows in estimates)


class _Stream:
    """Reads a query's rows through a cursor, some thousands at a time."""

    def __init__(self, database: SideDatabase, query: str) -> None:
        self._database, self._query = database, query
        # A name for each shape of rows: the statement that fetches is prepared, and kept by its text.
        self._cursor = f"differences_{hashlib.blake2b(query.encode(), digest_size=8).hexdigest()}"
        self._stack = AsyncExitStack()
        self._rows: list[Any] = []
        self._at = 0

    async def __aenter__(self) -> _Stream:
        connection = await self._stack.enter_async_context(
            self._database.transaction(snapshot="", statement_timeout_s=SCAN_TIMEOUT_S)
        )
        self._connection = connection
        await connection.execute(f"declare {self._cursor} no scroll cursor for {self._query}")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def next(self) -> Any:
        """Give the next row, None after the last."""
        if self._at >= len(self._rows):
            self._rows = await self._connection.fetch(f"fetch {ROWS_PER_FETCH} from {self._cursor}")
            self._at = 0
            if not self._rows:
                return None
        self._at += 1
        return self._rows[self._at - 1]


def _condition(pair: Pair, compared: Compared | None) -> str:
    if compared is None or len(compared.differing) > MAX_NAMED_BUCKETS:
        return "true"
    # Numbers of our own: a cursor's declaration takes no parameters.
    numbers = ",".join(map(str, compared.differing))
    condition = f"{compared.buckets.expression(pair, 't')} = any('{{{numbers}}}'::bigint[])"
    if compared.buckets.is_range:
        low, high = compared.differing[0], compared.differing[-1]
        shift, key = compared.buckets.shift, quote_identifier(pair.key[0])
        # The index over the key can serve this part.
        condition += f" and t.{key} >= {low << shift} and t.{key} <= {((high + 1) << shift) - 1}"
    return condition


def _listing(pair: Pair, side: Side, condition: str, with_computed: bool) -> str:
    table = pair.at(side)
    hashed = row_hash(pair, "t", with_computed=with_computed)
    source = f"from {qualified(table.schema, table.name)} as t where {condition}"
    if not pair.key:
        return f"select {hashed} as place, {hashed} as h, count(*) as copies {source} group by 1, 2 order by 1"
    keys = ", ".join(f"t.{quote_identifier(name)}::text as k{i}" for i, name in enumerate(pair.key))
    place = f"t.{quote_identifier(pair.key[0])}::bigint" if is_integer_key(pair) else key_text_of(pair, "t")
    return f"select {place} as place, {hashed} as h, 1::bigint as copies, {keys} {source} order by 1"


def _difference(pair: Pair, kind: DifferenceKind, row: Any, copies: tuple[int, int]) -> RowDifference:
    if not pair.key:
        return RowDifference(kind, None, row["h"], copies)
    key = tuple(row[f"k{i}"] for i in range(len(pair.key)))
    return RowDifference(kind, canonical(pair.names, Thing(ThingKind.ROW, pair.resource, key)))
