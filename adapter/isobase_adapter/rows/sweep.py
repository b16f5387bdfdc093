"""Finds what differs in a whole table, batch by batch, and levels rows that have no key.

Keys that differ are carried as rows, each under its lock, so a write that comes between is no false alarm. Rows without
a key are counted: the target is given as many copies of each as the source has, under the table's lock.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import asyncpg

from isobase_adapter.contracts import Fence
from isobase_adapter.rows import statements
from isobase_adapter.rows.checksums import row_hash
from isobase_adapter.rows.differences import RowDifference, compare, differing_rows, is_small
from isobase_adapter.rows.keys import table_thing
from isobase_adapter.rows.pairs import Pair, Pairs
from isobase_adapter.rows.quoting import columns_list, qualified
from isobase_adapter.sides import Side

__all__ = ["differing_batches", "level_copies"]

ROWS_PER_BATCH = 1_000
"""So many are held while what differs is carried."""
TABLE_LOCK = "share row exclusive"
"""Nobody else writes rows without a name meanwhile: they could not be told from copies of the same."""


async def differing_batches(pair: Pair, pairs: Pairs, target: Side) -> AsyncGenerator[list[RowDifference], None]:
    """Give the rows that differ, some at a time; checksums first where the table is not small."""
    compared = None if is_small(pair) else await compare(pair, pairs)
    batch: list[RowDifference] = []
    async with aclosing(differing_rows(pair, pairs, target, compared=compared)) as differences:
        async for difference in differences:
            batch.append(difference)
            if len(batch) >= ROWS_PER_BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


async def level_copies(
    pair: Pair, pairs: Pairs, target: Side, differences: Sequence[RowDifference], fence: Fence | None = None
) -> int:
    """Give the target as many copies of each row as the source has, for rows without a key. Returns how many changed.

    The counts are taken anew under the lock, at both sides.
    """
    hashes = [difference.row_hash for difference in differences]
    source_table, target_table = pair.at(target.other), pair.at(target)
    source_name = qualified(source_table.schema, source_table.name)
    target_name = qualified(target_table.schema, target_table.name)
    hashed, carried = row_hash(pair, "t"), columns_list(pair.carried(target))
    lock = table_thing(pair.names).lock_number
    shared = None if fence is None else fence.lock_number
    async with pairs.databases[target].transaction(is_writer=True, locks=[lock], shared_lock=shared) as writing:
        if fence is not None:
            await fence.check(writing)
        await writing.execute(f"lock table {target_name} in {TABLE_LOCK} mode")
        wanted = await pairs.databases[target.other].fetch(
            f"select {hashed} as h, count(*) as n, min({statements.row_text(pair, target, 't')}) as row "
            f"from {source_name} as t where {hashed} = any($1::bigint[]) group by 1",
            hashes,
        )
        counts = {row["h"]: row["n"] for row in wanted}
        deleted: str = await writing.execute(
            f"delete from {target_name} as t using (select c.place, c.part from (select t.ctid as place, "
            f"t.tableoid as part, {hashed} as h, row_number() over (partition by {hashed}) as n "
            f"from {target_name} as t where {hashed} = any($1::bigint[])) as c "
            f"join unnest($1::bigint[], $2::bigint[]) as w(h, n) on w.h = c.h where c.n > w.n) as d "
            f"where t.ctid = d.place and t.tableoid = d.part",
            hashes,
            [counts.get(number, 0) for number in hashes],
        )
        present = await writing.fetch(
            f"select {hashed} as h, count(*) as n from {target_name} as t where {hashed} = any($1::bigint[]) group by 1",
            hashes,
        )
        there = {row["h"]: row["n"] for row in present}
        texts = [row["row"] for row in wanted for _ in range(row["n"] - there.get(row["h"], 0))]
        inserted = await _insert(writing, pair, target, target_name, carried, texts)
    return int(deleted.rpartition(" ")[2]) + inserted


async def _insert(
    writing: asyncpg.pool.PoolConnectionProxy, pair: Pair, target: Side, name: str, carried: str, texts: list[str]
) -> int:
    if not texts:
        return 0
    await writing.execute(
        f"with given as ({statements.given_rows(pair, target)}) "
        f"insert into {name} ({carried}) overriding system value select {carried} from given",
        texts,
    )
    return len(texts)
