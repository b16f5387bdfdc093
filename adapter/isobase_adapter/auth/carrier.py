"""Makes users the same on both sides: the carrier of ``USER`` and ``USERS`` things.

The target becomes what the source is, and what only the target has is brought to the source (``merge``): a browser that
follows a link may sign somebody in at the side that is not written first. Everything happens under one lock per user,
held in both databases in the transactions that write: Isobase's is taken first.

What both sides were last known to have (``isobase.migration_auth``) is written together with Isobase's rows, and before
Supabase's transaction ends; so a crash between the two is seen as what it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from isobase_adapter.auth import resolve, rows
from isobase_adapter.auth.errors import UserConflict
from isobase_adapter.auth.limits import MergeLimits
from isobase_adapter.auth.merge import Agreed, Row, Winner, counter_of, merged_token, winner
from isobase_adapter.auth.related import rows_of_new_users
from isobase_adapter.auth.resolve import user_thing
from isobase_adapter.auth.rows import Connection, Found, Key, Shape, TableShape
from isobase_adapter.auth.sweep import sweep
from isobase_adapter.auth.tables import TABLES, TOKENS, USERS
from isobase_adapter.carrying import Unsettling
from isobase_adapter.contracts import Carried, Carrier, Fence
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

__all__ = ["UserCarrier"]

BATCH_USERS = 200
ATTEMPTS = 6
"""How often a merge begins again because a row changed under it."""
_LOCK = "select pg_catalog.pg_advisory_xact_lock(n) from unnest($1::bigint[]) as n"
_LOCK_SHARED = "select pg_catalog.pg_advisory_xact_lock_shared($1)"
# As statements: on Supabase an extension lets postgres set this, and it sees statements, not calls of set_config.
_TRIGGERS_RUN = "set local session_replication_role = origin"
_TRIGGERS_KEEP_STILL = "set local session_replication_role = replica"
_AGREED = (
    "select relation, key, digest, is_pending, pending from isobase.migration_auth where user_id = any($1::uuid[])"
)
_AGREED_COUNTS = """
select user_id::text, count(*) as rows, bool_or(relation = 'users') as is_known
  from isobase.migration_auth where user_id = any($1::uuid[]) and not is_pending group by user_id"""
_AGREE = """
insert into isobase.migration_auth as a (relation, key, user_id, digest, is_pending, pending)
select relation, key, user_id::uuid, digest, is_pending, pending
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[])
    as n(relation, key, user_id, digest, is_pending, pending)
