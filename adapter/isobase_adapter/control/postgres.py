"""The control store in PostgreSQL: schema ``isobase`` of the Isobase side's database (schema.sql, section 6).

Here are flags, writers, rules and clients; ``postgres_findings`` keeps what was seen, ``postgres_listener`` is the
connection. Every statement is one round trip and names its tables in full, so that it works behind a pooler too; there
LISTEN hears nothing, and the heartbeat, which returns the number of the last change, is what finds changes.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from isobase_adapter.contracts import Snapshot
from isobase_adapter.control.errors import NotInstalled
from isobase_adapter.control.postgres_findings import PostgresFindings
from isobase_adapter.control.postgres_listener import CHANNEL, Connection
from isobase_adapter.control.records import ClientRecord, FlagChange, Heartbeat
from isobase_adapter.control.snapshots import snapshot_from_rows
from isobase_adapter.control.store import Planner
from isobase_adapter.outbox.entries import END_IF_LEFT_OPEN

__all__ = ["CHANNEL", "PostgresStore"]

SNAPSHOT = """
select s.version, now() as heard_at,
  (select coalesce(jsonb_agg(to_jsonb(f)), '[]') from isobase.flags as f)::text as flags,
  (select coalesce(jsonb_agg(jsonb_build_object('pattern', w.pattern, 'side', w.side, 'epoch', w.epoch,
    'is_handing_over', w.handing_over_to is not null)), '[]') from isobase.writers as w)::text as writers,
  (select coalesce(jsonb_agg(to_jsonb(r)), '[]') from isobase.migration_rules as r)::text as rules
from isobase.migration_state as s
"""

BEAT = """
insert into isobase.migration_clients as c (id, name, host, pid, version, spooled, state)
values ($1, $2, $3, $4, $5, $6, $7::text::jsonb)
on conflict (id) do update set seen_at = now(), version = excluded.version, spooled = excluded.spooled,
  state = excluded.state
returning (select s.version from isobase.migration_state as s)
"""


class PostgresStore(PostgresFindings):
    """The control store in PostgreSQL."""

    poll_s = 1.0

    async def read_snapshot(self) -> Snapshot:
        """Read flags, writers and rules as of one moment."""
        async with self._used() as connection:
            return await self._snapshot(connection)

    async def beat(self, heartbeat: Heartbeat) -> int:
        """Keep a sign of life; returns the number of the last change."""
        async with self._used() as connection:
            version = await connection.fetchval(
                BEAT,
                heartbeat.id,
                heartbeat.name,
                heartbeat.host,
                heartbeat.pid,
                heartbeat.version,
                heartbeat.spooled,
                json.dumps(dict(heartbeat.state)),
            )
        return int(version or 0)

    async def sign_off(self, client: UUID) -> None:
        """Forget a client, unless it left spooled writes behind."""
        async with self._used() as connection:
            await connection.execute(
                "delete from isobase.migration_clients as c where c.id = $1 and c.spooled = 0", client
            )

    async def read_clients(self) -> tuple[ClientRecord, ...]:
        """Give all clients, those that went silent too."""
        async with self._used() as connection:
            rows = await connection.fetch(
                "select c.*, extract(epoch from now() - c.seen_at)::float8 as silent_s, c.state::text as state_text"
                " from isobase.migration_clients as c order by c.started_at, c.id"
            )
        return tuple(
            ClientRecord(
                row["id"],
                row["name"],
                row["host"],
                row["pid"],
                row["started_at"],
                row["seen_at"],
                row["silent_s"],
                row["version"],
                row["spooled"],
                json.loads(row["state_text"]),
            )
            for row in rows
        )

    async def forget_client(self, client: UUID) -> bool:
        """Forget a client, whatever it left; False where there is none."""
        async with self._used() as connection:
            done = await connection.execute("delete from isobase.migration_clients as c where c.id = $1", client)
        return done != "DELETE 0"

    async def change_flag(self, pattern: str, plan: Planner, *, changed_by: str, reason: str) -> Snapshot:
        """Change or remove a flag as ``plan`` decides; returns what holds then."""
        async with self._used() as connection, connection.transaction():
            # Changes wait for one another here, so that each is decided on what the last one left.
            await connection.execute(END_IF_LEFT_OPEN)
            await connection.execute("select from isobase.migration_state for update")
            before = await self._snapshot(connection)
            planned = plan(before)
            if planned.writer is not None:
                writer = planned.writer
                await connection.execute(
                    "insert into isobase.writers (pattern, side, epoch) values ($1, $2, $3)",
                    writer.pattern,
                    str(writer.side),
                    writer.epoch,
                )
            if planned.flag is None:
                # The last entry of its history says who removed it and why.
                await connection.execute(
                    "update isobase.flags set changed_by = $2, reason = 'removed: ' || $3 where pattern = $1",
                    pattern,
                    changed_by,
                    reason,
                )
                await connection.execute("delete from isobase.flags where pattern = $1", pattern)
                await connection.execute("delete from isobase.writers where pattern = $1", pattern)
            else:
                flag = planned.flag
                await connection.execute(
                    "insert into isobase.flags (pattern, stage, before, share_percent, users, changed_by, reason)"
                    " values ($1, $2, $3, $4, $5, $6, $7) on conflict (pattern) do update set stage = excluded.stage,"
                    " before = excluded.before, share_percent = excluded.share_percent, users = excluded.users,"
                    " changed_by = excluded.changed_by, reason = excluded.reason",
                    pattern,
                    str(flag.stage),
                    str(flag.before),
                    flag.share_percent,
                    sorted(flag.users),
                    changed_by,
                    reason,
                )
            return await self._snapshot(connection)

    async def change_rule(self, pattern: str, name: str, value: Any, *, changed_by: str) -> Snapshot:
        """Set a rule of a pattern, or remove it with None; returns what holds then."""
        async with self._used() as connection, connection.transaction():
            if value is None:
                await connection.execute(
                    "delete from isobase.migration_rules where pattern = $1 and name = $2", pattern, name
                )
            else:
                await connection.execute(
                    "insert into isobase.migration_rules (pattern, name, value, changed_by)"
                    " values ($1, $2, $3::text::jsonb, $4) on conflict (pattern, name) do update"
                    " set value = excluded.value, changed_by = excluded.changed_by",
                    pattern,
                    name,
                    json.dumps(value),
                    changed_by,
                )
            return await self._snapshot(connection)

    async def read_history(self, pattern: str | None, limit: int) -> tuple[FlagChange, ...]:
        """Give the newest changes of flags first."""
        async with self._used() as connection:
            rows = await connection.fetch(
                "select * from isobase.flag_history as h where $1::text is null or h.pattern = $1"
                " order by h.id desc limit $2",
                pattern,
                limit,
            )
        return tuple(
            FlagChange(
                row["pattern"],
                row["version"],
                row["stage"],
                row["before"],
                row["share_percent"],
                tuple(row["users"]),
                row["was_stage"],
                row["was_share_percent"],
                row["changed_by"],
                row["reason"],
                row["changed_at"],
            )
            for row in rows
        )

    async def _snapshot(self, connection: Connection) -> Snapshot:
        row = await connection.fetchrow(SNAPSHOT)
        if row is None:
            raise NotInstalled("isobase.migration_state is empty: apply schema.sql again (isobase start)")
        return snapshot_from_rows(
            row["version"],
            json.loads(row["flags"]),
            json.loads(row["writers"]),
            json.loads(row["rules"]),
            row["heard_at"],
        )
