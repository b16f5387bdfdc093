"""The control store in a SQLite file, for clients of one host that have no PostgreSQL to share.

Here are flags, writers, rules and clients; ``sqlite_findings`` keeps what was seen, ``sqlite_file`` is the file. Clients
look for changes four times a second.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from isobase_adapter.contracts import Snapshot
from isobase_adapter.control.records import ClientRecord, FlagChange, Heartbeat
from isobase_adapter.control.snapshots import snapshot_from_rows
from isobase_adapter.control.sqlite_file import moment_of
from isobase_adapter.control.sqlite_findings import SqliteFindings
from isobase_adapter.control.store import Planner

__all__ = ["SqliteStore"]


class SqliteStore(SqliteFindings):
    """The control store in a file."""

    poll_s = 0.25

    async def read_snapshot(self) -> Snapshot:
        """Read flags, writers and rules as of one moment."""
        return await self.transact(_snapshot)

    async def beat(self, heartbeat: Heartbeat) -> int:
        """Keep a sign of life; returns the number of the last change."""

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(
                "insert into migration_clients values (?, ?, ?, ?, now_s(), now_s(), ?, ?, ?)"
                " on conflict (id) do update set seen_at = excluded.seen_at, version = excluded.version,"
                " spooled = excluded.spooled, state = excluded.state",
                (
                    str(heartbeat.id),
                    heartbeat.name,
                    heartbeat.host,
                    heartbeat.pid,
                    heartbeat.version,
                    heartbeat.spooled,
                    json.dumps(dict(heartbeat.state)),
                ),
            )
            return _version(connection)

        return await self.transact(work)

    async def sign_off(self, client: UUID) -> None:
        """Forget a client, unless it left spooled writes behind."""
        await self.transact(
            lambda connection: connection.execute(
                "delete from migration_clients where id = ? and spooled = 0", (str(client),)
            )
        )

    async def read_clients(self) -> tuple[ClientRecord, ...]:
        """Give all clients, those that went silent too."""
        rows = await self.transact(
            lambda connection: connection.execute(
                "select *, now_s() - seen_at as silent_s from migration_clients order by started_at, id"
            ).fetchall()
        )
        return tuple(
            ClientRecord(
                UUID(row["id"]),
                row["name"],
                row["host"],
                row["pid"],
                moment_of(row["started_at"]),
                moment_of(row["seen_at"]),
                row["silent_s"],
                row["version"],
                row["spooled"],
                json.loads(row["state"]),
            )
            for row in rows
        )

    async def forget_client(self, client: UUID) -> bool:
        """Forget a client, whatever it left; False where there is none."""
        return await self.transact(
            lambda connection: (
                connection.execute("delete from migration_clients where id = ?", (str(client),)).rowcount > 0
            )
        )

    async def change_flag(self, pattern: str, plan: Planner, *, changed_by: str, reason: str) -> Snapshot:
        """Change or remove a flag as ``plan`` decides; returns what holds then."""

        def work(connection: sqlite3.Connection) -> Snapshot:
            before = _snapshot(connection)
            planned = plan(before)
            connection.execute("update migration_state set version = version + 1")
            version = _version(connection)
            if planned.writer is not None:
                writer = planned.writer
                connection.execute(
                    "insert into writers (pattern, side, epoch) values (?, ?, ?)",
                    (writer.pattern, str(writer.side), writer.epoch),
                )
            flag = planned.flag
            if flag is None:
                flag, why = before.flags[pattern], f"removed: {reason}"
                connection.execute("delete from flags where pattern = ?", (pattern,))
                connection.execute("delete from writers where pattern = ?", (pattern,))
            else:
                why = reason
                connection.execute(
                    "insert into flags values (?, ?, ?, ?, ?, ?, ?, ?, now_s()) on conflict (pattern) do update set"
                    " stage = excluded.stage, before = excluded.before, share_percent = excluded.share_percent,"
                    " users = excluded.users, version = excluded.version, changed_by = excluded.changed_by,"
                    " reason = excluded.reason, changed_at = excluded.changed_at",
                    (
                        pattern,
                        str(flag.stage),
                        str(flag.before),
                        flag.share_percent,
                        json.dumps(sorted(flag.users)),
                        version,
                        changed_by,
                        reason,
                    ),
                )
            was = before.flags.get(pattern)
            connection.execute(
                "insert into flag_history (pattern, version, stage, before, share_percent, users, was_stage,"
                " was_share_percent, changed_by, reason, changed_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, now_s())",
                (
                    pattern,
                    version,
                    str(flag.stage),
                    str(flag.before),
                    flag.share_percent,
                    json.dumps(sorted(flag.users)),
                    str(was.stage) if was is not None else None,
                    was.share_percent if was is not None else None,
                    changed_by,
                    why,
                ),
            )
            return _snapshot(connection)

        return await self.transact(work)

    async def change_rule(self, pattern: str, name: str, value: Any, *, changed_by: str) -> Snapshot:
        """Set a rule of a pattern, or remove it with None; returns what holds then."""

        def work(connection: sqlite3.Connection) -> Snapshot:
            connection.execute("update migration_state set version = version + 1")
            if value is None:
                connection.execute("delete from migration_rules where pattern = ? and name = ?", (pattern, name))
            else:
                connection.execute(
                    "insert into migration_rules values (?, ?, ?, ?) on conflict (pattern, name) do update set"
                    " value = excluded.value, changed_by = excluded.changed_by",
                    (pattern, name, json.dumps(value), changed_by),
                )
            return _snapshot(connection)

        return await self.transact(work)

    async def read_history(self, pattern: str | None, limit: int) -> tuple[FlagChange, ...]:
        """Give the newest changes of flags first."""
        rows = await self.transact(
            lambda connection: connection.execute(
                "select * from flag_history where ?1 is null or pattern = ?1 order by id desc limit ?2",
                (pattern, limit),
            ).fetchall()
        )
        return tuple(
            FlagChange(
                row["pattern"],
                row["version"],
                row["stage"],
                row["before"],
                row["share_percent"],
                tuple(json.loads(row["users"])),
                row["was_stage"],
                row["was_share_percent"],
                row["changed_by"],
                row["reason"],
                moment_of(row["changed_at"]),
            )
            for row in rows
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("select version from migration_state").fetchone()[0])


def _snapshot(connection: sqlite3.Connection) -> Snapshot:
    def rows(statement: str, **readers: Callable[[str], Any]) -> list[Mapping[str, Any]]:
        return [
            {**dict(row), **{name: read(row[name]) for name, read in readers.items()}}
            for row in connection.execute(statement)
        ]

    return snapshot_from_rows(
        _version(connection),
        rows("select * from flags", users=json.loads),
        rows("select *, handing_over_to is not null as is_handing_over from writers"),
        rows("select * from migration_rules", value=json.loads),
        datetime.now(UTC),
    )
