"""Hostile text in every position that takes a name or a value: refused or kept as text, and never run."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.database.dynamic.conftest import ITEMS, Server, refusal

HOSTILE = [
    'a"; drop table victim; --',
    "a'; drop table victim; --",
    "a) ; drop table victim; --",
    "a\\'; drop table victim; --",
    "$$; drop table victim; $$",
    'a" text); drop table victim; create table b (c',
    "auth.users",
    'public"."victim',
    "a--",
    "a/*",
    "victim\n",
    "\uff41",
    "%s",
    "$1",
]


@pytest.fixture
async def victim(server: Server) -> Server:
    """A table that every attempt tries to drop."""
    await server.owner.execute("drop table if exists public.victim; create table public.victim (id int)")
    return server


async def still_there(server: Server) -> bool:
    """Whether the victim lives and nothing was made beside it."""
    tables = await server.owner.fetch(
        r"select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        r" where c.relkind = 'r' and (nspname = 'public' or nspname like 'db\_%')"
    )
    return {row["relname"] for row in tables} - {"items"} == {"victim"}


def _column(**change: Any) -> dict[str, Any]:
    return {**ITEMS, "columns": [{"name": "title", "type": "text", **change}]}


@pytest.mark.parametrize("text", HOSTILE)
async def test_no_name_of_a_definition_is_run(victim: Server, text: str) -> None:
    made = await victim.make_database()
    url = f"/db/{made['database_id']}/tables"
    bodies: list[dict[str, Any]] = [
        {**ITEMS, "name": text},
        {**ITEMS, "access": text},
        _column(name=text),
        _column(type=text),
        _column(type=f"text {text}"),
        _column(type="uuid", references={"table": text}),
        _column(type="uuid", references={"table": "items", "on_delete": text}),
        _column(type="integer", default=text),
        _column(type="timestamptz", default=text),
        _column(type="numeric", default=text),
    ]
    for body in bodies:
        answer = await victim.http.post(url, json=body, headers=victim.alice)
        assert refusal(answer)[0] == 400, body
    assert (await victim.http.get(url, headers=victim.alice)).json() == {"tables": []}
    assert await still_there(victim)


@pytest.mark.parametrize("text", HOSTILE)
async def test_no_text_of_a_change_is_run(victim: Server, text: str) -> None:
    rows = await victim.make_rows_url()
    url = rows.removesuffix("/rows")
    before = (await victim.http.get(url, headers=victim.alice)).json()
    column = {"name": "a", "type": "text"}
    bodies: list[dict[str, Any]] = [
        {"name": text},
        {"access": text},
        {"columns": {"drop": [text]}},
        {"columns": {"rename": {"title": text}}},
        {"columns": {"rename": {text: "a"}}},
        {"columns": {"add": [{**column, "name": text}]}},
        {"columns": {"add": [{**column, "type": text}]}},
        {"columns": {"add": [{**column, "type": f"varchar({text})"}]}},
        {"columns": {"add": [{**column, "references": {"table": text}}]}},
        {"columns": {"add": [{**column, "references": {"table": "items", "column": text}}]}},
        {"columns": {"add": [{**column, "type": "integer", "default": text}]}},
        {"columns": {"add": [{**column, "check": text}]}},
        {"columns": {"change": [{"name": text, "nullable": True}]}},
        {"columns": {"change": [{"name": "title", "type": text}]}},
        {"columns": {"change": [{"name": "title", "check": text}]}},
        {"columns": {"change": [{"name": "quantity", "default": text}]}},
        {"indexes": {"add": [{"columns": [text]}]}},
        {"indexes": {"add": [{"columns": ["title"], "name": text}]}},
        {"indexes": {"add": [{"columns": ["title"], "method": text}]}},
        {"indexes": {"drop": [text]}},
        {"policies": [{"command": text, "using": "true"}]},
        {"policies": [{"command": "select", "to": [text], "using": "true"}]},
        {"policies": [{"command": "select", "using": text}]},
        {"policies": [{"command": "insert", "check": text}]},
    ]
    for body in bodies:
        answer = await victim.http.patch(url, json=body, headers=victim.alice)
        assert refusal(answer)[0] == 400, (body, answer.text)
    assert (await victim.http.get(url, headers=victim.alice)).json() == before
    assert (await victim.http.patch(url, json={"comment": text}, headers=victim.alice)).json()["comment"] == text
    assert await still_there(victim)


@pytest.mark.parametrize("text", HOSTILE)
async def test_text_in_a_database_name_or_a_default_stays_text(victim: Server, text: str) -> None:
    columns = [
        {"name": "title", "type": "text", "default": text},
        {"name": "facts", "type": "jsonb", "default": {text: [text]}},
        {"name": "tags", "type": "text[]", "default": [text, text]},
    ]
    made = await victim.make_database(text.strip())
    table = await victim.make_table(made["database_id"], columns=columns)
    row = await victim.insert(f"/db/{made['database_id']}/tables/{table['table_id']}/rows", victim.alice)
    assert (row["title"], row["facts"], row["tags"]) == (text, {text: [text]}, [text, text])
    assert await still_there(victim)


@pytest.mark.parametrize("text", HOSTILE)
async def test_no_name_and_no_value_of_a_row_or_a_query_is_run(victim: Server, text: str) -> None:
    url = await victim.make_rows_url()
    row = await victim.insert(url, victim.alice, title=text)
    assert row["title"] == text
    found = await victim.http.get(url, params={"title": f"eq.{text}"}, headers=victim.alice)
    assert found.json() == {"rows": [row]}
    hostile = quote(text)
    queries = [
        f"{hostile}=eq.a",
        f"select={hostile}",
        f"select=title::{hostile}",
        f"select=title:{hostile}",
        f"order={hostile}",
        f"order=title.{hostile}",
        f"limit={hostile}",
        f"title={hostile}",
        f"title=fts({hostile}).a",
        f"quantity=eq.{hostile}",
        f"quantity=in.({hostile})",
        f"or=({hostile}.eq.a)",
        f"facts-%3E{hostile}=eq.a",
    ]
    for query in queries:
        answer = await victim.http.get(f"{url}?{query}", headers=victim.alice)
        # A path into JSON may be any text; it then finds nothing.
        assert answer.status_code == 400 or answer.json() == {"rows": []} or "select" in query, (query, answer.text)
        assert answer.status_code < 500
    for body in ({text: "a"}, {"quantity": text}):
        assert refusal(await victim.http.post(url, json=body, headers=victim.alice))[0] == 400
        answer = await victim.http.patch(f"{url}/{row['id']}", json=body, headers=victim.alice)
        assert refusal(answer)[0] == 400
    path = f"{url}/{hostile}"
    for method in ("GET", "PATCH", "DELETE"):
        answer = await victim.http.request(method, path, json={"title": "x"}, headers=victim.alice)
        assert answer.status_code in {404, 405}, path
    assert (await victim.http.get(url, headers=victim.alice)).json() == {"rows": [row]}
    assert await still_there(victim)
