"""Compares what the two sides define: columns, constraints, indexes, triggers, policies, functions, grants, settings.

A missing or other definition at Isobase makes the app behave otherwise there, so it stands in the way of a cutover;
what Isobase has besides, and what no app can see, is noted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg

from isobase_adapter.rows.checksums import all_of
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.pairs import Pairs
from isobase_adapter.rows.sequences import compared_positions
from isobase_adapter.sides import Side
from isobase_adapter.verify.results import SchemaDifference, Severity
from isobase_adapter.verify.schema_query import DATABASE_QUERY, DEFINITIONS

__all__ = ["MAX_CLOCK_DIFFERENCE_S", "compare_schemas", "is_same_view", "reprinted"]

MAX_CLOCK_DIFFERENCE_S = 2.0
"""Clocks that are farther apart give rows that are made at both sides another order."""
MAX_DEFINITION_LENGTH_CHARS = 2_000
NOTED_KINDS = frozenset({"collation", "extension", "sequence"})
"""Kinds that no caller of the API sees by themselves; an extension that is missing makes what needs it missing too."""
WHOLES = frozenset({"table", "view", "materialized view", "function", "procedure", "aggregate", "sequence"})
"""Kinds of things that have parts and rights of their own."""
COMPARED_LENGTH_CHARS = MAX_DEFINITION_LENGTH_CHARS - 10
"""Of a text that was cut off before its white space went."""
OWN_POLICY = re.compile(r"storage\.objects\.(?:[\w-]+: owner may \w+|kind [\w-]+: owner may do everything)")
OWN_ROOMS = "realtime.messages.isobase_rooms_"
"""How the policies begin by which Isobase keeps its rooms; schema.sql makes them."""
VIEW_TEXT = """
select pg_get_viewdef(c.oid) as text, coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', '') as options
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'v' and n.nspname || '.' || c.relname = $1
"""
HARMLESS_EXTRAS = frozenset(
    {"index", "function", "procedure", "aggregate", "view", "materialized view", "type", "table"}
)
"""Kinds of which more at Isobase change nothing for an app that knows nothing of them."""


async def compare_schemas(
    pairs: Pairs, *, writer: Side = Side.SUPABASE, schemas: Collection[str] | None = None
) -> list[SchemaDifference]:
    """Give everything that the two sides define differently, in order of kind and name.

    writer: the side that is written first: the other's sequences may not be behind its. schemas: which to compare, None
    for those of the app at Supabase. Function bodies are compared by hash. Raises the databases' errors.
    """
    if schemas is None:
        view = await pairs.databases[Side.SUPABASE].catalog.view()
        schemas = view.schemas
    wanted = sorted(schemas)
    found = dict(
        zip(
            pairs.databases,
            await all_of(*(_definitions(database, wanted) for database in pairs.databases.values())),
            strict=True,
        )
    )
    theirs, ours = found[Side.SUPABASE], found[Side.ISOBASE]
    differences = [
        SchemaDifference(kind, name, theirs.get((kind, name)), ours.get((kind, name)), _severity(kind, name, theirs))
        for kind, name in sorted(theirs.keys() | ours.keys())
        if theirs.get((kind, name)) != ours.get((kind, name))
    ]
    differences = _without_parts(differences, ours, theirs)
    differences = await _without_other_prints(pairs, differences)
    differences = await _with_own_policies_noted(pairs, differences)
    differences += await _sequences_behind(pairs, writer)
    differences += await _clocks(pairs)
    return differences


async def _definitions(database: SideDatabase, schemas: list[str]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    async with database.transaction() as connection:
        for query in DEFINITIONS:
            for kind, name, definition in await connection.fetch(query, schemas):
                found[kind, name] = (definition or "")[:MAX_DEFINITION_LENGTH_CHARS]
        for kind, name, definition in await connection.fetch(DATABASE_QUERY):
            found[kind, name] = definition
    return found


def _severity(kind: str, name: str, theirs: dict[tuple[str, str], str]) -> Severity:
    is_harmless = kind in NOTED_KINDS or ((kind, name) not in theirs and kind in HARMLESS_EXTRAS)
    return Severity.NOTE if is_harmless else Severity.STOPS


def _without_parts(
    differences: list[SchemaDifference], ours: dict[tuple[str, str], str], theirs: dict[tuple[str, str], str]
) -> list[SchemaDifference]:
    """Leave out the columns, rights and the rest of what one side has not at all: it is named itself."""
    alone = tuple(name for kind, name in ours.keys() ^ theirs.keys() if kind in WHOLES)
    beginnings = tuple(name + divider for name in alone for divider in (".", " to "))

    def is_part(difference: SchemaDifference) -> bool:
        if difference.kind in WHOLES or None not in (difference.supabase, difference.isobase):
            return False
        return difference.name in alone or difference.name.startswith(beginnings)

    return [difference for difference in differences if not is_part(difference)]


async def _without_other_prints(pairs: Pairs, differences: list[SchemaDifference]) -> list[SchemaDifference]:
    """Leave out views that are the same: servers of other versions print one definition in their own ways."""
    kept = []
    for one in differences:
        is_view = one.kind == "view" and one.supabase is not None and one.isobase is not None
        if not (is_view and await _is_same_view(pairs, one)):
            kept.append(one)
    return kept


async def _is_same_view(pairs: Pairs, difference: SchemaDifference) -> bool:
    rows = await pairs.databases[Side.SUPABASE].fetch(VIEW_TEXT, difference.name)
    return bool(rows) and await is_same_view(
        pairs.databases[Side.ISOBASE], rows[0]["text"], rows[0]["options"], difference
    )


async def is_same_view(isobase: SideDatabase, text: str, options: str, difference: SchemaDifference) -> bool:
    """Whether Isobase prints ``text``, Supabase's query of a view, as it prints its own, and has its ``options``."""
    printed = await reprinted(isobase, text)
    mine, other = _on_one_line(f"{printed}{options}"), _on_one_line(difference.isobase or "")
    return printed is not None and mine[:COMPARED_LENGTH_CHARS] == other[:COMPARED_LENGTH_CHARS]


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


