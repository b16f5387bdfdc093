"""What clients tell operators, kept in PostgreSQL: events, counters, mismatches, how ``sync`` does, and what waits."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Event
from isobase_adapter.control.postgres_listener import PostgresListener
from isobase_adapter.control.records import EventRecord, MinuteCount, MismatchGroup
from isobase_adapter.control.store import (
    MAX_GROUPS_PER_CAPABILITY,
    MAX_SAMPLES_PER_GROUP,
    SYNC_LOCK_NUMBER,
    Backlog,
    FoundMismatch,
)
from isobase_adapter.sides import Side

__all__ = ["PostgresFindings"]

ADD_MISMATCH = """
insert into isobase.mismatches as m (capability, is_noise, fingerprint, cause, occurrences, samples)
values ($1, $2,
  case when exists (select from isobase.mismatches as o
                     where (o.capability, o.is_noise, o.fingerprint) = ($1, $2::boolean, $3))
         or (select count(*) from isobase.mismatches as o where o.capability = $1) < $6
       then $3 else 'other' end,
  $4::text::jsonb, 1, jsonb_build_array($5::text::jsonb))
on conflict (capability, is_noise, fingerprint) do update set occurrences = m.occurrences + 1, last_at = now(),
  samples = case when jsonb_array_length(m.samples) < $7 then m.samples || excluded.samples
                 else (m.samples - 1) || excluded.samples end
"""

BACKLOGS = """
select o.target, o.capability, count(*) filter (where o.state = 'intent') as intents,
  count(*) filter (where o.state = 'pending') as pending, count(*) filter (where o.state = 'dead') as dead,
  extract(epoch from now() - min(o.created_at) filter (where o.state <> 'dead'))::float8 as oldest_s
from isobase.outbox as o group by 1, 2
"""
# For a reader ($4: the side that would answer): nobody was told yet of a write that is in flight, so it does not count; an
# intent that is older than a few seconds may be one of which its caller was told while the outbox was away.
HAS_BACKLOG = """
select exists (
  select from isobase.outbox as o
   where case when $4::text is null then o.state <> 'dead'
              when o.state = 'intent' then o.created_at < now() - interval '3 seconds'
              else o.state = 'pending' or o.target = $4 end
     and ($3 or o.capability = any($1) or o.thing ->> 'resource' = any($2)
          or exists (select from jsonb_array_elements(o.things) as t where t ->> 'resource' = any($2))))
