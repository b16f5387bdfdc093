"""Compares the rows of tables, looks again before it blames, and repairs by carrying from the side that is right."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import asyncpg

from isobase_adapter.contracts import Fence
from isobase_adapter.reasons import reason_of
from isobase_adapter.rows import statements
from isobase_adapter.rows.catalog import UnknownTable
from isobase_adapter.rows.checksums import Progress, compared_text, row_hash
from isobase_adapter.rows.differences import Compared, DifferenceKind, RowDifference, compare, differing_rows
from isobase_adapter.rows.kept_sums import KeptSums
from isobase_adapter.rows.keys import keys_by_column, table_thing
from isobase_adapter.rows.pairs import HiddenRows, Pair
from isobase_adapter.rows.quoting import qualified, quote_identifier
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing
from isobase_adapter.verify.results import NamedRow, TableResult

__all__ = ["TableVerifier", "VerifyOptions"]

ROWS_PER_BATCH = 1_000
FEW_ROWS = 500
"""A batch with more rows than this that differ is no matter of writes on their way: it is not waited for."""
MAX_NAMED_RANGES = 50
RECHECK_PAUSES_S = (0.0, 0.2, 1.0, 3.0)

Judged = Callable[[int], None]


@dataclass(slots=True, frozen=True)
class VerifyOptions:
    """How to verify. ``max_named``: rows named per table. ``parallel``: pieces of a table read at a time, per side.

    ``recheck_pauses_s``: seconds to wait before each further look at rows that differ.
    """

    max_named: int = 100
    parallel: int = 2
    repair: bool = False
    recheck_pauses_s: tuple[float, ...] = field(default=RECHECK_PAUSES_S)


class TableVerifier:
    """Verifies tables of the two databases that ``carrier`` has."""

    def __init__(self, carrier: RowCarrier, options: VerifyOptions | None = None) -> None:
        self._carrier = carrier
        self._options = options or VerifyOptions()

    async def tables(self) -> tuple[list[str], list[str]]:
        """Give the tables that both sides have, and those that Supabase alone has."""
        views = {side: await database.catalog.view() for side, database in self._carrier.pairs.databases.items()}
        theirs, ours = (set(views[side].tables) for side in (Side.SUPABASE, Side.ISOBASE))
        return sorted(theirs & ours), sorted(theirs - ours)

    async def verify(
        self,
        resource: str,
        source: Side,
        *,
        fence: Fence | None = None,
        on_progress: Progress | None = None,
        kept: KeptSums | None = None,
        on_judged: Judged | None = None,
    ) -> TableResult:
        """Compare one table, and repair the side across from ``source`` where that was asked for.

        on_judged: told how many of the rows that differed at first were looked at again (and repaired).
        kept: what is done of it; the result says which parts are older than this run. fence: keeps repairs from a side
        that became the writer. What keeps a table from being compared is in the result's ``error``; lost connections and
        ``WriterMoved`` are raised.
        """
        began_s = time.monotonic()
        result = TableResult(resource, source)
        try:
            pair = await self._carrier.pair(resource)
            await self._compare(pair, result, fence, on_progress, kept, on_judged or (lambda rows: None))
        except (UnknownTable, HiddenRows) as error:
            result.error = str(error)
        except asyncpg.PostgresError as error:
            if isinstance(error, asyncpg.PostgresConnectionError):
                raise
            result.error = reason_of(error)
        result.seconds = round(time.monotonic() - began_s, 3)
        return result

    async def _compare(
        self,
        pair: Pair,
        result: TableResult,
        fence: Fence | None,
        on_progress: Progress | None,
        kept: KeptSums | None,
        on_judged: Judged,
    ) -> None:
        pairs, target = self._carrier.pairs, result.source.other
        result.left_out = {str(side): list(pair.only_at(side)) for side in Side if pair.only_at(side)}
        compared = await compare(
            pair, pairs, with_computed=True, parallel=self._options.parallel, on_progress=on_progress, kept=kept
        )
        if kept is not None and kept.oldest is not None:
            result.as_of, result.older = kept.oldest.isoformat(timespec="seconds"), kept.describe_older()
        result.rows = {str(side): sums.rows for side, sums in compared.sums.items()}
        result.buckets = len(compared.sums[Side.SUPABASE].buckets.keys() | compared.sums[Side.ISOBASE].buckets.keys())
        names = (compared.buckets.name(pair, number) for number in compared.differing[:MAX_NAMED_RANGES])
        result.differing_ranges = list(names)
        if not pair.key:
            await self._compare_copies(pair, compared, result, fence)
            return
        async with aclosing(self._batches(pair, compared, target)) as batches:
            async for batch in batches:
                things = [difference.thing for difference in batch if difference.thing is not None]
                await self._judge(pair, things, result, fence)
                on_judged(len(things))

    async def _judge(self, pair: Pair, things: Sequence[Thing], result: TableResult, fence: Fence | None) -> None:
        """Look at rows again until they are equal or it is known that they are not; repair, count and name them."""
        left = dict.fromkeys(things, DifferenceKind.DIFFERENT)
        for pause_s in self._options.recheck_pauses_s:
            if not left or (pause_s and len(left) > FEW_ROWS):
                break
            await asyncio.sleep(pause_s)
            left = await self._still(pair, list(left), result.source)
        result.in_flight += len(things) - len(left)
        if left and self._options.repair:
            await self._carrier.carry(list(left), result.source.other, fence=fence)
            after = await self._still(pair, list(left), result.source)
            result.repaired += len(left) - len(after)
            left = after
        counts = Counter(left.values())
        result.missing += counts[DifferenceKind.MISSING]
        result.extra += counts[DifferenceKind.EXTRA]
        result.different += counts[DifferenceKind.DIFFERENT]
        for thing, kind in list(left.items())[: self._options.max_named - len(result.named)]:
            columns = await self._differing_columns(pair, thing) if kind is DifferenceKind.DIFFERENT else ()
            result.named.append(NamedRow(kind, thing.key, columns))

    async def _still(self, pair: Pair, things: list[Thing], source: Side) -> dict[Thing, DifferenceKind]:
        """Give those of ``things`` that differ now, and how."""
        texts: dict[Side, dict[Thing, str]] = {}
        for side in (source, source.other):
            read = statements.read_rows(pair, side, compared_text(pair, "t", with_computed=True))
            rows = await self._carrier.database(side).fetch(read, *keys_by_column([thing.key for thing in things]))
            texts[side] = {things[row["n"] - 1]: row["row"] for row in rows}
        found: dict[Thing, DifferenceKind] = {}
        for thing in things:
            mine, theirs = texts[source].get(thing), texts[source.other].get(thing)
            if mine != theirs:
                found[thing] = (
                    DifferenceKind.MISSING
                    if theirs is None
                    else DifferenceKind.EXTRA
                    if mine is None
                    else DifferenceKind.DIFFERENT
                )
        return found

    async def _differing_columns(self, pair: Pair, thing: Thing) -> tuple[str, ...]:
        each = ", ".join(f"row(t.{quote_identifier(name)})::text" for name in pair.compared)
        values: list[Sequence[str]] = []
        for side, database in self._carrier.pairs.databases.items():
            rows = await database.fetch(
                statements.read_rows(pair, side, f"array[{each}]"), *keys_by_column([thing.key])
            )
            values += [row["row"] for row in rows]
        if len(values) != 2:
            return ()
        return tuple(
            name for name, mine, theirs in zip(pair.compared, values[0], values[1], strict=True) if mine != theirs
        )

    async def _compare_copies(self, pair: Pair, compared: Compared, result: TableResult, fence: Fence | None) -> None:
        """The same for rows without a key: those that one side has more copies of."""
        async with aclosing(self._batches(pair, compared, result.source.other)) as batches:
            async for batch in batches:
                hashes = [difference.row_hash for difference in batch]
                left = dict.fromkeys(hashes, (0, 0))
                for pause_s in self._options.recheck_pauses_s:
                    if not left or (pause_s and len(left) > FEW_ROWS):
                        break
                    await asyncio.sleep(pause_s)
                    left = await self._copies(pair, list(left), result.source)
                result.in_flight += len(batch) - len(left)
                if left and self._options.repair:
                    await self._carrier.carry([table_thing(pair.names)], result.source.other, fence=fence)
                    after = await self._copies(pair, list(left), result.source)
                    result.repaired += len(left) - len(after)
                    left = after
                result.missing += sum(max(mine - theirs, 0) for mine, theirs in left.values())
                result.extra += sum(max(theirs - mine, 0) for mine, theirs in left.values())

    async def _copies(self, pair: Pair, hashes: list[int], source: Side) -> dict[int, tuple[int, int]]:
        counts: dict[Side, dict[int, int]] = {}
        hashed = row_hash(pair, "t", with_computed=True)
        for side, database in self._carrier.pairs.databases.items():
            table = pair.at(side)
            rows = await database.fetch(
                f"select {hashed} as h, count(*) as n from {qualified(table.schema, table.name)} as t "
                f"where {hashed} = any($1::bigint[]) group by 1",
                hashes,
            )
            counts[side] = {row["h"]: row["n"] for row in rows}
        both = {number: (counts[source].get(number, 0), counts[source.other].get(number, 0)) for number in hashes}
        return {number: pair_ for number, pair_ in both.items() if pair_[0] != pair_[1]}

    async def _batches(self, pair: Pair, compared: Compared, target: Side) -> AsyncGenerator[list[RowDifference], None]:
        found = differing_rows(pair, self._carrier.pairs, target, compared=compared, with_computed=True)
        batch: list[RowDifference] = []
        async with aclosing(found) as differences:
            async for difference in differences:
                batch.append(difference)
                if len(batch) >= ROWS_PER_BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch
