"""Random policies, users, filters and changes: each socket gets what a SELECT as its user shows of each version of a row.

The owner writes in a transaction and, after each statement, looks at the row as every subscriber inside of the same
transaction, where no later version is there yet. What is delivered after the commit must be the same.
``make check-realtime-policies`` runs many more (ISOBASE_POLICY_EXAMPLES, ISOBASE_POLICY_SEED).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st

from isobase_platform.config import Settings
from tests.realtime.client import Phoenix
from tests.realtime.conftest import Stack, running_stack

SEED = os.environ.get("ISOBASE_POLICY_SEED")
EXAMPLES = int(os.environ.get("ISOBASE_POLICY_EXAMPLES", "25"))
TIME_LIMIT_S = 15.0 if "ISOBASE_POLICY_EXAMPLES" not in os.environ else float("inf")
"""After this nothing more is tried: a slow machine checks fewer examples."""

USERS = [f"{number}aaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for number in (1, 2, 3)]
SCHEMA = """
create table public.things (
  id int primary key, owner uuid, team text, label varchar(9), rank int, is_public boolean, tags text[], version int
);
create table public.belongs (team text, uid uuid);
create table public.marks (id int primary key);
create function public.whole(public.things) returns boolean language sql as 'select ($1).rank = 1';
create function public.secret(text) returns boolean language sql stable security definer
  as $$select exists (select from public.belongs where team = $1 and uid = auth.uid())$$;