on conflict (relation, key) do update
  set user_id = excluded.user_id, digest = excluded.digest, is_pending = excluded.is_pending, pending = excluded.pending"""
_FORGET = """
delete from isobase.migration_auth a using unnest($1::text[], $2::text[]) as n(relation, key)
 where a.relation = n.relation and a.key = n.key"""
# Only what was pending then: another merge may have begun since.
_SETTLE = """
update isobase.migration_auth a set digest = a.pending, is_pending = false, pending = null
  from unnest($1::text[], $2::text[], $3::text[]) as n(relation, key, pending)
 where a.relation = n.relation and a.key = n.key and a.is_pending and a.pending is not distinct from n.pending"""


class _Moved(Exception):
    """A row was changed while it was merged."""


@dataclass(slots=True)
class _Changes:
    """What is to be written at one side, by table."""

    inserts: dict[str, list[Row]] = field(default_factory=dict)
    updates: dict[str, list[tuple[Row, Row]]] = field(default_factory=dict)
    removals: dict[str, list[Row]] = field(default_factory=dict)
    tokens: list[Mapping[str, str | None]] = field(default_factory=list)

    def make(self, relation: str, here: Row | None, there: Row | None) -> None:
        """Make a row ``there``, which is ``here`` now."""
        if there is None:
            assert here is not None
            self.removals.setdefault(relation, []).append(here)
        elif here is None:
            self.inserts.setdefault(relation, []).append(there)
        else:
            self.updates.setdefault(relation, []).append((here, there))

    @property
    def rows(self) -> int:
        """How many rows are touched."""
        lists: list[Sequence[object]] = [*self.inserts.values(), *self.updates.values(), *self.removals.values()]
        return sum(map(len, lists)) + len(self.tokens)


@dataclass(slots=True)
class _Plan:
    """What a merge comes to: changes per side, and what both are known to have then."""

    changes: dict[Side, _Changes]
    agreed: dict[Key, tuple[str, Agreed]] = field(default_factory=dict)
    """(owner, state) by key."""
    forgotten: list[Key] = field(default_factory=list)


class UserCarrier:
    """Carries users between the two databases.

    databases: both sides', as a role that sees all of schema ``auth`` (``postgres``); they stay the caller's to close.
    A merge takes one connection of each. rows: carries what a trigger made with a new user (``related``); None: left to
    who carries tables.
    """

    def __init__(self, databases: Mapping[Side, SideDatabase], rows: Carrier | None = None) -> None:
        """Take the databases."""
        self._databases = databases
        self.rows = rows
        self._shapes: dict[str, TableShape] | None = None
        self._types: dict[Side, Shape] = {}

    async def carry(
        self,
        things: Sequence[Thing],
        target: Side,
        *,
        fence: Fence | None = None,
        expected: Mapping[Thing, str] | None = None,
    ) -> Carried:
        """Make users at ``target`` what they are at the other side, and bring home what only ``target`` has.

        Things that name a user by an address or by when they changed are looked up first (``resolve``). ``expected`` is
        not asked for: a merge knows what both sides had, so what changed on both is no surprise to it. Raises
        ``UserConflict``, ``AuthTablesDiffer``, ``TooManyRemovals``, the fence's and the databases' own errors.
        """
        del expected
        changed, has_settled = 0, False
        users = await self.users_of([thing for thing in things if thing.kind is ThingKind.USER], target)
        is_sweep = any(thing.kind is ThingKind.USERS for thing in things)
        # Before the users: a retry finds them by the users that are missing still.
        related = [] if self.rows is None else await rows_of_new_users(self._databases, users, target)
        if fence is not None and (is_sweep or related or len(users) > BATCH_USERS):
            # Several transactions: none may settle the intent before the last is done.
            fence = Unsettling(fence)
        if self.rows is not None and related:
            changed += (await self.rows.carry(related, target, fence=fence)).changed
        for start in range(0, len(users), BATCH_USERS):
            merged = await self.merge(users[start : start + BATCH_USERS], target, MergeLimits(fence=fence))
            changed, has_settled = changed + merged.changed, merged.has_settled
        if is_sweep:
            changed += (await sweep(self, target, limits=MergeLimits(fence=fence))).changed
        return Carried(changed, has_settled)

    async def images(self, things: Sequence[Thing], side: Side) -> Mapping[Thing, tuple[Any, str]]:
        """Tell how many rows ``side`` has of each user, by table, and a hash of them; values are never shown."""
        images: dict[Thing, tuple[Any, str]] = {}
        for thing in things:
            if thing.kind is not ThingKind.USER:
                continue
            found = await self.read(side, await self.users_of([thing], side.other))
            counts = Counter(relation for relation, _ in found.rows)
            joined = ",".join(sorted(row.digest for row in found.rows.values()))
            image = dict(sorted(counts.items())) if counts else None
            images[thing] = (image, hashlib.blake2b(joined.encode(), digest_size=16).hexdigest())
        return images

    async def users_of(self, things: Sequence[Thing], target: Side) -> list[str]:
        """Give the ids of the users that ``things`` name, on either side, in order."""
        found = {str(thing.key[0]) for thing in things if len(thing.key) == 1}
        for thing in things:
            if len(thing.key) != 1:
                for side in Side:
                    found |= await resolve.users_named(self._databases[side], thing, is_source=side is not target)
        return sorted(found)

    async def merge(
        self,
        users: Sequence[str],
        target: Side,
        limits: MergeLimits = MergeLimits(),  # noqa: B008  frozen
    ) -> Carried:
        """Merge these users (ids); ``changed`` counts the rows that were written on either side."""
        wanted = set(users)
        pause_s = 0.01
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._merge_once(sorted(wanted), target, limits)
            except (_Moved, asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
                if attempt == ATTEMPTS:
                    raise
            except asyncpg.UndefinedColumnError:
                # A side was upgraded meanwhile.
                self._shapes = None
                if attempt == ATTEMPTS:
                    raise
            except asyncpg.UniqueViolationError as error:
                # Somebody stands in the way: a user who left at the source, or who changed places with this one.
                rivals = await self._rivals(sorted(wanted))
                if rivals <= wanted and attempt > ATTEMPTS // 2:
                    raise UserConflict(sorted(wanted), error.constraint_name or "unique") from error
                wanted |= rivals
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  a pause
            pause_s *= 2
        raise AssertionError

    async def shapes(self) -> dict[str, TableShape]:
        """Give the tables and columns that both sides have; read once, and again after an upgrade."""
        if self._shapes is None:
            types: dict[Side, Shape] = {}
            for side in Side:
                types[side] = await rows.read_shape(self._databases[side])
            self._types = types
            self._shapes = rows.common_shape(types[Side.SUPABASE], types[Side.ISOBASE])
        return self._shapes

    async def digests(self, side: Side, users: Sequence[str]) -> Mapping[str, rows.Sum]:
        """What each of ``users`` comes to at a side, to compare sides without their rows travelling."""
        shapes = await self.shapes()
        async with self._databases[side].transaction() as connection:
            return await rows.digests(connection, shapes, users)

    async def read(self, side: Side, users: Sequence[str]) -> Found:
        """Give a side's rows of ``users``."""
        shapes = await self.shapes()
        async with self._databases[side].transaction() as connection:
            return await rows.read(connection, shapes, users)

    async def agreed_counts(self, users: Sequence[str]) -> Mapping[str, tuple[int, bool]]:
        """(rows that both sides are known to have had, whether the user was among them) by user's id."""
        found = await self._databases[Side.ISOBASE].fetch(_AGREED_COUNTS, users)
        return {row["user_id"]: (row["rows"], row["is_known"]) for row in found}

    async def page(self, side: Side, after: str, size: int) -> list[str]:
        """Give the next ids of a side's users, in order, at most ``size``."""
        return await resolve.page_of_users(self._databases[side], after, size)

    async def _rivals(self, users: Sequence[str]) -> set[str]:
        claims = [await resolve.claims_of(database, users) for database in self._databases.values()]
        found: set[str] = set()
        for database in self._databases.values():
            found |= await resolve.holders_of(database, claims)
        return found

    async def _merge_once(self, users: Sequence[str], target: Side, limits: MergeLimits) -> Carried:
        if not users:
            return Carried()
        shapes = await self.shapes()
        numbers = sorted(user_thing(user).lock_number for user in users)
        ours, theirs = self._databases[Side.SUPABASE], self._databases[Side.ISOBASE]
        has_settled = False
        # Isobase's transaction is the inner one and ends first: what is pending at Supabase must be known before it is done,
        # or a crash in between would look like a change that somebody made there.
        async with (
            ours.transaction(is_writer=True) as supabase,
            theirs.transaction(is_writer=True) as isobase,
        ):
            connections: dict[Side, Connection] = {Side.ISOBASE: isobase, Side.SUPABASE: supabase}
            if limits.fence is not None:
                await connections[target].execute(_LOCK_SHARED, limits.fence.lock_number)
            await isobase.execute(_LOCK, numbers)
            await supabase.execute(_LOCK, numbers)
            if limits.fence is not None:
                has_settled = await limits.fence.check(connections[target])
            (found, agreed), other = await asyncio.gather(
                _read_with_agreed(isobase, shapes, users), rows.read(supabase, shapes, users)
            )
            plan = _plan({Side.ISOBASE: found, Side.SUPABASE: other}, agreed, target, limits, shapes)
            for side, changes in plan.changes.items():
                if changes.rows:
                    await self._write(connections[side], changes, side, shapes)
            await _remember(isobase, plan)
        await self._settle(plan)
        return Carried(sum(changes.rows for changes in plan.changes.values()), has_settled)

    async def _settle(self, plan: _Plan) -> None:
        pending = [(*key, state.pending) for key, (_, state) in plan.agreed.items() if state.is_pending]
        if pending:
            async with self._databases[Side.ISOBASE].transaction() as connection:
                await connection.execute(_SETTLE, *(list(column) for column in zip(*pending, strict=True)))

    async def _write(
        self, connection: Connection, changes: _Changes, side: Side, shapes: Mapping[str, TableShape]
    ) -> None:
        types, may_choose = self._types[side], self._databases[side].can_silence_triggers
        if changes.removals and may_choose:
            # What belongs to a session or a user that ends goes with it, in the project's own tables too.
            await connection.execute(_TRIGGERS_RUN)
        for table in reversed(TABLES):
            if table.name in changes.removals:
                left = changes.removals[table.name]
                if await rows.remove(connection, shapes[table.name], types[table.name], left) != len(left):
                    raise _Moved
        if changes.removals and may_choose:
            await connection.execute(_TRIGGERS_KEEP_STILL)
        for table in TABLES:
            shape = shapes.get(table.name)
            if changed := changes.updates.get(table.name):
                assert shape is not None
                if await rows.update(connection, shape, types[table.name], changed) != len(changed):
                    raise _Moved
            if made := changes.inserts.get(table.name):
                assert shape is not None
                await rows.insert(connection, shape, types[table.name], made)
        if changes.tokens:
            await rows.put_tokens(connection, shapes[TOKENS.name], types[TOKENS.name], changes.tokens)


