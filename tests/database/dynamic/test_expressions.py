"""Expressions that clients write: what is let in does what it says, and nothing gets out of its place."""

from __future__ import annotations

from typing import Any

import pytest

from isobase_platform.errors import BadRequest
from isobase_services.database.dynamic.expressions import check_text
from tests.database.dynamic.conftest import BOB, Server, refusal

GOOD = [
    "owner = auth.uid()",
    "owner = (select auth.uid())",
    "(select auth.jwt() ->> 'email') like '%@example.com'",
    "title is not null and quantity between 1 and 10",
    "quantity is distinct from 3",
    "\"title\" = 'it''s; -- no comment' or not (quantity > 3)",
    "lower(title) = any (array['a', 'b'])",
    "facts ->> 'kind' in ('x', 'y')",
    "facts @> '{\"a\": 1}'::jsonb",
    "coalesce(quantity, 0) + 1 > 0",
    "case when quantity > 1 then true else title = 'x' end",
    "created_at > now() - interval '1 day'",
    "tags[1] = 'x' and array_length(tags, 1) < 5",
    "items.quantity::text = '1'",
    "nullif(title, '') is not null and char_length(title) <= 20",
    "title ~ '^[a-z]+$' and title ilike 'a%'",
    "(quantity, title) = (1, 'a')",
    "(created_at at time zone 'UTC')::date > date '2020-01-01'",
    "true",
]

# The text leaves its place, or reads or runs something: refused by the first gate.
HOSTILE_TEXT = [
    "true); drop table victim; --",
    "true) with check (true); drop table victim",
    "true; select 1",
    "true) or (true",
    "true]",
    "(true",
    "[true)",
    "true -- comment",
    "true /* comment */",
    "title = $$x$$",
    "title = $1",
    "title = E'\\x'",
    "title = E'x'",
    "title = U&'x'",
    "U&\"title\" = 'x'",
    "title = 'x",
    'title = "x',
    "title = '\\'; drop table victim; --'",
    "exists (select 1 from auth.users)",
    "exists (table auth.users)",
    "(values (true))",
    "exists (with a as (select 1) select 1)",
    "'auth.users'::regclass is not null",
    "'{auth.users}'::_regclass is not null",
    "'{auth.users}'::regclass[] is not null",
    "'auth.users'::\"regclass\" is not null",
    "title = '\x00'",
    "",
    "  ",
    "x" * 2001,
    "(" * 50 + "true" + ")" * 50,
    "title = \u2019x\u2019",
    "sum(quantity) over () > 1",
    "1e",
]

# One expression, but of harmful or unfit parts: refused by PostgreSQL as anon, or by what it made of the text.
HOSTILE_TREE = [
    "true /",
    "pg_sleep(1) is null",
    "pg_read_file('/etc/passwd') is not null",
    "set_config('role', 'postgres', false) is not null",
    "current_setting('request.jwt.claims') is not null",
    "query_to_xml('select 1', true, true, '') is not null",
    "database_to_xml(true, true, '') is not null",
    "pg_notify('a', 'b') is null",
    "nextval('s') > 1",
    "pg_terminate_backend(1)",
    "pg_advisory_lock(1) is null",
    "lo_from_bytea(0, '') > 0",
    "has_table_privilege('auth.users', 'select')",
    "random() > 0.5",
    "repeat('x', 1000000000) = 'x'",
    "auth.nothing()",
    "isobase.extension_gaps() is not null",
    "public.nothing(1)",
    "quantity",
    "nothing = 1",
    "count(*) > 1",
    "generate_series(1, 2) > 1",
    "title = quantity",
    "ctid is not null",
    "tableoid is not null",
    "true, true",
    "1 as x",
    "items",
    "xmlelement(name a) is not null",
]


