"""Counts and checksums of a table's rows, by ranges of keys, computed inside each database.

The table is read in its physical order, piece by piece (each a short statement at the rate of a sequential scan), from
one snapshot. Every piece gives a count and a sum of row hashes for each bucket, and the pieces are added up here: sums
do not depend on the order of rows, so both sides may lay them out as they like. A bucket is a range of an integer key,
or a share of the keys' hashes where keys are of another kind: no collation plays a part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.pairs import Pair, Pairs
from isobase_adapter.rows.quoting import columns_list, qualified, quote_identifier
from isobase_adapter.rows.tables import Table
from isobase_adapter.sides import Side

__all__ = ["Buckets", "Checksums", "Keeps", "all_of", "buckets_for", "checksums", "compared_text", "row_hash"]

ROWS_PER_BUCKET = 1_000
MAX_BUCKETS_BITS = 16
PAGES_PER_PIECE = 16_384
"""128 MB."""
MIN_VERSION_OF_RANGES = 14
"""From this version on a range of physical places is read without reading what is before it."""
SCAN_TIMEOUT_S = 3600.0
WRAP = 1 << 64
INTEGERS = frozenset({"int2", "int4", "int8"})
PLAIN_TYPES = frozenset(
    {"int8", "uuid", "bool", "date", "timestamp", "timestamptz", "time", "text", "varchar", "bytea"}
)
"""Types whose equal values are the same in every respect, and whose hashes are the same on every server. Not floats (zero
has two signs), numerics (1.0 and 1.00), enums (hashed by a number that each database gives), or anything of JSON.
"""
T = TypeVar("T")


class Keeps(Protocol):
    """Keeps what pieces came to, for a comparison that goes on later."""

    def kept(self, side: Side) -> tuple[Collection[str], Mapping[int, tuple[int, int]]]:
        """Give the names of the pieces that were read before, and what they came to."""
        ...

    def keep(self, side: Side, piece: str, sums: Mapping[int, tuple[int, int]]) -> None:
        """Keep a piece's count and sum for each bucket."""
        ...


Progress = Callable[[Side, int, int], None]
"""Told the side, the pages read so far and the pages in all."""


@dataclass(slots=True, frozen=True)
class Buckets:
    """How rows fall into buckets: by an integer key's high bits (``is_range``), or by the hash's."""

    is_range: bool
    shift: int

    def expression(self, pair: Pair, alias: str) -> str:
        """Give the bucket's number as SQL."""
        if self.is_range:
            return f"({alias}.{quote_identifier(pair.key[0])}::bigint >> {self.shift})"
        # Rows without a key are known by their whole content.
        text = key_text_of(pair, alias) if pair.key else compared_text(pair, alias)
        return f"((hashtextextended({text}, 1) >> {self.shift}) & {(1 << (64 - self.shift)) - 1})"

    def name(self, pair: Pair, number: int) -> str:
        """Say which rows a bucket holds."""
        if self.is_range:
            return f"{pair.key[0]} {number << self.shift}..{((number + 1) << self.shift) - 1}"
        return f"share {number} of {1 << (64 - self.shift)} by hash"


@dataclass(slots=True)
class Checksums:
    """One side's count and sum for each bucket that has rows."""

    buckets: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(count for count, _ in self.buckets.values())

    def add(self, bucket: int, count: int, total: int) -> None:
        """Add a piece's."""
        known_count, known_total = self.buckets.get(bucket, (0, 0))
        self.buckets[bucket] = (known_count + count, (known_total + total) % WRAP)

    def differing(self, other: Checksums) -> list[int]:
        """Give the buckets that are not equal."""
        numbers = self.buckets.keys() | other.buckets.keys()
        return sorted(number for number in numbers if self.buckets.get(number) != other.buckets.get(number))


def compared_text(pair: Pair, alias: str, *, with_computed: bool = False) -> str:
    """Give a row's text for comparing: the same at both sides when the row is.

    with_computed: generated columns too, which are not carried.
    """
    return _text_of(_compared_columns(pair, with_computed), alias)


def row_hash(pair: Pair, alias: str, *, with_computed: bool = False) -> str:
    """Give a row's 64-bit hash as SQL.

    Types of which equal values are the same bytes are hashed as they are, the others by their text, which costs more. The
    two are mixed by a hash that is not linear: in a plain sum, two rows that swapped a value would go unseen.
    """
    names = _compared_columns(pair, with_computed)
    plain = [name for name in names if pair.can_hash_records and _is_plain(pair, name)]
    others = [name for name in names if name not in plain]
    if not plain:
        return f"hashtextextended({_text_of(names, alias)}, 0)"
    seed = f"hashtextextended({_text_of(others, alias)}, 0)" if others else "0"
    return f"hashint8extended(hash_record_extended(row({columns_list(plain, alias)}), 0), {seed})"


def _compared_columns(pair: Pair, with_computed: bool) -> list[str]:
    carried = set(pair.carried(Side.SUPABASE)) & set(pair.carried(Side.ISOBASE))
    return sorted(pair.compared if with_computed else carried)


def _text_of(names: list[str], alias: str) -> str:
    return f'row({columns_list(names, alias)})::text collate "C"'


def _is_plain(pair: Pair, name: str) -> bool:
    columns = [table.column(name) for table in (pair.supabase, pair.isobase)]
    bases = {"int8" if column.base in INTEGERS else column.base for column in columns if column is not None}
    # A collation of the column's own may call different texts equal.
    return len(bases) == 1 and bases <= PLAIN_TYPES and not any(column.collation for column in columns if column)


