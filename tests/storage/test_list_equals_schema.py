"""Lists over HTTP beside the functions of the schema, which tests/schema compares with a model: the same rows in order."""

from __future__ import annotations

import base64
import contextlib
import json
import random
from collections.abc import Sequence
from typing import Any

import psycopg2
import pytest

from tests.storage.conftest import ALICE, Stack

O = "/storage/v1/object"  # noqa: E741
WORDS = ("a", "A", "b", "ab", "Ab", "a b", "a-b", "a.b", "z", "Z", "0", "é", "É", "x_y", "100%")
V1 = "select name, id::text from storage.search(%s, 'b', %s, 1, %s, %s, 'name', %s)"
V2 = "select key, name, id::text from storage.search_v2(%s, 'b', %s, %s, %s, %s, 'name')"


@pytest.fixture
async def crowd(storage: Stack) -> Stack:
    """A bucket with names of all kinds, a folder beyond one batch, many folders of many objects; a third is Alice's."""
    await storage.bucket("b")
    chance = random.Random(5)
    names = {"/".join(chance.choices(WORDS, k=chance.choice((1, 1, 2, 3)))) for _ in range(1500)}
    names |= {f"many/{number:04}.txt" for number in range(2100)}
    names |= {f"tree/{number // 12:03}/{number}.txt" for number in range(600)}
    names |= {f"mixed/{number:03}{'/x' if number % 7 == 0 else ''}" for number in range(400)}
    rows = [[name, ALICE if chance.random() < 0.34 else None] for name in sorted(names)]
    storage.sql(
        "insert into storage.objects (bucket_id, name, owner_id, version, metadata) select 'b', r ->> 0, r ->> 1,"
        " gen_random_uuid()::text, '{\"size\": 1}' from json_array_elements(%s::json) as r",
        json.dumps(rows),
    )
    storage.sql(
        'create policy "read own" on storage.objects for select to authenticated using (owner_id = auth.uid()::text)'
    )
    storage.sql("analyze storage.objects")
    return storage


def as_caller(stack: Stack, user: str | None, statement: str, *args: object) -> list[tuple[Any, ...]]:
    """The statement's rows, below policies for ``user`` (None: as the owner of all)."""
    with contextlib.closing(psycopg2.connect(stack.owner_dsn)) as connection, connection.cursor() as cursor:
        if user is not None:
            claims = json.dumps({"sub": user, "role": "authenticated"})
            cursor.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
            cursor.execute("set local role authenticated")
        cursor.execute(statement, args)
        return list(cursor.fetchall())


async def listed(stack: Stack, path: str, user: str | None, **body: object) -> Any:
    headers = stack.admin if user is None else stack.user(user)
    answer = await stack.http.post(f"{O}/{path}/b", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cursor_behind(name: str, order: str) -> str:
    """A cursor as the server makes it."""
    return base64.b64encode(f"l:{name}\no:{order}\nc:name".encode()).decode()


PREFIXES: Sequence[str] = ("", "a/", "A/", "many/", "tree/", "mixed/", "tree/007/", "é/", "none/")


@pytest.mark.parametrize("user", [None, ALICE], ids=["service", "user"])
async def test_the_first_list_is_that_of_the_schema(crowd: Stack, user: str | None) -> None:
    for prefix in PREFIXES:
        for limit, offset in ((1500, 0), (7, 3)) if prefix != "many/" else ((1000, 1000),):
            for order in ("asc", "desc"):
                body = {"prefix": prefix, "limit": limit, "offset": offset}
                rows = await listed(crowd, "list", user, **body, sortBy={"column": "name", "order": order})
                expected = as_caller(crowd, user, V1, prefix, limit, offset, "", order)
                assert [(row["name"], row["id"]) for row in rows] == expected, (body, order)
        rows = await listed(crowd, "list", user, prefix=prefix, search="A")
        assert [(row["name"], row["id"]) for row in rows] == as_caller(crowd, user, V1, prefix, 100, 0, "A", "asc")


@pytest.mark.parametrize("user", [None, ALICE], ids=["service", "user"])
async def test_the_second_list_is_that_of_the_schema(crowd: Stack, user: str | None) -> None:
    for prefix in PREFIXES:
        for order in ("asc", "desc"):
            for limit, after in ((1000, ""), (5, ""), (300, f"{prefix}ab")):
                cursor = cursor_behind(after, order) if after else None
                body: dict[str, Any] = {"prefix": prefix, "limit": limit, "with_delimiter": True}
                body |= {"cursor": cursor} if cursor else {"sortBy": {"column": "name", "order": order}}
                page = await listed(crowd, "list-v2", user, **body)
                expected = as_caller(crowd, user, V2, prefix, limit + 1, prefix.count("/") + 1, after, order)
                shown = expected[:limit]
                found = [(row["key"], row["name"], row["id"]) for row in page["objects"]]
                assert found == [row for row in shown if row[2] is not None], (body, order)
                folders = [(row["key"], row["name"]) for row in page["folders"]]
                assert folders == [(key, f"{name}/") for key, name, id_ in shown if id_ is None], (body, order)
                assert page["hasNext"] is (len(expected) > limit), (body, order)
                if page["hasNext"]:
                    assert page["nextCursorKey"] == shown[-1][1]
