"""No answer ever holds another user's row, however many requests run at once and however rudely they end.

200 clients of two users and anon send at least 20,000 requests to one running Isobase; one in eight is cut off at a random
moment, often while PostgreSQL is at work on it. Some requests leave on the session whatever a user's function can leave.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import jwt
import pytest

from tests.plugins.stack import Stack

CLIENTS = 200
REQUESTS_PER_CLIENT = 100
ABORT_SHARE = 0.125
MAX_ABORT_DELAY_S = 0.02
ROWS_PER_USER = 5

SCHEMA = """
create table public.isolation_rows (
  id bigint generated always as identity primary key,
  owner uuid not null default auth.uid(),
  secret text not null
);
alter table public.isolation_rows enable row level security;
create policy "owners only" on public.isolation_rows for all to authenticated
  using (owner = auth.uid()) with check (owner = auth.uid());

create function public.isolation_whoami() returns jsonb language sql stable as $$
  select jsonb_build_object('sub', auth.uid(), 'role', current_user, 'guc', current_setting('isolation.mark', true))
$$;

-- Leaves all that a function can leave behind on a session: settings, a temporary table, a lock.
create function public.isolation_litter() returns jsonb language plpgsql as $$
begin
  perform set_config('isolation.mark', auth.uid()::text, false);
  perform set_config('request.jwt.claims', '{"sub":"' || auth.uid() || '","role":"authenticated"}', false);
  perform set_config('statement_timeout', '7', false);
  perform pg_advisory_lock_shared(hashtext(auth.uid()::text));
  create temporary table if not exists isolation_temp as select auth.uid() as owner;
  return isolation_whoami();
end $$;

-- Slow enough to be cut off in the middle.
create function public.isolation_slow() returns setof public.isolation_rows language sql volatile as $$
  select r.* from public.isolation_rows r, (select pg_sleep(random() * 0.01)) as pause
