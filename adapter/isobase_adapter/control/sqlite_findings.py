"""What clients of one host tell operators, kept in its control file: events, counters, mismatches, and what waits."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Event
from isobase_adapter.control.records import EventRecord, MinuteCount, MismatchGroup
from isobase_adapter.control.sqlite_file import SqliteFile, moment_of
from isobase_adapter.control.store import MAX_GROUPS_PER_CAPABILITY, MAX_SAMPLES_PER_GROUP, Backlog, FoundMismatch
from isobase_adapter.sides import Side

__all__ = ["SqliteFindings"]

MAX_EVENTS = 10_000
SAMPLES = "select samples from mismatches where capability = ? and is_noise = ? and fingerprint = ?"


class SqliteFindings(SqliteFile):
    """The part of the store that is about what was seen."""

    async def add_events(self, events: Sequence[tuple[datetime, Event]], client: UUID | None) -> None:
        """Keep events, the newest ten thousand."""

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "insert into migration_events (at, name, capability, client, detail) values (?, ?, ?, ?, ?)",
                [
                    (
                        at.timestamp(),
                        event.name,
                        event.capability,
                        str(client) if client is not None else None,
                        json.dumps(dict(event.detail), default=str),
                    )
                    for at, event in events
                ],
            )
            connection.execute(
                "delete from migration_events where id <= (select max(id) from migration_events) - ?", (MAX_EVENTS,)
            )

        await self.transact(work)

    async def read_events(self, limit: int) -> tuple[EventRecord, ...]:
        """Give the newest events first."""
        rows = await self.transact(
            lambda connection: connection.execute(
                "select * from migration_events order by id desc limit ?", (limit,)
            ).fetchall()
        )
        return tuple(
            EventRecord(
                row["id"],
                moment_of(row["at"]),
                row["name"],
                row["capability"],
                UUID(row["client"]) if row["client"] else None,
                json.loads(row["detail"]),
            )
            for row in rows
        )

    async def read_sync(self) -> Mapping[str, Any]:
        """Give nothing: ``sync`` keeps its state in the Isobase side's database."""
        return {}

    async def add_counts(self, counts: Sequence[MinuteCount]) -> None:
        """Add to counters."""
        await self.transact(
            lambda connection: connection.executemany(
                "insert into migration_counters values (?, ?, ?, ?) on conflict (capability, minute, name)"
                " do update set value = value + excluded.value",
                [(count.capability, count.minute.timestamp(), count.name, count.value) for count in counts],
            )
        )

    async def read_counts(self, since: datetime) -> tuple[MinuteCount, ...]:
        """Give counters from a moment on."""
        from_minute = since.replace(second=0, microsecond=0).timestamp()
        rows = await self.transact(
            lambda connection: connection.execute(
                "select * from migration_counters where minute >= ? order by minute", (from_minute,)
            ).fetchall()
        )
        return tuple(
            MinuteCount(row["capability"], moment_of(row["minute"]), row["name"], row["value"]) for row in rows
        )

    async def add_mismatches(self, found: Sequence[FoundMismatch]) -> None:
        """Add differences to their groups; the first sample of a group stays, later ones make room."""

        def work(connection: sqlite3.Connection) -> None:
            for one in found:
                _add_mismatch(connection, one)

        await self.transact(work)

    async def read_mismatches(
        self, capabilities: Collection[str] | None, *, since: datetime | None = None
    ) -> tuple[MismatchGroup, ...]:
        """Give groups, those with the most occurrences first."""
        rows = await self.transact(
            lambda connection: connection.execute(
                "select * from mismatches where (?1 is null or capability in (select value from json_each(?1)))"
                " and (?2 is null or last_at >= ?2) order by occurrences desc, id",
                (
                    json.dumps(sorted(capabilities)) if capabilities is not None else None,
                    since.timestamp() if since is not None else None,
                ),
            ).fetchall()
        )
        return tuple(
            MismatchGroup(
                row["id"],
                row["capability"],
                bool(row["is_noise"]),
                row["fingerprint"],
                json.loads(row["cause"]),
                row["occurrences"],
                tuple(json.loads(row["samples"])),
                moment_of(row["first_at"]),
                moment_of(row["last_at"]),
                row["explained"],
                row["explained_by"],
                moment_of(row["explained_at"]) if row["explained_at"] is not None else None,
            )
            for row in rows
        )

    async def explain_mismatch(self, group: int, why: str | None, *, by: str) -> bool:
        """Mark a group explained (None: not any more); False where there is none."""
        return await self.transact(
            lambda connection: (
                connection.execute(
                    "update mismatches set explained = ?, explained_by = ?, explained_at = now_s() where id = ?",
                    (why, by if why is not None else None, group),
                ).rowcount
                > 0
            )
        )

    async def read_backlogs(self) -> tuple[Backlog, ...]:
        """Give what waits in the outbox of this file, per target."""
        rows = await self.transact(
            lambda connection: connection.execute(
                "select target, capability, sum(state = 'intent') as intents, sum(state = 'pending') as pending,"
                " sum(state = 'dead') as dead, now_s() - min(case when state <> 'dead' then created_at end) as oldest_s"
                " from outbox group by target, capability"
            ).fetchall()
        )
        return tuple(
            Backlog(
                target,
                sum(row["intents"] for row in rows if row["target"] == target),
                sum(row["pending"] for row in rows if row["target"] == target),
                sum(row["dead"] for row in rows if row["target"] == target),
                max(
                    (row["oldest_s"] for row in rows if row["target"] == target and row["oldest_s"] is not None),
                    default=None,
                ),
                {
                    row["capability"]: row["intents"] + row["pending"]
                    for row in rows
                    if row["target"] == target and row["intents"] + row["pending"]
                },
            )
            for target in sorted({row["target"] for row in rows})
        )

    async def has_backlog(self, capabilities: Collection[Capability], lacking: Side | None = None) -> bool:
        """Whether writes wait in the outbox that may change what these capabilities read; see ``Store``."""
        names = json.dumps([str(capability) for capability in capabilities])
        resources = json.dumps([capability.name or str(capability.kind) for capability in capabilities])
        any_counts = any(capability.kind is Kind.RPC for capability in capabilities)
        row = await self.transact(
            lambda connection: connection.execute(
                "select exists (select 1 from outbox as o where case when ?4 is null then o.state <> 'dead'"
                " when o.state = 'intent' then o.created_at < now_s() - 3"
                " else o.state = 'pending' or o.target = ?4 end and (?1"
                " or o.capability in (select value from json_each(?2)) or exists (select 1 from json_each(o.things) as t"
                " where t.value ->> 'resource' in (select value from json_each(?3)))))",
                (any_counts, names, resources, lacking and str(lacking)),
            ).fetchone()
        )
        return bool(row[0])

    async def forget_before(self, moment: datetime) -> None:
        """Forget counters and mismatches that are older."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("delete from migration_counters where minute < ?", (moment.timestamp(),))
            connection.execute("delete from mismatches where last_at < ?", (moment.timestamp(),))

        await self.transact(work)


def _add_mismatch(connection: sqlite3.Connection, one: FoundMismatch) -> None:
    key = (one.capability, one.is_noise, one.fingerprint)
    row = connection.execute(SAMPLES, key).fetchone()
    if row is None:
        groups = connection.execute("select count(*) from mismatches where capability = ?", key[:1]).fetchone()[0]
        if groups >= MAX_GROUPS_PER_CAPABILITY:
            key = (one.capability, one.is_noise, "other")
            row = connection.execute(SAMPLES, key).fetchone()
    if row is None:
        connection.execute(
            "insert into mismatches (capability, is_noise, fingerprint, cause, occurrences, samples, first_at, last_at)"
            " values (?, ?, ?, ?, 1, ?, now_s(), now_s())",
            (*key, json.dumps(dict(one.cause)), json.dumps([dict(one.sample)])),
        )
        return
    samples = json.loads(row["samples"])
    kept = samples if len(samples) < MAX_SAMPLES_PER_GROUP else [samples[0], *samples[2:]]
    connection.execute(
        "update mismatches set occurrences = occurrences + 1, last_at = now_s(), samples = ?"
        " where capability = ? and is_noise = ? and fingerprint = ?",
        (json.dumps([*kept, dict(one.sample)]), *key),
    )
