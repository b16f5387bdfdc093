"""Rows that must be carried with others although no call named them.

Children: a foreign key's CASCADE, SET NULL or SET DEFAULT at the source changed the rows that refer to one that went or
changed; at the target foreign keys do not run while rows are carried, so these rows are carried themselves. Parents: the
rows that a row refers to are locked while it is carried, or one could go unseen between the two. Rows in the way: where
two rows swapped a unique value, the target's old holder of the value has to be carried in the same statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import asyncpg

from isobase_adapter.rows import statements
from isobase_adapter.rows.catalog import Fetches, UnknownTable
from isobase_adapter.rows.keys import canonical, keys_by_column, lock_of, table_thing
from isobase_adapter.rows.pairs import HiddenRows, Pair, Pairs
from isobase_adapter.rows.quoting import columns_list, qualified, quote_identifier
from isobase_adapter.rows.tables import Action, ForeignKey, Table
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind, distinct

__all__ = [
    "Batch",
    "changing_keys",
    "children_of",
    "in_the_way",
    "locks_of",
    "parents_of",
    "parents_text",
]

USERS = "auth.users"
MAX_CHILDREN = 5_000
"""Of more rows than this that refer to one batch, the whole table is swept instead."""


@dataclass(slots=True)
class Batch:
    """Rows of one table that are carried in one transaction. ``texts``: those that the source has; ``gone``: the keys
    of which it has none.
    """

    pair: Pair
    things: list[Thing]
    texts: list[str] = field(default_factory=list)
    gone: list[Thing] = field(default_factory=list)
    parents: set[int] = field(default_factory=set)
    """The locks of the rows that they refer to (``parents_of``)."""
    anew: set[Thing] = field(default_factory=set)
    """Rows that may have been away since the target's were carried (``Thing.is_anew``)."""
    image: str | None = None
    """A JSON object to lay over the first of them, because an operator said so of a letter."""

    @property
    def keys(self) -> list[list[str]]:
        """One list of texts for each column of the key."""
        return keys_by_column([thing.key for thing in self.things])


async def children_of(
    batch: Batch, target: Side, pairs: Pairs, writing: asyncpg.pool.PoolConnectionProxy
) -> list[Thing]:
    """Give the rows that refer to rows of ``batch`` which went, may have been away, or whose referenced columns change.

    Those of the target; and those of the source whose own keys may have changed with what they refer to, which the target
    does not have yet.
    """
    pair = batch.pair
    view = await pairs.databases[target.other].catalog.view()
    away = [thing for thing in batch.things if thing in batch.anew or thing in batch.gone]
    found: list[Thing] = []
    by_key: list[tuple[Pair, str]] = []
    by_text: list[tuple[Pair, str]] = []
    for foreign in view.referring.get(pair.resource, ()):
        is_by_key = set(foreign.referenced_columns) <= set(pair.key)
        if pair.at(target).lacks(foreign.referenced_columns) or (not away and is_by_key):
            continue
        try:
            child = await pairs.pair(foreign.resource)
        except UnknownTable:
            continue  # A table that the target has not: there are no rows to carry.
        if child.at(target).lacks(foreign.columns):
            continue
        if away:  # Deleted, or named otherwise by now: either action may have been at work.
            by_key.append((child, _children_of_gone(pair, child, foreign, target)))
        if batch.texts and foreign.on_update.changes_rows and not is_by_key:
            by_text.append((child, _children_of_changed(pair, child, foreign, target)))
        if foreign.on_update is Action.CASCADE and set(foreign.columns) & set(child.key):
            found += await _renamed_children(batch, child, foreign, target, pairs, writing)
    for queries, parameters in ((by_key, keys_by_column([thing.key for thing in away])), (by_text, [batch.texts])):
        found += await _named_by(queries, parameters, writing)
    return list(distinct(found))


async def _named_by(
    queries: Sequence[tuple[Pair, str]], parameters: Sequence[object], database: Fetches
) -> list[Thing]:
    """Name the rows that queries of keys give, all in one round trip; too many of a table are the whole of it."""
    if not queries:
        return []
    rows = await database.fetch(
        " union all ".join(f"select {n} as n, x.key from ({query}) as x" for n, (_, query) in enumerate(queries)),
        *parameters,
    )
    found: list[Thing] = []
    for n, (child, _) in enumerate(queries):
        keys = [row["key"] for row in rows if row["n"] == n]
        if keys and (len(keys) > MAX_CHILDREN or not child.key):
            found.append(table_thing(child.names))
        else:
            found += [canonical(child.names, Thing(ThingKind.ROW, child.resource, tuple(key))) for key in keys]
    return found