$$;
notify pgrst, 'reload schema';
"""


@dataclass
class Person:
    """One caller: a bearer token, and the user id that every row and answer must carry."""

    name: str
    token: str
    sub: str | None


@dataclass
class Tally:
    answers: Counter[str] = field(default_factory=Counter)
    aborted: int = 0
    leaks: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return sum(self.answers.values()) + self.aborted


def check(person: Person, kind: str, status: int, body: bytes, tally: Tally) -> None:
    tally.answers[f"{kind} {status}"] += 1
    if kind == "whoami" or kind == "litter":
        if status != 200:
            if person.sub is not None:
                tally.failures.append(f"{person.name} {kind} {status} {body[:200]!r}")
            return
        seen = json.loads(body)
        expected_role = "authenticated" if person.sub else "anon"
        mark = seen["guc"] or None
        if seen["sub"] != person.sub or seen["role"] != expected_role:
            tally.leaks.append(f"{person.name} was taken for {seen}")
        if kind == "whoami" and mark is not None:
            tally.leaks.append(f"{person.name} saw a setting left by {mark}")
        return
    if status not in (200, 201):
        # Anon may not write; nobody else may fail.
        if not (person.sub is None and status in (401, 403)):
            tally.failures.append(f"{person.name} {kind} {status} {body[:200]!r}")
        return
    foreign = [row for row in json.loads(body) if row["owner"] != person.sub or row["secret"] != f"of {person.sub}"]
    if foreign:
        tally.leaks.append(f"{person.name} {kind} got {foreign[0]}")


def request_bytes(host: str, person: Person, kind: str) -> bytes:
    paths = {
        "read": ("GET", "/rest/v1/isolation_rows?select=*", b""),
        "whoami": ("POST", "/rest/v1/rpc/isolation_whoami", b"{}"),
        "litter": ("POST", "/rest/v1/rpc/isolation_litter", b"{}"),
        "slow": ("POST", "/rest/v1/rpc/isolation_slow", b"{}"),
        "insert": ("POST", "/rest/v1/isolation_rows", json.dumps({"secret": f"of {person.sub}"}).encode()),
        "update": ("PATCH", "/rest/v1/isolation_rows?id=gt.0", json.dumps({"secret": f"of {person.sub}"}).encode()),
        "delete": ("DELETE", f"/rest/v1/isolation_rows?id=gt.{ROWS_PER_USER * 2}", b""),
    }
    method, path, body = paths[kind]
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {person.token}",
        "Prefer: return=representation",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    headers = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
    if headers.get(b"transfer-encoding") == b"chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
        return status, body
    return status, await reader.readexactly(int(headers.get(b"content-length", b"0")))


async def client(person: Person, host: str, port: int, dice: random.Random, tally: Tally) -> None:
    kinds = ["read"] * 5 + ["whoami"] * 4 + ["slow", "litter", "insert", "update", "delete"]
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    for _ in range(REQUESTS_PER_CLIENT):
        if connection is None:
            connection = await asyncio.open_connection(host, port)
        reader, writer = connection
        kind = dice.choice(kinds)
        writer.write(request_bytes(f"{host}:{port}", person, kind))
        if dice.random() < ABORT_SHARE:
            await asyncio.sleep(dice.random() * MAX_ABORT_DELAY_S)
            writer.transport.abort()
            connection = None
            tally.aborted += 1
            continue
        status, body = await read_answer(reader)
        check(person, kind, status, body, tally)
    if connection is not None:
        connection[1].close()
        await connection[1].wait_closed()


def person(name: str, sub: str | None, stack: Stack) -> Person:
    if sub is None:
        return Person(name, stack.anon_key, None)
    payload = {"sub": sub, "role": "authenticated", "aud": "authenticated", "exp": int(time.time()) + 3600}
    return Person(name, jwt.encode(payload, stack.jwt_secret, algorithm="HS256"), sub)


@pytest.mark.fault
@pytest.mark.timeout(900)
async def test_no_answer_ever_holds_another_users_row(stack: Stack) -> None:
    alice, bob = person("alice", str(uuid4()), stack), person("bob", str(uuid4()), stack)
    anon = person("anon", None, stack)
    admin = await asyncpg.connect(stack.admin_dsn)
    try:
        await admin.execute(SCHEMA)
        for owner in (alice, bob):
            await admin.executemany(
                "insert into public.isolation_rows (owner, secret) values ($1, $2)",
                [(owner.sub, f"of {owner.sub}")] * ROWS_PER_USER,
            )
        await until_served(stack, "isolation_rows", alice)
        tally = Tally()
        place = urlsplit(stack.url)
        assert place.hostname is not None
        assert place.port is not None
        people = [(alice, bob, alice, bob, anon)[number % 5] for number in range(CLIENTS)]
        await asyncio.gather(
            *(
                client(who, place.hostname, place.port, random.Random(number), tally)
                for number, who in enumerate(people)
            )
        )
        assert tally.leaks == []
        assert tally.failures == []
        assert tally.sent >= 20_000
        assert tally.aborted > 1_000
        assert tally.answers["read 200"] > 3_000
        # Nothing that a cut-off request held is still held.
        await until_quiet(admin)
    finally:
        await admin.execute(
            "drop function if exists public.isolation_slow, public.isolation_litter, public.isolation_whoami;"
            " drop table if exists public.isolation_rows; notify pgrst, 'reload schema'"
        )
        await admin.close()


async def until_served(stack: Stack, table: str, who: Person) -> None:
    place = urlsplit(stack.url)
    for _ in range(1200):
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(request_bytes(place.netloc, who, "read").replace(b"isolation_rows", table.encode()))
        status, _body = await read_answer(reader)
        writer.close()
        if status == 200:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{table} was not served within 60 s of the reload notice")


async def until_quiet(admin: asyncpg.Connection[asyncpg.Record]) -> None:
    """No door connection is inside a transaction or holds a lock."""
    query = (
        "select count(*) from pg_stat_activity a where usename = 'authenticator'"
        " and (state <> 'idle' or exists (select from pg_locks l where l.pid = a.pid))"
    )
    for _ in range(1200):
        if await admin.fetchval(query) == 0:
            return
        await asyncio.sleep(0.05)
    pytest.fail("a door connection still is in a transaction or holds a lock 60 s after the last request")
