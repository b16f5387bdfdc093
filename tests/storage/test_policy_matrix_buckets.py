"""Who may do what to a bucket, on both faces that have buckets: the table of contracts/storage.md 1.7.

A kind is a set of policies on ``storage.buckets``. What an operation needs is a line of ``OPERATIONS``; the answer of each
cell follows from the two. Each cell has a bucket of its own, named after its kind, so that policies can tell them apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import httpx

from tests.storage.conftest import Stack
from tests.storage.test_policy_matrix import AT_ONCE, EVERYBODY, NOBODY, USERS, V1, Cell, Rights, rights

KINDS: dict[str, Rights] = {
    "none": rights(NOBODY, NOBODY, NOBODY, NOBODY),
    "alice": rights(*(frozenset({"alice"}),) * 4),
    "read": rights(EVERYBODY, NOBODY, NOBODY, NOBODY),
    "make": rights(NOBODY, USERS, NOBODY, NOBODY),
    "change": rights(USERS, NOBODY, USERS, NOBODY),
    "blind": rights(NOBODY, EVERYBODY, EVERYBODY, EVERYBODY),
    "drop": rights(USERS, NOBODY, NOBODY, USERS),
}
CALLERS = ("anon", "alice", "bob", "service", "expired", "no token")
SESSIONS = ("session alice", "session bob")
_ROLES = {EVERYBODY: "public", USERS: "authenticated", frozenset({"alice"}): "authenticated"}
ALICE_ONLY = "auth.uid() = '11111111-1111-4111-8111-111111111111'"

Act: TypeAlias = Callable[[Cell], Awaitable[str]]


@dataclass(slots=True, frozen=True)
class Operation:
    """A line of the table: ``needs`` as in the matrix of objects; ``service_only``: no policy opens it."""

    act: Act
    needs: tuple[tuple[str, str], ...] = ()
    has_bucket: bool = True
    is_s3: bool = False
    service_only: bool = False


def _answer(response: httpx.Response) -> str:
    assert response.status_code < 500, response.text
    if response.status_code < 300:
        return "done"
    text = response.text
    if "NoSuchBucket" in text or response.status_code == 404:
        return "hidden"
    if "row-level security" in text:
        return "denied"
    return "token" if "JWS" in text or "exp" in text else "role"


def _rest(method: str, path: str, body: object = None) -> Act:
    async def act(cell: Cell) -> str:
        return _answer(await cell.ask(method, f"{V1}{path.format(b=cell.bucket)}", body))

    return act


async def _create(cell: Cell) -> str:
    return _answer(await cell.ask("POST", f"{V1}/bucket", {"name": cell.bucket}))


async def _list(cell: Cell) -> str:
    answer = await cell.ask("GET", f"{V1}/bucket?search={cell.bucket}")
    return _answer(answer) if answer.status_code != 200 else "done" if answer.json() else "left out"


def _s3(method: str, query: str = "") -> Act:
    async def act(cell: Cell) -> str:
        return _answer(await cell.s3(method, query=query, key=""))

    return act


SEEN = ("select", "hidden")
OPERATIONS: dict[str, Operation] = {
    "create": Operation(_create, (("insert", "denied"),), has_bucket=False),
    "get": Operation(_rest("GET", "/bucket/{b}"), (SEEN,)),
    "list": Operation(_list, (("select", "left out"),)),
    "update": Operation(_rest("PUT", "/bucket/{b}", {"public": True}), (SEEN, ("update", "hidden"))),
    "delete": Operation(_rest("DELETE", "/bucket/{b}"), (SEEN, ("delete", "hidden"))),
    "empty": Operation(_rest("POST", "/bucket/{b}/empty"), service_only=True),
    "s3 create": Operation(_s3("PUT"), (("insert", "denied"),), has_bucket=False, is_s3=True),
    "s3 head": Operation(_s3("HEAD"), (SEEN,), is_s3=True),
    "s3 location": Operation(_s3("GET", "?location"), (SEEN,), is_s3=True),
    "s3 delete": Operation(_s3("DELETE"), (SEEN, ("delete", "hidden")), is_s3=True),
}


def expected(operation: Operation, kind: str, who: str) -> str:
    """What a cell must answer, by the table alone."""
    if who in {"expired", "no token"}:
        return "token"
    if who == "service":
        return "done"
    if operation.service_only:
        return "role"
    caller = who.removeprefix("session ")
    return next((refusal for command, refusal in operation.needs if caller not in KINDS[kind][command]), "done")


def _policies(kind: str) -> list[str]:
    made = []
    for command, callers in KINDS[kind].items():
        if not callers:
            continue
        rule = f"id like '{kind}-%'" + (f" and {ALICE_ONLY}" if callers == {"alice"} else "")
        using = "" if command == "insert" else f" using ({rule})"
        check = f" with check ({rule})" if command in {"insert", "update"} else ""
        name = f"{kind} {command} bucket"
        made.append(f'create policy "{name}" on storage.buckets for {command} to {_ROLES[callers]}{using}{check}')
    return made


async def test_every_caller_may_do_to_buckets_what_policies_say_and_nothing_else(storage: Stack) -> None:
    cells = [
        (name, operation, kind, Cell(storage, f"{kind}-{name}-{who}-.".replace(" ", "-"), who, ""))
        for kind in KINDS
        for name, operation in OPERATIONS.items()
        for who in (SESSIONS if operation.is_s3 else CALLERS)
    ]
    names = [cell.bucket for _, operation, _, cell in cells if operation.has_bucket]
    storage.sql("insert into storage.buckets (id, name) select n, n from unnest(%s) as n", names)
    storage.sql(";".join(statement for kind in KINDS for statement in _policies(kind)))
    gate = asyncio.Semaphore(AT_ONCE)
    wrong: list[str] = []
    to_be = {name for (name,) in storage.sql("select id from storage.buckets") if name not in names}

    async def attempt(name: str, operation: Operation, kind: str, cell: Cell) -> None:
        async with gate:
            answered = await operation.act(cell)
        wanted = expected(operation, kind, cell.who)
        if answered != wanted:
            wrong.append(f"{kind}: {cell.who}: {name}: {answered}, not {wanted}")
        if operation.has_bucket != (wanted == "done" and name.removeprefix("s3 ") in {"create", "delete"}):
            to_be.add(cell.bucket)

    await asyncio.gather(*(attempt(*one) for one in cells))
    assert {name for (name,) in storage.sql("select id from storage.buckets")} == to_be
    assert not wrong, "\n".join(sorted(wrong))


async def test_emptying_a_bucket_takes_the_service_and_leaves_the_objects_otherwise(storage: Stack) -> None:
    await storage.bucket("full")
    await storage.put("full/k", b"x", storage.admin)
    storage.sql('create policy "all objects" on storage.objects for all using (true) with check (true)')
    storage.sql('create policy "all buckets" on storage.buckets for all using (true) with check (true)')
    for who in ("anon", "alice"):
        refused = await Cell(storage, "full", who, "k").ask("POST", f"{V1}/bucket/full/empty")
        assert refused.status_code == 403
    assert storage.sql("select name from storage.objects where bucket_id = 'full'") == [("k",)]