@pytest.mark.parametrize("text", HOSTILE_TEXT)
def test_text_that_is_not_one_expression_is_refused_before_any_sql(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_text(text, "check of column a")
    assert refused.value.code == "invalid_expression"
    assert "check of column a" in refused.value.message


@pytest.mark.parametrize("text", GOOD)
def test_text_that_is_one_expression_passes(text: str) -> None:
    check_text(text, "check of column a")


def _policies(text: str) -> list[dict[str, Any]]:
    return [
        {"command": "select", "to": ["anon", "authenticated"], "using": text},
        {"command": "insert", "check": text},
        {"command": "update", "using": text, "check": text},
    ]


async def test_expressions_become_policies(server: Server) -> None:
    made = await server.make_database()
    for number, text in enumerate(GOOD):
        await server.make_table(made["database_id"], "custom", name="items", policies=_policies(text))
        tables = (await server.http.get(f"/db/{made['database_id']}/tables", headers=server.alice)).json()["tables"]
        assert [policy["command"] for policy in tables[0]["policies"]] == ["select", "insert", "update"], number
        await server.http.delete(f"/db/{made['database_id']}/tables/{tables[0]['table_id']}", headers=server.alice)


async def test_hostile_expressions_make_nothing_and_run_nothing(server: Server) -> None:
    await server.owner.execute("drop table if exists public.victim; create table public.victim (id int)")
    made = await server.make_database()
    url = f"/db/{made['database_id']}/tables"
    for text in [*HOSTILE_TEXT, *HOSTILE_TREE]:
        column = {"name": "a", "type": "integer", "check": text}
        bodies: list[dict[str, Any]] = [
            {
                "name": "t",
                "columns": [{"name": "title", "type": "text"}],
                "policies": [{"command": "select", "using": text}],
            },
            {
                "name": "t",
                "columns": [{"name": "title", "type": "text"}],
                "policies": [{"command": "insert", "check": text}],
            },
            {"name": "t", "columns": [column]},
        ]
        for body in bodies:
            answer = await server.http.post(url, json=body, headers=server.alice)
            assert refusal(answer) == (400, "invalid_expression"), (text, body, answer.text)
    assert (await server.http.get(url, headers=server.alice)).json() == {"tables": []}
    assert await server.owner.fetchval("select to_regclass('public.victim') is not null")


async def test_what_anon_may_call_an_expression_may_still_not(server: Server) -> None:
    """The caller's own rights would be used for the author: a function of the project, an operator of an extension."""
    await server.owner.execute(
        "create or replace function public.give_away() returns boolean language sql as 'select true';"
        "create or replace function public.eq(integer, text) returns boolean language sql immutable as 'select true';"
        "drop operator if exists public.=== (integer, text);"
        "create operator public.=== (leftarg = integer, rightarg = text, function = public.eq);"
        "grant execute on function public.give_away(), public.eq(integer, text) to anon, authenticated"
    )
    made = await server.make_database()
    for text in ("public.give_away()", "quantity operator(public.===) 'a'"):
        body = {"name": "t", "columns": [{"name": "quantity", "type": "integer"}]}
        policies = [{"command": "select", "using": text}]
        answer = await server.http.post(
            f"/db/{made['database_id']}/tables", json={**body, "policies": policies}, headers=server.alice
        )
        assert refusal(answer) == (400, "invalid_expression"), text
        assert "must not use" in answer.json()["error"]["details"]


async def test_a_check_names_its_own_column_and_is_kept_by_postgresql(server: Server) -> None:
    url = await server.make_rows_url(columns=[{"name": "quantity", "type": "integer", "check": "quantity > 0"}])
    assert (await server.insert(url, server.alice, quantity=1))["quantity"] == 1
    assert refusal(await server.http.post(url, json={"quantity": 0}, headers=server.alice)) == (400, "23514")
    table = (await server.http.get(url.removesuffix("/rows"), headers=server.alice)).json()
    assert table["columns"][3]["check"] == "(quantity > 0)"
    made = url.split("/")[2]
    for check in ("b > 0", "created_at is not null", "true"):
        body = {
            "name": "t",
            "columns": [{"name": "a", "type": "integer", "check": check}, {"name": "b", "type": "integer"}],
        }
        answer = await server.http.post(f"/db/{made}/tables", json=body, headers=server.alice)
        assert refusal(answer) == (400, "invalid_expression"), check


async def test_a_check_with_a_subquery_is_no_expression_for_it(server: Server) -> None:
    made = await server.make_database()
    url = f"/db/{made['database_id']}/tables"
    column = {"name": "quantity", "type": "integer", "check": "quantity > (select 1)"}
    answer = await server.http.post(url, json={"name": "items", "columns": [column]}, headers=server.alice)
    assert refusal(answer) == (400, "invalid_expression")
    table = await server.make_table(made["database_id"])
    change = {"columns": {"change": [{"name": "quantity", "check": "quantity > (select 1)"}]}}
    answer = await server.http.patch(f"{url}/{table['table_id']}", json=change, headers=server.alice)
    assert refusal(answer) == (400, "invalid_expression")


async def test_custom_policies_decide_who_reads_and_writes(server: Server) -> None:
    policies = [
        {"command": "select", "to": ["anon", "authenticated"], "using": "quantity > 5 or owner = auth.uid()"},
        {"command": "insert", "to": ["authenticated"], "check": "owner = auth.uid() and title <> 'forbidden'"},
        {"command": "update", "using": "owner = auth.uid()"},
    ]
    url = await server.make_rows_url("custom", policies=policies)
    low = await server.insert(url, server.bob, title="low", quantity=1)  # a stranger to the database
    high = await server.insert(url, server.bob, title="high", quantity=9)
    assert low["owner"] == BOB
    assert refusal(await server.http.post(url, json={"title": "forbidden"}, headers=server.bob)) == (403, "forbidden")
    assert (await server.http.get(f"{url}?order=quantity", headers=server.bob)).json() == {"rows": [low, high]}
    for headers in ({}, server.anon, server.alice):
        assert (await server.http.get(url, headers=headers)).json() == {"rows": [high]}
    assert (await server.http.patch(f"{url}/{low['id']}", json={"quantity": 2}, headers=server.bob)).status_code == 200
    answer = await server.http.patch(f"{url}/{high['id']}", json={"quantity": 2}, headers=server.alice)
    assert refusal(answer) == (403, "forbidden")
    assert refusal(await server.http.post(url, json={"title": "x"}, headers=server.anon)) == (401, "invalid_token")
    assert refusal(await server.http.delete(f"{url}/{low['id']}", headers=server.bob)) == (403, "forbidden")


@pytest.mark.parametrize(
    ("access", "policies"),
    [
        ("private", [{"command": "select", "using": "true"}]),
        ("custom", [{"command": "insert", "using": "true"}]),
        ("custom", [{"command": "select", "using": "true", "check": "true"}]),
        ("custom", [{"command": "delete"}]),
        ("custom", [{"command": "update", "check": "true"}]),
        ("custom", [{"command": "insert"}]),
    ],
)
async def test_parts_of_a_policy_that_do_not_fit_are_refused(server: Server, access: str, policies: list[Any]) -> None:
    made = await server.make_database()
    body = {"name": "t", "columns": [], "access": access, "policies": policies}
    answer = await server.http.post(f"/db/{made['database_id']}/tables", json=body, headers=server.alice)
    assert refusal(answer) == (400, "invalid_policy")