async def reprinted(database: SideDatabase, view: str) -> str | None:
    """Give a view's query as this server prints it; None where it does not take it. Nothing is left of it."""
    async with database.transaction() as connection:
        await connection.execute("savepoint reprinting")
        try:
            # One statement, as fetch takes no more than one.
            await connection.fetch(f"create temporary view isobase_reprinted as {view.strip().removesuffix(';')}")
            text: str = await connection.fetchval("select pg_get_viewdef('pg_temp.isobase_reprinted'::regclass)")
        except asyncpg.PostgresError:
            return None
        finally:
            await connection.execute("rollback to savepoint reprinting")
    return text


async def _with_own_policies_noted(pairs: Pairs, differences: list[SchemaDifference]) -> list[SchemaDifference]:
    """Note the policies that Isobase makes for its rooms, and for buckets of its own where Supabase has no such bucket."""
    there: set[str] = set()
    if any(_own_bucket(one) for one in differences):
        there = {row["id"] for row in await pairs.databases[Side.SUPABASE].fetch("select id from storage.buckets")}

    def is_own(one: SchemaDifference) -> bool:
        bucket = _own_bucket(one)
        is_room = one.kind == "policy" and one.supabase is None and one.name.startswith(OWN_ROOMS)
        return is_room or (bucket is not None and bucket not in there)

    return [replace(one, severity=Severity.NOTE) if is_own(one) else one for one in differences]


def _own_bucket(difference: SchemaDifference) -> str | None:
    """The one bucket that a policy of Isobase's alone is for, as its storage names and writes them."""
    if difference.kind != "policy" or difference.supabase is not None or not OWN_POLICY.fullmatch(difference.name):
        return None
    clauses = re.findall(r"(?:using|with check) \((.{0,400}?) AND ", difference.isobase or "")
    buckets = {re.fullmatch(r"\(bucket_id = '([\w-]+)'::text\)", clause) for clause in clauses}
    names = {found[1] if found else None for found in buckets}
    return names.pop() if len(names) == 1 else None


async def _sequences_behind(pairs: Pairs, writer: Side) -> list[SchemaDifference]:
    differences = []
    for sequence, positions in sorted((await compared_positions(pairs)).items()):
        first, second = positions.get(writer), positions.get(writer.other)
        if first is None or second is None:
            continue
        is_behind = (second.next_value - first.next_value) * first.increment < 0
        if is_behind:
            values = {side: str(position.next_value) for side, position in positions.items()}
            differences.append(
                SchemaDifference(
                    "position of sequence", sequence, values[Side.SUPABASE], values[Side.ISOBASE], Severity.NOTE
                )
            )
    return differences


async def _clocks(pairs: Pairs) -> list[SchemaDifference]:
    """Ask both clocks; half of the time that an answer took is taken off."""
    ahead: dict[Side, float] = {}
    for side, database in pairs.databases.items():
        await database.fetch("select 1")
        began_s = time.monotonic()
        ((now,),) = await database.fetch("select clock_timestamp()")
        took_s = time.monotonic() - began_s
        ahead[side] = (now - datetime.now(UTC)).total_seconds() + took_s / 2
    apart_s = ahead[Side.ISOBASE] - ahead[Side.SUPABASE]
    if abs(apart_s) <= MAX_CLOCK_DIFFERENCE_S:
        return []
    return [SchemaDifference("clock", "server", "0 s", f"{apart_s:+.1f} s")]