async def _renamed_children(
    batch: Batch,
    child: Pair,
    foreign: ForeignKey,
    target: Side,
    pairs: Pairs,
    writing: asyncpg.pool.PoolConnectionProxy,
) -> list[Thing]:
    """Give the source's rows that refer to rows with new keys, and have new keys with them (``on update cascade``)."""
    pair, source = batch.pair, pairs.databases[target.other]
    keys = [list(thing.key) for thing in batch.things if thing in batch.anew and thing not in batch.gone]
    if batch.texts and not set(foreign.referenced_columns) <= set(pair.key):
        keys += [row["key"] for row in await writing.fetch(_changed(pair, foreign, target), batch.texts)]
    if not keys:
        return []
    query = _children_of_there(pair, child, foreign, target.other)
    # What refers to these may have new keys, too.
    return [
        replace(thing, is_anew=thing.kind is ThingKind.ROW)
        for thing in await _named_by([(child, query)], keys_by_column(keys), source)
    ]


def parents_text(pair: Pair, source: Side) -> str:
    """Give the expression of what a row refers to, by foreign keys that change rows: JSON, one list of texts for each."""
    each = []
    for foreign in changing_keys(pair.at(source)):
        values = ", ".join(f"t.{quote_identifier(name)}::text" for name in foreign.columns)
        each.append(f"jsonb_build_array({values})")
    return f"jsonb_build_array({', '.join(each)})"


def changing_keys(table: Table) -> list[ForeignKey]:
    """Give the foreign keys of a table by which its rows change when those change that they refer to."""
    return [
        foreign for foreign in table.foreign_keys if foreign.on_delete.changes_rows or foreign.on_update.changes_rows
    ]


async def parents_of(
    pair: Pair, source: Side, pairs: Pairs, values: Sequence[Sequence[Sequence[str | None]]]
) -> set[int]:
    """Give the locks of the rows that rows refer to; ``values``: what ``parents_text`` gave for each row.

    Whoever carries a row holds them shared, so that a row which refers to one that goes at the same time is either there
    when the one's carrier looks for such rows, or read after it went.
    """
    found: set[int] = set()
    for place, foreign in enumerate(changing_keys(pair.at(source))):
        try:
            parent = await pairs.pair(foreign.referenced)
        except (UnknownTable, HiddenRows):
            continue  # It does not move, so nobody carries what would change.
        for row in values:
            referred = dict(zip(foreign.referenced_columns, row[place], strict=True))
            if None in referred.values():
                continue
            if parent.key and set(parent.key) == set(referred):
                key = tuple(referred[name] for name in parent.key)
                thing = canonical(parent.names, Thing(ThingKind.ROW, parent.resource, key))
                found.add(lock_of(parent.names, thing))
                if parent.resource == USERS:
                    found.add(Thing(ThingKind.USER, "auth", key).lock_number)  # Users have a carrier of their own.
            else:
                found.add(references_lock(parent))
    return found


def references_lock(parent: Pair) -> int:
    """Give the lock of all rows that refer to a table by other columns than its key."""
    return Thing(ThingKind.TABLE, f"{parent.resource} as referred to").lock_number


async def locks_of(batch: Batch, target: Side, pairs: Pairs) -> list[int]:
    """Give the locks under which a batch is carried."""
    pair = batch.pair
    locks = [lock_of(pair.names, thing) for thing in batch.things]
    view = await pairs.databases[target.other].catalog.view()
    if any(set(foreign.referenced_columns) != set(pair.key) for foreign in view.referring.get(pair.resource, ())):
        locks.append(references_lock(pair))
    return locks


