"""What a database keeps for ``sync``: a publication of the project's tables, and a slot that holds the log for it.

Both are made on both sides before anything is copied, so that no change is missed, whichever side is written first.
A table without a primary key is not published (its updates and deletes would be refused by PostgreSQL): it is compared.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from isobase_adapter.bulk.connections import Connection
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.managed import MANAGED_SCHEMAS
from isobase_adapter.reasons import reason_of

__all__ = [
    "PUBLICATION",
    "Owe",
    "Slot",
    "drop_capture",
    "ensure_publication",
    "ensure_slot",
    "read_published",
    "read_slot",
    "slot_name",
]

logger = logging.getLogger("isobase.migration.sync")

PUBLICATION = "isobase_migration"
MIN_VERSION = 14
"""Messages of carriers are in the log's output from PostgreSQL 14 on."""

_PUBLISHED = """
select format('%I.%I', n.nspname, c.relname) as quoted, n.nspname || '.' || c.relname as name
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
   and n.nspname <> all($1::text[]) and n.nspname !~ '^pg_'
   and (c.relreplident in ('f', 'i')
        or c.relreplident = 'd' and exists (select from pg_index as i where i.indrelid = c.oid and i.indisprimary))
   and pg_has_role(c.relowner, 'usage')
   and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
"""


@dataclass(slots=True, frozen=True)
class Slot:
    """A slot as the server has it. ``held_bytes``: log that it holds back; ``safe_bytes``: until the server drops it."""

    name: str
    confirmed_lsn: int
    wal_status: str
    held_bytes: int
    safe_bytes: int | None
    is_active: bool

    @property
    def is_lost(self) -> bool:
        """Whether the server has thrown away log that it should have held."""
        return self.wal_status == "lost"


async def slot_name(connection: Connection) -> str:
    """Give the slot's name: slots are the server's, so each database has its own."""
    database = await connection.fetchval("select current_database()")
    return f"{PUBLICATION}_{hashlib.blake2b(database.encode(), digest_size=4).hexdigest()}"


Owe = Callable[[frozenset[str] | None], Awaitable[None]]
"""Told, before the log tells of tables (None: of any), that they have to be compared once: it knows nothing of before."""


async def ensure_publication(connection: Connection, owe: Owe | None = None) -> frozenset[str]:
    """Make the publication, or bring it up to date; gives the tables (``schema.table``) that were not in it before."""
    wanted = {row["name"]: row["quoted"] for row in await connection.fetch(_PUBLISHED, list(MANAGED_SCHEMAS))}
    if not await connection.fetchval("select exists (select from pg_publication where pubname = $1)", PUBLICATION):
        if owe is not None:
            await owe(frozenset(wanted))
        tables = f"for table {', '.join(sorted(wanted.values()))} " if wanted else ""
        await connection.execute(
            f"create publication {PUBLICATION} {tables}"
            "with (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)"
        )
        return frozenset(wanted)
    there = {
        row["name"]: row["quoted"]
        for row in await connection.fetch(
            "select schemaname || '.' || tablename as name, format('%I.%I', schemaname, tablename) as quoted"
            " from pg_publication_tables where pubname = $1",
            PUBLICATION,
        )
    }
    new = wanted.keys() - there.keys()
    if new and owe is not None:
        await owe(frozenset(new))
    for name in sorted(new):
        await connection.execute(f"alter publication {PUBLICATION} add table {wanted[name]}")
    for name in sorted(there.keys() - wanted.keys()):
        # Its key is gone: while it is published, its updates and deletes are refused.
        await connection.execute(f"alter publication {PUBLICATION} drop table {there[name]}")
    return frozenset(new)


class Fetches(Protocol):
    """What can run a query: a connection, or a side's database."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Run ``query`` and give its rows."""
        ...


async def read_published(database: Fetches) -> frozenset[str]:
    """Give the tables (``schema.table``) whose changes the log tells of."""
    rows = await database.fetch(
        "select schemaname || '.' || tablename as name from pg_publication_tables where pubname = $1", PUBLICATION
    )
    return frozenset(row["name"] for row in rows)


async def ensure_slot(connection: Connection, owe: Owe | None = None) -> bool:
    """Make the slot where there is none, or where the server lost it; gives whether it is new: the log begins with it.

    Raises ``Refused`` where the server or the role allows no slot.
    """
    if connection.get_server_version().major < MIN_VERSION:
        raise Refused(f"PostgreSQL {MIN_VERSION} or later is needed to read the log", hint="use --method polling")
    name = await slot_name(connection)
    slot = await read_slot(connection)
    if slot is not None and not slot.is_lost:
        return False
    if owe is not None:
        await owe(None)
    try:
        if slot is not None:
            logger.warning("the server dropped log that sync had not read", extra={"slot": name})
            await connection.execute("select pg_drop_replication_slot($1)", name)
        await connection.execute("select pg_create_logical_replication_slot($1, 'pgoutput')", name)
    except (asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.InsufficientPrivilegeError) as error:
        raise Refused(
            f"no slot can be made: {reason_of(error)}",
            hint="set wal_level = logical and let the role replicate (alter role ... replication), or use --method polling",
        ) from error
    except asyncpg.ConfigurationLimitExceededError as error:
        raise Refused(f"no slot can be made: {reason_of(error)}", hint="raise max_replication_slots") from error
    return True


async def read_slot(connection: Connection) -> Slot | None:
    """Give the slot as it is now, None where there is none."""
    record = await connection.fetchrow(
        "select slot_name, (confirmed_flush_lsn - '0/0')::bigint as confirmed, wal_status, safe_wal_size, active,"
        " greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint as held"
        " from pg_replication_slots where slot_name = $1 and database = current_database()",
        await slot_name(connection),
    )
    if record is None:
        return None
    return Slot(
        record["slot_name"],
        record["confirmed"] or 0,
        record["wal_status"] or "lost",
        record["held"] or 0,
        record["safe_wal_size"],
        record["active"],
    )


async def drop_capture(connection: Connection) -> None:
    """Take slot and publication away: a slot that nobody reads holds back log until the disk is full."""
    slot = await read_slot(connection)
    if slot is not None:
        await connection.execute("select pg_drop_replication_slot($1)", slot.name)
    await connection.execute(f"drop publication if exists {PUBLICATION}")