alter table public.things enable row level security;
grant select on public.things, public.belongs, public.marks to anon, authenticated;
alter publication supabase_realtime add table public.things, public.marks;
"""
# Each is a condition by itself; the generator also joins two of them. None reads a system column, for which the row is looked
# up as it is now.
CONDITIONS = [
    "true",
    "false",
    "owner = auth.uid()",
    "(select auth.uid()) = owner",
    "owner <> auth.uid()",
    "is_public",
    "not is_public",
    "is_public is true",
    "owner is null",
    "team = (auth.jwt() ->> 'team')",
    "label = (auth.jwt() -> 'app_metadata' ->> 'label')",
    "rank = (auth.jwt() ->> 'rank')::int",
    "auth.role() = 'authenticated'",
    "team in ('red', 'blue')",
    "rank = 1",
    "rank > 0",
    "10 / rank > 3",
    "lower(label) = 'x'",
    "'b' = any (tags)",
    "whole(things)",
    "to_jsonb(things) ->> 'team' = 'red'",
    "exists (select from belongs b where b.team = things.team and b.uid = auth.uid())",
    "team in (select b.team from belongs b where b.uid = (select auth.uid()))",
    "secret(team)",
    "current_setting('request.jwt.claims', true)::json ->> 'team' = team",
]
FILTERS: list[str | None] = [
    *[None] * 12,
    "rank=eq.1",
    "rank=gt.0",
    "team=eq.red",
    "label=neq.x",
    "team=in.(red,blue)",
    "owner=eq." + USERS[0].upper(),
    "is_public=is.true",
    "team=like.r%",
    "id=lt.3",
]
FILTER_SQL: dict[str | None, str] = {
    None: "true",
    "rank=eq.1": "rank = 1",
    "rank=gt.0": "rank > 0",
    "team=eq.red": "team = 'red'",
    "label=neq.x": "label <> 'x'",
    "team=in.(red,blue)": "team in ('red', 'blue')",
    "owner=eq." + USERS[0].upper(): f"owner = '{USERS[0]}'",
    "is_public=is.true": "is_public is true",
    "team=like.r%": "team like 'r%'",
    "id=lt.3": "id < 3",
}


@dataclass(frozen=True)
class PolicyCase:
    """One CREATE POLICY."""

    condition: str
    kind: str
    role: str


@dataclass(frozen=True)
class Listener:
    """A socket: ``user`` None is anon."""

    user: str | None
    claims: tuple[tuple[str, Any], ...]
    filter: str | None
    event: str

    @property
    def role(self) -> str:
        return "anon" if self.user is None else "authenticated"


@dataclass(frozen=True)
class Write:
    """A statement on the row with this id: inserted when it is not there, else updated or deleted."""

    id: int
    is_delete: bool
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """One example. ``cuts``: after which writes a transaction ends."""

    policies: Sequence[PolicyCase]
    listeners: Sequence[Listener]
    writes: Sequence[Write]
    cuts: Sequence[int]
    is_full: bool


def _joined() -> st.SearchStrategy[str]:
    one = st.sampled_from(CONDITIONS)
    two = st.tuples(one, st.sampled_from(["and", "or"]), one).map(
        lambda parts: f"(({parts[0]}) {parts[1]} ({parts[2]}))"
    )
    return st.one_of(one, one, two, two.map(lambda text: f"not {text}"))


def cases() -> st.SearchStrategy[Case]:
    """All of it, small."""
    policy = st.builds(
        PolicyCase,
        _joined(),
        st.sampled_from([*["permissive"] * 5, "restrictive"]),
        st.sampled_from([*["public"] * 4, "authenticated", "anon"]),
    )
    claims = st.fixed_dictionaries(
        {},
        optional={
            "team": st.sampled_from(["red", "blue", 7, None]),
            # All of them numbers: PostgreSQL tries the cast of another one when it plans, which it does not do each time.
            "rank": st.sampled_from(["1", 1, "2"]),
            "app_metadata": st.sampled_from([{"label": "x"}, {"label": "y"}, "x", None]),
        },
    ).map(lambda found: tuple(sorted(found.items())))
    listener = st.builds(
        Listener,
        st.sampled_from([*USERS, *USERS, None]),
        claims,
        st.sampled_from(FILTERS),
        st.sampled_from([*["*"] * 6, "INSERT", "UPDATE", "DELETE"]),
    )
    values = st.tuples(
        st.sampled_from([*USERS, None]),
        st.sampled_from(["red", "blue", None]),
        st.sampled_from(["x", "X", "y", "", None]),
        st.sampled_from([1, 1, 2, 0, None]),
        st.sampled_from([True, False, None]),
        st.sampled_from([["a", "b"], [], None]),
    )
    write = st.builds(Write, st.integers(1, 4), st.sampled_from([False, False, False, True]), values)
    return st.builds(
        Case,
        st.lists(policy, min_size=1, max_size=4),
        st.lists(listener, min_size=3, max_size=5),
        st.lists(write, min_size=6, max_size=16),
        st.lists(st.integers(0, 15), max_size=3),
        st.booleans(),
    )


_numbers = itertools.count(1)


class Play:
    """Plays examples on one stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._writer = stack.owner

    async def prepare(self) -> None:
        """Tables and memberships."""
        await self._writer.execute(SCHEMA)
        await self._writer.executemany(
            "insert into belongs values ($1, $2)", [("red", USERS[0]), ("blue", USERS[1]), ("red", USERS[1])]
        )

    async def check(self, case: Case) -> None:
        """Subscribe, write, compare."""
        await self._set_up(case)
        tokens = [self._token(listener) for listener in case.listeners]
        expected: list[list[tuple[str, int, int | None]]] = [[] for _ in case.listeners]
        async with AsyncExitStack() as open_sockets:
            sockets: list[Phoenix] = []
            for listener, token in zip(case.listeners, tokens, strict=True):
                socket = await self._stack.connect()
                open_sockets.push_async_callback(socket.close)
                entry: dict[str, Any] = {"event": listener.event, "schema": "public", "table": "things"}
                if listener.filter is not None:
                    entry["filter"] = listener.filter
                await socket.subscribe("a", entry, {"event": "*", "schema": "public", "table": "marks"}, token=token)
                sockets.append(socket)
            mark = await self._play(case, expected)
            for listener, socket, seen in zip(case.listeners, sockets, expected, strict=True):
                await socket.wait_for(lambda item: item.event == "postgres_changes" and _is_mark(item.payload, mark))
                got = [_told(item.payload["data"]) for item in socket.events("postgres_changes")]
                assert [told for told in got if told is not None] == seen, listener

    async def _play(self, case: Case, expected: list[list[tuple[str, int, int | None]]]) -> int:
        """Do the writes and note what must be told of each; returns the mark at the end."""
        mark = next(_numbers)
        cuts = sorted({cut + 1 for cut in case.cuts if cut + 1 < len(case.writes)})
        for begin, end in itertools.pairwise([0, *cuts, len(case.writes)]):
            async with self._writer.transaction():
                for write in case.writes[begin:end]:
                    done = await self._write(write)
                    for listener, seen in zip(case.listeners, expected, strict=True):
                        if done is not None:
                            seen += await self._shown(listener, done, write.id)
        await self._writer.execute("insert into marks values ($1)", mark)
        return mark

    async def _set_up(self, case: Case) -> None:
        names = await self._writer.fetch("select polname from pg_policy where polrelid = 'things'::regclass")
        await self._writer.execute("truncate things")
        for (name,) in names:
            await self._writer.execute(f"drop policy {name} on things")
        identity = "full" if case.is_full else "default"
        await self._writer.execute(f"alter table things replica identity {identity}")
        for number, policy in enumerate(case.policies):
            sql = f"create policy p{number} on things as {policy.kind} for select to {policy.role} using ({policy.condition})"
            note(sql)
            await self._writer.execute(sql)

    def _token(self, listener: Listener) -> str:
        return self._stack.token(listener.user, role=listener.role, **dict(listener.claims))

    async def _write(self, write: Write) -> str | None:
        is_there = await self._writer.fetchval("select exists (select from things where id = $1)", write.id)
        if write.is_delete:
            if is_there:
                await self._writer.execute("delete from things where id = $1", write.id)
            return "DELETE" if is_there else None
        version = next(_numbers)
        names = "owner, team, label, rank, is_public, tags, version"
        if is_there:
            sql = f"update things set ({names}) = row ($2, $3, $4, $5, $6, $7, $8) where id = $1"
        else:
            sql = f"insert into things (id, {names}) values ($1, $2, $3, $4, $5, $6, $7, $8)"
        await self._writer.execute(sql, write.id, *write.values, version)
        return "UPDATE" if is_there else "INSERT"

    async def _shown(self, listener: Listener, done: str, identifier: int) -> list[tuple[str, int, int | None]]:
        """What the listener must be told of the last statement."""
        if listener.event not in ("*", done):
            return []
        if done == "DELETE":
            # By its key alone, and only where filters ask for no more.
            passes = listener.filter is None or (listener.filter == "id=lt.3" and identifier < 3)
            return [(done, identifier, None)] if passes else []
        claims: dict[str, Any] = {"role": listener.role, "sub": listener.user, **dict(listener.claims)}
        if listener.user is None:
            del claims["sub"]
        visit = self._writer.transaction()
        await visit.start()
        version: int | None = None
        with suppress(asyncpg.PostgresError):  # a policy that raises shows nothing
            await self._writer.execute(
                "select set_config('request.jwt.claims', $1, true), set_config('role', $2, true),"
                " set_config('enable_seqscan', 'off', true)",
                json.dumps(claims),
                listener.role,
            )
            version = await self._writer.fetchval("select version from things where id = $1", identifier)
        await visit.rollback()
        if version is None:
            return []
        passes = await self._writer.fetchval(
            f"select exists (select from things where id = $1 and {FILTER_SQL[listener.filter]})", identifier
        )
        return [(done, identifier, version)] if passes else []