"""


class PostgresFindings(PostgresListener):
    """The part of the store that is about what was seen."""

    async def add_events(self, events: Sequence[tuple[datetime, Event]], client: UUID | None) -> None:
        """Keep events."""
        async with self._used() as connection:
            await connection.executemany(
                "insert into isobase.migration_events (at, name, capability, client, detail)"
                " values ($1, $2, $3, $4, $5::text::jsonb)",
                [
                    (at, event.name, event.capability, client, json.dumps(dict(event.detail), default=str))
                    for at, event in events
                ],
            )

    async def read_events(self, limit: int) -> tuple[EventRecord, ...]:
        """Give the newest events first."""
        async with self._used() as connection:
            rows = await connection.fetch(
                "select e.*, e.detail::text as detail_text from isobase.migration_events as e"
                " order by e.id desc limit $1",
                limit,
            )
        return tuple(
            EventRecord(
                row["id"], row["at"], row["name"], row["capability"], row["client"], json.loads(row["detail_text"])
            )
            for row in rows
        )

    async def read_sync(self) -> Mapping[str, Any]:
        """Give how ``sync`` was doing; it runs while somebody holds its lock, whatever it said last."""
        async with self._used() as connection:
            row = await connection.fetchrow(
                "select state::text as state, extract(epoch from now() - updated_at)::float8 as said_s,"
                " exists (select from pg_locks where locktype = 'advisory' and objsubid = 1 and granted"
                " and database = (select oid from pg_database where datname = current_database())"
                " and classid = ($1::bigint >> 32)::oid and objid = ($1::bigint & 4294967295)::oid) as is_running"
                " from isobase.migration_jobs where job = 'sync' and part = 'state'",
                SYNC_LOCK_NUMBER,
            )
        if row is None:
            return {}
        return {**json.loads(row["state"]), "is_running": row["is_running"], "said_s": row["said_s"]}

    async def add_counts(self, counts: Sequence[MinuteCount]) -> None:
        """Add to counters."""
        # In one order, so that two clients never wait for each other in a circle.
        ordered = sorted(counts, key=lambda count: (count.capability, count.minute, count.name))
        async with self._used() as connection:
            await connection.execute(
                "insert into isobase.migration_counters as c (capability, minute, name, value)"
                " select * from unnest($1::text[], $2::timestamptz[], $3::text[], $4::bigint[])"
                " on conflict (capability, minute, name) do update set value = c.value + excluded.value",
                [count.capability for count in ordered],
                [count.minute for count in ordered],
                [count.name for count in ordered],
                [count.value for count in ordered],
            )

    async def read_counts(self, since: datetime) -> tuple[MinuteCount, ...]:
        """Give counters from a moment on."""
        async with self._used() as connection:
            rows = await connection.fetch(
                "select c.capability, c.minute, c.name, c.value from isobase.migration_counters as c"
                " where c.minute >= date_trunc('minute', $1::timestamptz) order by c.minute",
                since,
            )
        return tuple(MinuteCount(row["capability"], row["minute"], row["name"], row["value"]) for row in rows)

    async def add_mismatches(self, found: Sequence[FoundMismatch]) -> None:
        """Add differences to their groups; the first sample of a group stays, later ones make room."""
        async with self._used() as connection:
            await connection.executemany(
                ADD_MISMATCH,
                [
                    (
                        one.capability,
                        one.is_noise,
                        one.fingerprint,
                        json.dumps(dict(one.cause)),
                        json.dumps(dict(one.sample)),
                        MAX_GROUPS_PER_CAPABILITY,
                        MAX_SAMPLES_PER_GROUP,
                    )
                    for one in sorted(found, key=lambda one: (one.capability, one.is_noise, one.fingerprint))
                ],
            )

    async def read_mismatches(
        self, capabilities: Collection[str] | None, *, since: datetime | None = None
    ) -> tuple[MismatchGroup, ...]:
        """Give groups, those with the most occurrences first."""
        async with self._used() as connection:
            rows = await connection.fetch(
                "select m.*, m.cause::text as cause_text, m.samples::text as samples_text from isobase.mismatches as m"
                " where ($1::text[] is null or m.capability = any($1))"
                " and ($2::timestamptz is null or m.last_at >= $2) order by m.occurrences desc, m.id",
                list(capabilities) if capabilities is not None else None,
                since,
            )
        return tuple(
            MismatchGroup(
                row["id"],
                row["capability"],
                row["is_noise"],
                row["fingerprint"],
                json.loads(row["cause_text"]),
                row["occurrences"],
                tuple(json.loads(row["samples_text"])),
                row["first_at"],
                row["last_at"],
                row["explained"],
                row["explained_by"],
                row["explained_at"],
            )
            for row in rows
        )

    async def explain_mismatch(self, group: int, why: str | None, *, by: str) -> bool:
        """Mark a group explained (None: not any more); False where there is none."""
        async with self._used() as connection:
            done = await connection.execute(
                "update isobase.mismatches as m set explained = $2, explained_by = $3, explained_at = now()"
                " where m.id = $1",
                group,
                why,
                by if why is not None else None,
            )
        return done != "UPDATE 0"

    async def read_backlogs(self) -> tuple[Backlog, ...]:
        """Give what waits in the outbox, per target."""
        async with self._used() as connection:
            rows = await connection.fetch(BACKLOGS)
        backlogs = []
        for target in sorted({row["target"] for row in rows}):
            of_target = [row for row in rows if row["target"] == target]
            backlogs.append(
                Backlog(
                    target,
                    sum(row["intents"] for row in of_target),
                    sum(row["pending"] for row in of_target),
                    sum(row["dead"] for row in of_target),
                    max((row["oldest_s"] for row in of_target if row["oldest_s"] is not None), default=None),
                    {
                        row["capability"]: row["intents"] + row["pending"]
                        for row in of_target
                        if row["intents"] + row["pending"]
                    },
                )
            )
        return tuple(backlogs)

    async def has_backlog(self, capabilities: Collection[Capability], lacking: Side | None = None) -> bool:
        """Whether writes wait in the outbox that may change what these capabilities read; see ``Store``."""
        names = [str(capability) for capability in capabilities]
        resources = [capability.name or str(capability.kind) for capability in capabilities]
        any_counts = any(capability.kind is Kind.RPC for capability in capabilities)
        async with self._used() as connection:
            return bool(await connection.fetchval(HAS_BACKLOG, names, resources, any_counts, lacking and str(lacking)))

    async def forget_before(self, moment: datetime) -> None:
        """Forget counters and mismatches that are older."""
        async with self._used() as connection:
            await connection.execute("delete from isobase.migration_counters as c where c.minute < $1", moment)
            await connection.execute("delete from isobase.mismatches as m where m.last_at < $1", moment)