async def in_the_way(batch: Batch, target: Side, pairs: Pairs) -> list[Thing]:
    """Give the target's rows that hold a unique value which a row of ``batch`` is to have."""
    pair, database = batch.pair, pairs.databases[target]
    if not pair.key or not batch.texts:
        return []
    table = pair.at(target)
    name, keys = qualified(table.schema, table.name), _key_texts(pair)
    known = set(batch.things)
    found: list[Thing] = []
    for index in table.unique:
        predicate = f" where {index.predicate}" if index.predicate else ""
        exact = ", ".join(index.expressions)
        # Types with an equality of their own (citext) are compared by their text besides: rows too many do no harm.
        loose = ", ".join(f"lower(({expression})::text)" for expression in index.expressions)
        for form in (exact, loose):
            query = (
                f"with given as materialized ({statements.given_rows(pair, target)}) select {keys} from {name} as t "
                f"where row({form}) in (select {form} from given{predicate})"
                f"{' and ' + index.predicate if index.predicate else ''} limit {MAX_CHILDREN}"
            )
            try:
                rows = await database.fetch(query, batch.texts)
            except asyncpg.UndefinedColumnError:
                break  # The index is over a column that is not carried.
            things = [canonical(pair.names, Thing(ThingKind.ROW, pair.resource, tuple(row["key"]))) for row in rows]
            new = [thing for thing in things if thing not in known]
            known.update(new)
            found += new
            if new:
                break
    return found


def _children_of_gone(pair: Pair, child: Pair, foreign: ForeignKey, target: Side) -> str:
    parent, children = pair.at(target), child.at(target)
    name = qualified(children.schema, children.name)
    if set(foreign.referenced_columns) == set(pair.key):
        # By the key itself: the row may be gone at the target, too.
        start = f"select distinct {_key_texts(child)} from {statements.given_keys(parent, pair.key)} "
        parts = []
        for mine, theirs in zip(foreign.columns, foreign.referenced_columns, strict=True):
            column = parent.column(theirs)
            assert column is not None
            place = pair.key.index(theirs)
            parts.append(f"t.{quote_identifier(mine)} {column.equals} u.k{place}::{column.cast}")
        return f"{start}join {name} as t on {' and '.join(parts)} limit {MAX_CHILDREN + 1}"
    return _children_of_there(pair, child, foreign, target)


def _children_of_there(pair: Pair, child: Pair, foreign: ForeignKey, side: Side) -> str:
    parent, children = pair.at(side), child.at(side)
    return (
        f"select distinct {_key_texts(child)} from {statements.given_keys(parent, pair.key)} "
        f"join {qualified(parent.schema, parent.name)} as p on {statements.key_equals(parent, pair.key, 'p')} "
        f"join {qualified(children.schema, children.name)} as t on {_refers(parent, foreign)} limit {MAX_CHILDREN + 1}"
    )


def _children_of_changed(pair: Pair, child: Pair, foreign: ForeignKey, target: Side) -> str:
    parent, children = pair.at(target), child.at(target)
    return (
        f"select distinct {_key_texts(child)} from {_given_changed(pair, foreign, target)} "
        f"join {qualified(children.schema, children.name)} as t on {_refers(parent, foreign)} limit {MAX_CHILDREN + 1}"
    )


def _changed(pair: Pair, foreign: ForeignKey, target: Side) -> str:
    keys = ", ".join(f"p.{quote_identifier(name)}::text" for name in pair.key)
    return f"select array[{keys}] as key from {_given_changed(pair, foreign, target)}"


def _given_changed(pair: Pair, foreign: ForeignKey, target: Side) -> str:
    """Give the FROM item of the target's rows ``p`` whose referenced columns the texts in ``$1`` have otherwise."""
    parent = pair.at(target)
    theirs = columns_list(foreign.referenced_columns, "x")
    given = columns_list(foreign.referenced_columns, "g")
    return (
        f"(with given as materialized ({statements.given_rows(pair, target)}) select x.* "
        f"from given as g join {qualified(parent.schema, parent.name)} as x "
        f"on {statements.same_key(pair, parent, 'x', 'g')} "
        f"where row({theirs})::text is distinct from row({given})::text) as p"
    )


def _refers(parent: Table, foreign: ForeignKey) -> str:
    parts = []
    for mine, theirs in zip(foreign.columns, foreign.referenced_columns, strict=True):
        column = parent.column(theirs)
        assert column is not None
        parts.append(f"t.{quote_identifier(mine)} {column.equals} p.{quote_identifier(theirs)}")
    return " and ".join(parts)


def _key_texts(pair: Pair) -> str:
    """The key of ``t`` as one array of texts."""
    keys = ", ".join(f"t.{quote_identifier(name)}::text" for name in pair.key)
    return f"array[{keys}]::text[] as key"
