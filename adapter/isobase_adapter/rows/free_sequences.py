"""Sequences that no column takes its default from: functions count with them, numbers of invoices and the like.

Which tables such a sequence goes with is read from the functions' texts: those whose triggers or defaults count with it,
and those that a function which does so names. Where a function of it names none, nobody can tell.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass

from isobase_adapter.rows.catalog import CatalogView
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.pairs import Pairs

__all__ = ["FreeSequence", "free_sequences"]

SEQUENCES = """
select n.nspname || '.' || c.relname as name,
  has_sequence_privilege(c.oid, 'select') and has_sequence_privilege(c.oid, 'update') as can_move
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'S' and n.nspname = any($1::text[])
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
"""
FUNCTIONS = """
select n.nspname || '.' || p.proname as name, pg_get_functiondef(p.oid) as text,
  p.prorettype = 'trigger'::regtype as is_trigger
from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
where n.nspname = any($1::text[]) and p.prokind in ('f', 'p') and l.lanname not in ('c', 'internal')
"""

logger = logging.getLogger("isobase.migration.rows")


@dataclass(slots=True, frozen=True)
class FreeSequence:
    """``tables``: those that it goes with; None: nobody can tell."""

    name: str
    tables: frozenset[str] | None = None

    def goes_with(self, tables: Iterable[str] | None) -> bool:
        """Whether it may count for one of these (None: all)."""
        return tables is None or self.tables is None or not self.tables.isdisjoint(tables)


async def free_sequences(pairs: Pairs) -> list[FreeSequence]:
    """Give those that both sides have and the roles may move, in the order of their names."""
    found: dict[str, list[FreeSequence]] = {}
    for database in pairs.databases.values():
        for sequence in await _at(database, await database.catalog.view()):
            found.setdefault(sequence.name, []).append(sequence)
    return [
        FreeSequence(name, _joined(sequence.tables for sequence in sequences))
        for name, sequences in sorted(found.items())
        if len(sequences) == len(pairs.databases)
    ]


async def _at(database: SideDatabase, view: CatalogView) -> list[FreeSequence]:
    schemas = sorted(view.schemas)
    counted = {sequence.resource for table in view.tables.values() for sequence in table.sequences}
    rows = [row for row in await database.fetch(SEQUENCES, schemas) if row["name"] not in counted]
    if not rows:
        return []
    for row in rows:
        if not row["can_move"]:
            logger.warning("a sequence cannot be moved: the role may not", extra={"sequence": row["name"]})
    functions = [(row["name"], row["text"], row["is_trigger"]) for row in await database.fetch(FUNCTIONS, schemas)]
    return [FreeSequence(row["name"], _tables_of(row["name"], functions, view)) for row in rows if row["can_move"]]


def _tables_of(sequence: str, functions: list[tuple[str, str, bool]], view: CatalogView) -> frozenset[str] | None:
    counting: dict[str, frozenset[str]] = {}
    names = {sequence}
    while names:  # Functions that name it, and those that name these.
        reached = {name for name, text, _ in functions if name not in counting and any(_names(text, n) for n in names)}
        for name in reached:
            texts = [text for other, text, _ in functions if other == name]
            counting[name] = frozenset(
                table.resource
                for table in view.tables.values()
                if any(_names(text, table.resource) for text in texts)
                or any(trigger.function == name for trigger in table.triggers)
                or any(column.default and _names(column.default, name) for column in table.columns)
            )
        names = reached
    if not counting or not all(counting.values()):
        return None
    return frozenset().union(*counting.values())


def _names(text: str, resource: str) -> bool:
    """Whether a text has the name, with or without its schema; rather too often than not."""
    return re.search(rf"(?<!\w){re.escape(resource.partition('.')[2])}(?!\w)", text, re.IGNORECASE) is not None


def _joined(each: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    found: set[str] = set()
    for tables in each:
        if tables is None:
            return None
        found |= tables
    return frozenset(found)
