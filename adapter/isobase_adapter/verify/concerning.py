"""Which definitions a cutover of a pattern rests on: its tables and functions, and whatever these call or are made of.

A table's triggers, policies, defaults and constraints call functions, often in a schema of their own, and those call
others; a function with another body changes what the table's rows become. Which functions a body calls is read from its
text, so one that is only named in a comment counts as well: that errs on the side of refusing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from isobase_adapter.capabilities import Capability, Kind, fits
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.pairs import Pairs
from isobase_adapter.sides import Side
from isobase_adapter.verify.results import SchemaDifference

__all__ = ["Concerned", "concerned_by"]

EVERYWHERE = frozenset({"encoding", "clock", "setting", "setting of role", "setting of database"})
"""Kinds that change every answer of a side."""
FUNCTION_KINDS = frozenset({"function", "procedure", "aggregate"})
OF_AUTH = ("auth.",)
OF_BUCKETS = ("storage.objects", "storage.buckets")
OF_REALTIME = ("realtime.messages",)
OF_REALTIME_KINDS = frozenset({"publication", "replica identity"})

RELATIONS = """
select c.oid::bigint as oid, n.nspname || '.' || c.relname as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and (n.nspname = any($1::text[]) or n.nspname in ('auth', 'storage', 'realtime'))
"""
FUNCTIONS = """
with called as (
  select t.tgfoid as oid from pg_trigger t where t.tgrelid = any($2::bigint[]::oid[]) and not t.tgisinternal
  union
  select d.refobjid from pg_depend d where d.refclassid = 'pg_proc'::regclass and (
    d.classid = 'pg_policy'::regclass and d.objid in (
      select p.oid from pg_policy p where p.polrelid = any($2::bigint[]::oid[]))
    or d.classid = 'pg_attrdef'::regclass and d.objid in (
      select a.oid from pg_attrdef a where a.adrelid = any($2::bigint[]::oid[]))
    or d.classid = 'pg_constraint'::regclass and d.objid in (
      select k.oid from pg_constraint k where k.conrelid = any($2::bigint[]::oid[]))
    or d.classid = 'pg_rewrite'::regclass and d.objid in (
      select r.oid from pg_rewrite r where r.ev_class = any($2::bigint[]::oid[]))
    or d.classid = 'pg_class'::regclass and d.objid in (
      select i.indexrelid from pg_index i where i.indrelid = any($2::bigint[]::oid[])))
)
select n.nspname || '.' || p.proname as name, p.prosrc as body, p.oid in (select oid from called) as is_called
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = any($1::text[])
"""
TYPES = """
with recursive used(oid) as (
  select a.atttypid from pg_attribute a where a.attrelid = any($2::bigint[]::oid[]) and a.attnum > 0 and not a.attisdropped
  union
  select unnest(array[t.typelem, t.typbasetype]) from pg_type t join used u on u.oid = t.oid
)
select n.nspname || '.' || t.typname as name
from used u join pg_type t on t.oid = u.oid join pg_namespace n on n.oid = t.typnamespace
where n.nspname = any($1::text[])
"""


@dataclass(slots=True, frozen=True)
class Concerned:
    """What a pattern rests on. Functions are named without their arguments."""

    pattern: str
    functions: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    schemas: frozenset[str] = field(default_factory=frozenset)

    def has(self, difference: SchemaDifference) -> bool:
        """Whether the definition that differs is among it."""
        kind, name = difference.kind, difference.name
        if self.pattern == "*" or kind in EVERYWHERE:
            return True
        if kind == "publication":
            name = name.partition(" of ")[2]
        if kind in OF_REALTIME_KINDS and fits(self.pattern, Capability(Kind.REALTIME)):
            return True
        if kind == "grant":
            if name.startswith("schema "):
                return name.removeprefix("schema ").rpartition(" to ")[0] in self.schemas
            name = name.rpartition(" to ")[0]
        if kind in FUNCTION_KINDS or (kind == "grant" and "(" in name):
            return name.partition("(")[0] in self.functions
        if kind == "type":
            return name in self.types
        return any(map(self._is_relation, _beginnings(name)))

    def _is_relation(self, name: str) -> bool:
        return _is_relation_of(self.pattern, name)


async def concerned_by(pattern: str, pairs: Pairs) -> Concerned:
    """Find out at both sides what ``pattern`` rests on. Raises the databases' errors."""
    functions: set[str] = set()
    types: set[str] = set()
    relations: set[str] = set()
    schemas = sorted((await pairs.databases[Side.SUPABASE].catalog.view()).schemas)
    for database in pairs.databases.values():
        ours = {row["oid"]: row["name"] for row in await database.fetch(RELATIONS, schemas)}
        mine = [number for number, name in ours.items() if _is_relation_of(pattern, name)]
        relations.update(ours[number] for number in mine)
        functions |= await _functions(pattern, database, schemas, mine)
        types.update(row["name"] for row in await database.fetch(TYPES, schemas, mine))
    named = {name.partition(".")[0] for name in (*relations, *functions)}
    return Concerned(pattern, frozenset(functions), frozenset(types), frozenset(named))


async def _functions(pattern: str, database: SideDatabase, schemas: list[str], relations: list[int]) -> set[str]:
    bodies: dict[str, str] = {}
    called: set[str] = set()
    for row in await database.fetch(FUNCTIONS, schemas, relations):
        # Functions of one name count as one.
        bodies[row["name"]] = bodies.get(row["name"], "") + "\n" + (row["body"] or "")
        if row["is_called"] or fits(pattern, Capability(Kind.RPC, row["name"])):
            called.add(row["name"])
    return _with_called(called, bodies)


def _with_called(called: Iterable[str], bodies: Mapping[str, str]) -> set[str]:
    """Add what the bodies of functions name, and what theirs do."""
    by_word: dict[str, list[str]] = {}
    for name in bodies:
        by_word.setdefault(name.partition(".")[2].lower(), []).append(name)
    found: set[str] = set()
    left = list(called)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        words = {word.lower() for word in re.findall(r"\w+", bodies.get(name, ""))}
        left += [other for word in words for other in by_word.get(word, ())]
    return found


def _is_relation_of(pattern: str, name: str) -> bool:
    if fits(pattern, Capability(Kind.TABLE, name)):
        return True
    return (
        (name.startswith(OF_AUTH) and fits(pattern, Capability(Kind.AUTH)))
        or (name in OF_BUCKETS and (pattern == "*" or pattern.startswith(f"{Kind.BUCKET}:")))
        or (name in OF_REALTIME and fits(pattern, Capability(Kind.REALTIME)))
    )


def _beginnings(name: str) -> Iterable[str]:
    """Give what a table, column or the like may belong to: names may have dots in them."""
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(2, len(parts) + 1))
