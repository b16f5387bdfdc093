"""What the tables of one side are: read from ``pg_catalog``, kept, and read again when something is not as known."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.rows.catalog_query import PARTITIONS_QUERY, TABLES_QUERY, VIEWS_QUERY
from isobase_adapter.rows.quoting import split_resource
from isobase_adapter.rows.tables import Action, Column, ForeignKey, Generated, Identity, Table, Trigger, UniqueIndex
from isobase_adapter.rows.tables import Sequence as OwnedSequence

__all__ = ["MANAGED_SCHEMAS", "Catalog", "CatalogView", "Fetches", "UnknownTable"]

MANAGED_SCHEMAS = frozenset(
    {
        *("_analytics", "_realtime", "auth", "cron", "extensions", "graphql", "graphql_public", "information_schema"),
        *(
            "isobase",
            "isobase_move",
            "net",
            "pgbouncer",
            "pgmq",
            "pgmq_public",
            "pgsodium",
            "pgsodium_masks",
            "pgtle",
            "realtime",
        ),
        *("storage", "supabase_functions", "supabase_migrations", "vault"),
    }
)
"""Schemas that the platforms look after themselves; their tables are read only where somebody names them."""

KEPT_FOR_S = 60.0
"""A new foreign key or trigger makes no statement fail: it is noticed after this long."""
RELOAD_INTERVAL_S = 1.0
"""A table that is not there is looked for again at most this often."""


logger = logging.getLogger("isobase.migration.rows")


class UnknownTable(LookupError):
    """There is no such table on that side (or the role may not see it)."""


class Fetches(Protocol):
    """What can run a query: a connection, or a side's database."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Run ``query`` and give its rows."""
        ...


@dataclass(slots=True, frozen=True)
class CatalogView:
    """The tables of some schemas at one moment."""

    tables: Mapping[str, Table] = field(default_factory=dict)
    partitions: Mapping[str, str] = field(default_factory=dict)
    """Partition -> the table that it is a part of."""
    views: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """View -> the tables under it."""
    referring: Mapping[str, tuple[ForeignKey, ...]] = field(default_factory=dict)
    """Table -> the foreign keys that refer to it and change rows when it changes."""

    schemas: frozenset[str] = frozenset()
    """The schemas that were read."""

    @property
    def version(self) -> str:
        """Changes when any table changes."""
        return _digest(sorted((name, table.version) for name, table in self.tables.items()))


class Catalog:
    """The tables of one side's database.

    ``schemas``: which to read, default all but PostgreSQL's own and ``MANAGED_SCHEMAS``; a table of another schema is
    read when it is asked for.
    """

    def __init__(self, database: Fetches, schemas: Iterable[str] | None = None) -> None:
        self._database = database
        self._schemas: set[str] | None = set(schemas) if schemas is not None else None
        self._extra: set[str] = set()
        self._view: CatalogView | None = None
        self._lock = asyncio.Lock()
        self._loaded_at = 0.0

    @property
    def known(self) -> CatalogView:
        """What was read last, without waiting; empty before the first ``view``."""
        return self._view or CatalogView()

    async def view(self) -> CatalogView:
        """Give what is known; read it the first time, and again after ``KEPT_FOR_S``.

        Then one caller reads, and the others are given what is known; so is everybody while the database is away.
        """
        if self._view is None:
            return await self.reload()
        if time.monotonic() - self._loaded_at < KEPT_FOR_S or self._lock.locked():
            return self._view
        try:
            return await self.reload()
        except DATABASE_FAILURES as error:
            logger.warning("tables could not be read again", extra={"reason": type(error).__name__})
            return self._view

    async def reload(self) -> CatalogView:
        """Read everything again now. Callers at the same time share one reading."""
        asked_at = time.monotonic()
        async with self._lock:
            if self._view is not None and self._loaded_at >= asked_at:
                return self._view
            started_at = time.monotonic()
            self._view = await self._load()
            self._loaded_at = started_at
            return self._view

    async def table(self, resource: str) -> Table:
        """Give a table by ``schema.table`` (or that of one of its partitions).

        Reads again where it is not known. Raises ``UnknownTable``.
        """
        view = await self.view()
        found = view.tables.get(view.partitions.get(resource, resource))
        if found is None:
            schema, _ = split_resource(resource)
            if schema not in self._extra and (self._schemas is None or schema not in self._schemas):
                self._extra.add(schema)
            elif time.monotonic() - self._loaded_at < RELOAD_INTERVAL_S:
                raise UnknownTable(resource)
            view = await self.reload()
            found = view.tables.get(view.partitions.get(resource, resource))
        if found is None:
            raise UnknownTable(resource)
        return found

    async def _load(self) -> CatalogView:
        schemas = list((self._schemas if self._schemas is not None else await self._own_schemas()) | self._extra)
        tables = {table.resource: table for table in map(_table, await self._database.fetch(TABLES_QUERY, schemas))}
        partitions = await self._database.fetch(PARTITIONS_QUERY, schemas)
        views = await self._database.fetch(VIEWS_QUERY, schemas)
        referring: dict[str, list[ForeignKey]] = {}
        for table in tables.values():
            for foreign in table.foreign_keys:
                if foreign.on_delete.changes_rows or foreign.on_update.changes_rows:
                    referring.setdefault(foreign.referenced, []).append(foreign)
        return CatalogView(
            tables,
            {row["partition"]: row["root"] for row in partitions},
            {row["view"]: tuple(sorted(row["tables"])) for row in views},
            {name: tuple(found) for name, found in referring.items()},
            frozenset(schemas),
        )

    async def _own_schemas(self) -> set[str]:
        rows = await self._database.fetch("select nspname from pg_namespace where nspname !~ '^pg_'")
        return {row["nspname"] for row in rows} - MANAGED_SCHEMAS


def _table(row: Mapping[str, Any]) -> Table:
    schema, table = row["schema"], row["name"]
    resource = f"{schema}.{table}"
    parts = {part: json.loads(row[part] or "null") for part in PARTS}
    is_key_deferrable, key = parts["key"] or (False, [])
    columns = tuple(
        Column(
            name, type_, base, cast, equals, is_not_null, Generated(generated), Identity(identity), default, collation
        )
        for name, type_, base, cast, equals, is_not_null, generated, identity, default, collation in parts["columns"]
        or []
    )
    unique = tuple(
        UniqueIndex(index, tuple(expressions), predicate)
        for index, expressions, predicate in parts["unique_indexes"] or []
    )
    foreign_keys = tuple(
        ForeignKey(constraint, resource, tuple(mine), referenced, tuple(theirs), Action(on_delete), Action(on_update))
        for constraint, mine, referenced, theirs, on_delete, on_update in parts["foreign_keys"] or []
    )
    triggers = tuple(
        Trigger(trigger, definition, enabled, function)
        for trigger, definition, enabled, function in parts["triggers"] or []
    )
    sequences = tuple(OwnedSequence(sequence, column) for sequence, column in parts["sequences"] or [])
    return Table(
        schema=schema,
        name=table,
        columns=columns,
        key=tuple(key),
        is_key_deferrable=is_key_deferrable,
        unique=unique,
        foreign_keys=foreign_keys,
        triggers=triggers,
        sequences=sequences,
        is_partitioned=row["is_partitioned"],
        has_hidden_rows=row["has_hidden_rows"],
        version=_digest([row["is_partitioned"], row["has_hidden_rows"], parts]),
        estimated_rows=row["estimated_rows"],
    )


PARTS = ("columns", "key", "unique_indexes", "foreign_keys", "triggers", "sequences")


def _digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=8).hexdigest()