async def _read_with_agreed(
    connection: Connection, shapes: Mapping[str, TableShape], users: Sequence[str]
) -> tuple[Found, dict[Key, Agreed]]:
    found = await rows.read(connection, shapes, users)
    agreed = {
        (row["relation"], row["key"]): Agreed(row["digest"], row["pending"], row["is_pending"])
        for row in await connection.fetch(_AGREED, users)
    }
    return found, agreed


async def _remember(connection: Connection, plan: _Plan) -> None:
    if plan.agreed:
        given = [
            (relation, key, owner, state.digest, state.is_pending, state.pending)
            for (relation, key), (owner, state) in plan.agreed.items()
        ]
        await connection.execute(_AGREE, *(list(column) for column in zip(*given, strict=True)))
    if plan.forgotten:
        await connection.execute(_FORGET, *(list(column) for column in zip(*plan.forgotten, strict=True)))


def _plan(
    found: Mapping[Side, Found],
    agreed: Mapping[Key, Agreed],
    target: Side,
    limits: MergeLimits,
    shapes: Mapping[str, TableShape],
) -> _Plan:
    """Decide about every row. What is written at Supabase is pending until its transaction has ended."""
    source = target.other
    plan = _Plan({side: _Changes() for side in Side})
    for key in _in_order(found[source].rows, found[target].rows, agreed):
        ours, theirs, known = found[source].rows.get(key), found[target].rows.get(key), agreed.get(key)
        holds = winner(_digest(ours), _digest(theirs), known, target)
        if holds is Winner.TARGET and key[0] == USERS.name and theirs is None:
            # A user is never removed at the side that is written first because the other lacks them.
            holds = Winner.SOURCE
        if holds is Winner.SOURCE and ours is not None and theirs is not None:
            shape = shapes[key[0]]
            if counter_of(shape.as_mapping(theirs.values)) > counter_of(shape.as_mapping(ours.values)):
                # A session that counts its refresh tokens was refreshed more often there: going back would end it.
                holds = Winner.TARGET
        if holds is Winner.TARGET and not limits.adopts:
            continue
        if holds is Winner.NEITHER:
            _agree(plan, key, ours, known)
            continue
        row, written = (ours, target) if holds is Winner.SOURCE else (theirs, source)
        replaced = theirs if holds is Winner.SOURCE else ours
        plan.changes[written].make(key[0], replaced, row)
        owner = (row or replaced or Row((), "", "")).owner
        after = _digest(row)
        if written is Side.SUPABASE:
            plan.agreed[key] = (owner, Agreed(_digest(replaced), after, is_pending=True))
        elif after is None:
            plan.forgotten.append(key)
        else:
            plan.agreed[key] = (owner, Agreed(after))
    _plan_tokens(plan, found, target, limits)
    return plan


def _agree(plan: _Plan, key: Key, row: Row | None, known: Agreed | None) -> None:
    if row is None:
        plan.forgotten.append(key)
    elif known != Agreed(row.digest):
        plan.agreed[key] = (row.owner, Agreed(row.digest))


def _plan_tokens(plan: _Plan, found: Mapping[Side, Found], target: Side, limits: MergeLimits) -> None:
    """Merge the tokens of sessions; those of a session that ends are refused where they are written."""
    source = target.other
    ours, theirs = found[source].tokens, found[target].tokens
    for token in (*ours, *(token for token in theirs if token not in ours)):
        one, other = ours.get(token), theirs.get(token)
        if one is None or other is None:
            present = one or other
            assert present is not None
            merged = dict(present)
        else:
            merged = merged_token(one, other)
        if merged != other:
            plan.changes[target].tokens.append(merged)
        if merged != one and limits.adopts:
            plan.changes[source].tokens.append(merged)


def _digest(row: Row | None) -> str | None:
    return None if row is None else row.digest


def _in_order(*several: Iterable[Key]) -> list[Key]:
    seen: dict[Key, None] = {}
    for keys in several:
        seen.update(dict.fromkeys(keys))
    return list(seen)