def key_text_of(pair: Pair, alias: str) -> str:
    """Give a row's key as one text."""
    return f'row({columns_list(pair.key, alias)})::text collate "C"'


async def buckets_for(pair: Pair, pairs: Pairs) -> Buckets:
    """Choose buckets of about ``ROWS_PER_BUCKET`` rows, by the planner's estimate of how many rows there are."""
    rows = max(pair.supabase.estimated_rows, pair.isobase.estimated_rows, ROWS_PER_BUCKET)
    bits = min((rows // ROWS_PER_BUCKET).bit_length(), MAX_BUCKETS_BITS)
    if not is_integer_key(pair):
        return Buckets(False, 64 - max(bits, 1))
    key = quote_identifier(pair.key[0])
    bounds = await asyncio.gather(
        *(
            database.fetch(
                f"select min(t.{key})::bigint as low, max(t.{key})::bigint as high from {_name(pair.at(side))} t"
            )
            for side, database in pairs.databases.items()
        )
    )
    values = [value for rows_ in bounds for value in (rows_[0]["low"], rows_[0]["high"]) if value is not None]
    width = max(values) - min(values) if values else 0
    return Buckets(True, min(max(width.bit_length() - bits, 0), 63))


def is_integer_key(pair: Pair) -> bool:
    """Whether the key is one integer at both sides."""
    return len(pair.key) == 1 and all(
        (column := table.column(pair.key[0])) is not None and column.base in INTEGERS
        for table in (pair.supabase, pair.isobase)
    )


async def checksums(
    pair: Pair,
    side: Side,
    database: SideDatabase,
    buckets: Buckets,
    *,
    with_computed: bool = False,
    parallel: int = 2,
    on_progress: Progress | None = None,
    keeps: Keeps | None = None,
) -> Checksums:
    """Compute the checksums of a table at one side, ``parallel`` pieces at a time; those that ``keeps`` has are not read."""
    known, sums = keeps.kept(side) if keeps is not None else ((), {})
    found = Checksums(dict(sums))
    await database.start()
    async with database.snapshot() as snapshot:
        pieces = await _pieces(pair.at(side), database)
        pages = sum(piece.pages for piece in pieces)
        left = [piece for piece in pieces if piece.name not in known]
        done = pages - sum(piece.pages for piece in left)
        waiting = iter(left)

        async def work() -> None:
            nonlocal done
            for piece in waiting:
                query = (
                    f"select bucket, count(*) as n, sum(h) as total from (select "
                    f"{buckets.expression(pair, 't')} as bucket, {row_hash(pair, 't', with_computed=with_computed)} as h "
                    f"from {piece.source}) as x group by 1"
                )
                async with database.transaction(snapshot=snapshot, statement_timeout_s=SCAN_TIMEOUT_S) as connection:
                    rows = await connection.fetch(query)
                came_to = {row["bucket"]: (row["n"], int(row["total"])) for row in rows}
                for bucket, (count, total) in came_to.items():
                    found.add(bucket, count, total)
                if keeps is not None and not piece.is_open:
                    keeps.keep(side, piece.name, came_to)
                done += piece.pages
                if on_progress is not None:
                    on_progress(side, done, pages)

        await all_of(*(work() for _ in range(min(parallel, len(left)))))
    return found


async def all_of(*parts: Coroutine[Any, Any, T]) -> list[T]:
    """Run ``parts`` at the same time; the first error ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in parts]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


@dataclass(slots=True, frozen=True)
class _Piece:
    source: str
    pages: int
    name: str
    is_open: bool = True
    """Whether it has no end: what is written behind it later belongs to it."""


async def _pieces(table: Table, database: SideDatabase) -> list[_Piece]:
    """Divide a table (its partitions, where it has some) by its pages; the last piece of each has no end."""
    leaves = await database.fetch(
        """
        select n.nspname as schema, c.relname as name, greatest(pg_relation_size(c.oid) / 8192, 1)::bigint as pages,
          c.relkind = 'r' and am.amname = 'heap' as is_heap
        from (select relid from pg_partition_tree(to_regclass($1)) where isleaf
              union select to_regclass($1) where not $2) l
        join pg_class c on c.oid = l.relid join pg_namespace n on n.oid = c.relnamespace
        left join pg_am am on am.oid = c.relam
        """,
        _name(table),
        table.is_partitioned,
    )
    pieces: list[_Piece] = []
    for leaf in leaves:
        place = f"{leaf['schema']}.{leaf['name']}"
        name = f"only {qualified(leaf['schema'], leaf['name'])} as t"
        if not leaf["is_heap"] or database.version < MIN_VERSION_OF_RANGES:
            pieces.append(_Piece(name, leaf["pages"], place))
            continue
        for start in range(0, leaf["pages"], PAGES_PER_PIECE):
            end = start + PAGES_PER_PIECE
            is_last = end >= leaf["pages"]
            upper = "" if is_last else f" and t.ctid < '({end},0)'::tid"
            pages = leaf["pages"] - start if is_last else PAGES_PER_PIECE
            source = f"{name} where t.ctid >= '({start},0)'::tid{upper}"
            pieces.append(_Piece(source, pages, f"{place} pages {start}..{start + pages - 1}", is_last))
    return pieces


def _name(table: Table) -> str:
    return qualified(table.schema, table.name)
