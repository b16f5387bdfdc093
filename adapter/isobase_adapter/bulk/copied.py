"""Which tables are copied, which of their columns, and how each is cut into ranges.

A table is cut by its primary key where its rows lie in the key's order (numbers that grow), else by blocks of its file:
a range of random keys would read the whole table once per range (docs/decisions/0038-ranges-of-a-copy.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from isobase_adapter.bulk.connections import Connection
from isobase_adapter.bulk.managed import MANAGED_SCHEMAS

__all__ = ["CopiedTable", "RangeCut", "copied_tables", "cut"]

RANGE_BYTES = 64 * 1024 * 1024
"""About so much of a table is one range: what is done again after an interruption."""
MAX_RANGES = 4096
MIN_CORRELATION = 0.9
"""From this on rows lie in the order of their keys (``pg_stats.correlation``)."""
SAMPLED_PER_RANGE = 200
MIN_BLOCK_RANGE_VERSION = 140_000
"""Older servers read the whole table for a range of blocks."""


@dataclass(slots=True, frozen=True)
class CopiedTable:
    """A table that both sides have. ``quoted`` and ``columns`` are as SQL writes them; ``schema`` and ``table`` plain."""

    schema: str
    table: str
    quoted: str
    columns: tuple[str, ...]
    plain_columns: tuple[str, ...]
    key: tuple[str, ...]
    key_types: tuple[str, ...]
    rows: int
    size_bytes: int
    blocks: int
    file_number: int
    correlation: float
    is_binary: bool
    left_out: tuple[str, ...] = ()
    """Columns that one side alone has."""

    @property
    def name(self) -> str:
        """``schema.table`` as flags and reports have it."""
        return f"{self.schema}.{self.table}"


@dataclass(slots=True, frozen=True)
class RangeCut:
    """A table's ranges, as conditions; together they are the whole table. ``method``: ``keys``, ``blocks``, ``whole``."""

    method: str
    conditions: tuple[str, ...]


_TABLES = """
select n.nspname as schema, c.relname as table, format('%I.%I', n.nspname, c.relname) as quoted,
       greatest(c.reltuples, 0)::bigint as rows, pg_table_size(c.oid) as size_bytes,
       pg_relation_size(c.oid) / current_setting('block_size')::int as blocks,
       pg_relation_filenode(c.oid)::bigint as file_number,
       (select json_agg(json_build_object('name', a.attname, 'quoted', quote_ident(a.attname),
                                          'type', format_type(a.atttypid, a.atttypmod),
                                          'is_binary', (case when t.typtype = 'd' then t.typbasetype else t.oid end) < 16384
                                                        and t.typsend <> 0 and t.typreceive <> 0)
                        order by a.attnum)
          from pg_attribute as a join pg_type as t on t.oid = a.atttypid
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '')::text as columns,
       coalesce((select json_agg(json_build_object('quoted', quote_ident(a.attname), 'name', a.attname,
                                                   'type', format_type(a.atttypid, a.atttypmod)) order by k.position)
                   from pg_index as i
                   cross join lateral unnest(i.indkey::int2[]) with ordinality as k (number, position)
                   join pg_attribute as a on a.attrelid = c.oid and a.attnum = k.number
                  where i.indrelid = c.oid and i.indisprimary and k.position <= i.indnkeyatts), '[]')::text as key
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
 where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by 1, 2
"""


async def copied_tables(source: Connection, target: Connection) -> tuple[list[CopiedTable], list[str]]:
    """Give the tables that can be copied, largest first, and the names of those that the target has not."""
    there = {
        (record["schema"], record["table"]): {one["name"]: one for one in json.loads(record["columns"] or "[]")}
        for record in await target.fetch(_TABLES, list(MANAGED_SCHEMAS))
    }
    found: list[CopiedTable] = []
    missing: list[str] = []
    for record in await source.fetch(_TABLES, list(MANAGED_SCHEMAS)):
        columns = json.loads(record["columns"] or "[]")
        others = there.get((record["schema"], record["table"]))
        if others is None:
            missing.append(f"{record['schema']}.{record['table']}")
            continue
        shared = [one for one in columns if one["name"] in others]
        key = json.loads(record["key"])
        correlation = 0.0
        if key:
            correlation = await source.fetchval(
                "select coalesce(max(correlation), 0)::float8 from pg_stats"
                " where schemaname = $1 and tablename = $2 and attname = $3",
                record["schema"],
                record["table"],
                key[0]["name"],
            )
        found.append(
            CopiedTable(
                schema=record["schema"],
                table=record["table"],
                quoted=record["quoted"],
                columns=tuple(one["quoted"] for one in shared),
                plain_columns=tuple(one["name"] for one in shared),
                key=tuple(one["quoted"] for one in key),
                key_types=tuple(one["type"] for one in key),
                rows=record["rows"],
                size_bytes=record["size_bytes"],
                blocks=record["blocks"],
                file_number=record["file_number"],
                correlation=abs(correlation),
                # The binary form holds numbers of types that differ between databases for what is not built in.
                is_binary=all(
                    one["is_binary"] and others[one["name"]]["is_binary"] and one["type"] == others[one["name"]]["type"]
                    for one in shared
                ),
                left_out=tuple(sorted({one["name"] for one in columns} ^ others.keys())),
            )
        )
    return sorted(found, key=lambda one: -one.size_bytes), missing


async def cut(source: Connection, table: CopiedTable, range_bytes: int = RANGE_BYTES) -> RangeCut:
    """Cut a table into ranges of about ``range_bytes``; one without a primary key stays whole.

    Without a key nothing would tell rows that come twice when a copy is taken up again.
    """
    count = min(math.ceil(table.size_bytes / range_bytes), MAX_RANGES)
    if count < 2 or not table.key:
        return RangeCut("whole", ("",))
    if table.correlation >= MIN_CORRELATION or source.get_server_version().major * 10_000 < MIN_BLOCK_RANGE_VERSION:
        bounds = await _key_bounds(source, table, count)
        if bounds:
            return RangeCut("keys", _between(f"({', '.join(table.key)})", bounds))
    step = math.ceil(max(table.blocks, 1) / count)
    blocks = [f"'({number},0)'::tid" for number in range(step, table.blocks, step)]
    return RangeCut("blocks", _between("ctid", blocks))


def _between(place: str, bounds: Sequence[str]) -> tuple[str, ...]:
    lows = [f"{place} >= {bound}" for bound in bounds]
    highs = [f"{place} < {bound}" for bound in bounds]
    return (
        (
            highs[0],
            *(f"{low} and {high}" for low, high in zip(lows[:-1], highs[1:], strict=True)),
            lows[-1],
        )
        if bounds
        else ("",)
    )


async def _key_bounds(source: Connection, table: CopiedTable, count: int) -> list[str]:
    percent = min(100.0, max(0.01, 100.0 * count * SAMPLED_PER_RANGE / max(table.rows, 1)))
    literal = " || ', ' || ".join(
        f"quote_literal({column}::text) || '::{type_name}'"
        for column, type_name in zip(table.key, table.key_types, strict=True)
    )
    keys = ", ".join(table.key)
    question = (
        f"select '(' || {literal} || ')' as bound from (select {keys} from only {table.quoted}"  # noqa: S608  quoted there
        f" tablesample system ({percent:.4f}) order by {keys}) as sample"
    )
    sample = [record["bound"] for record in await source.fetch(question)]
    picked = [sample[len(sample) * number // count] for number in range(1, count)] if len(sample) >= count else []
    return list(dict.fromkeys(picked))