def _is_mark(payload: dict[str, Any], mark: int) -> bool:
    data = payload["data"]
    return bool(data["table"] == "marks" and data["record"]["id"] == mark)


def _told(data: dict[str, Any]) -> tuple[str, int, int | None] | None:
    if data["table"] != "things":
        return None
    if data["type"] == "DELETE":
        assert data["old_record"].keys() == {"id"}
        return "DELETE", data["old_record"]["id"], None
    return data["type"], data["record"]["id"], data["record"]["version"]


def _generated(test: Callable[[Case], None]) -> Callable[[], None]:
    run = settings(
        max_examples=EXAMPLES,
        derandomize=SEED is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )(given(cases())(test))
    return seed(int(SEED))(run) if SEED is not None else run


def test_each_socket_gets_what_a_select_as_its_user_shows(database: Settings) -> None:
    until_s = time.monotonic() + TIME_LIMIT_S
    with asyncio.Runner() as runner:
        exits = AsyncExitStack()
        stack = runner.run(exits.enter_async_context(running_stack(database)))
        play = Play(stack)
        runner.run(play.prepare())

        @_generated
        def check(case: Case) -> None:
            if time.monotonic() < until_s:
                runner.run(play.check(case))

        try:
            check()
        finally:
            runner.run(exits.aclose())
