"""Tables changed at run time: all of a change or nothing of it, and no value lost."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from isobase_platform.config import Settings
from tests.database.dynamic.conftest import BOB, Server, refusal, running


async def table_of(server: Server, access: str = "private", **spec: Any) -> tuple[str, str]:
    """A new table: its URL and that of its rows."""
    rows = await server.make_rows_url(access, **spec)
    return rows.removesuffix("/rows"), rows


async def change(server: Server, url: str, **body: Any) -> httpx.Response:
    """Change a table as Alice."""
    return await server.http.patch(url, json=body, headers=server.alice)


async def changed(server: Server, url: str, **body: Any) -> dict[str, Any]:
    """The same, and it succeeds; the table, whose columns are a mapping then."""
    answer = await change(server, url, **body)
    assert answer.status_code == 200, answer.text
    table: dict[str, Any] = answer.json()
    assert (await server.http.get(url, headers=server.alice)).json() == table
    return {**table, "columns": {column["name"]: column for column in table["columns"]}}


async def test_columns_are_dropped_renamed_changed_and_added_at_once(server: Server) -> None:
    url, rows = await table_of(server)
    row = await server.insert(rows, server.alice, title="lamp", quantity=3)
    table = await changed(
        server,
        url,
        columns={
            "drop": ["tags"],
            "rename": {"title": "label", "facts": "title"},
            "change": [{"name": "label", "unique": True}, {"name": "quantity", "default": 7, "nullable": False}],
            "add": [{"name": "price", "type": "numeric(6,2)", "default": 1, "check": "price > 0"}],
        },
    )
    assert list(table["columns"]) == ["id", "created_at", "owner", "label", "quantity", "title", "price"]
    assert table["columns"]["label"]["unique"] is True
    assert table["columns"]["quantity"]["default"] == "7"
    kept = (await server.http.get(f"{rows}/{row['id']}", headers=server.alice)).json()
    assert (kept["label"], kept["quantity"], kept["title"], kept["price"]) == ("lamp", 3, None, 1.00)
    assert (await server.insert(rows, server.alice, label="desk"))["quantity"] == 7
    assert refusal(await server.http.post(rows, json={"label": "lamp"}, headers=server.alice)) == (409, "23505")
    answer = await server.http.post(rows, json={"label": "x", "price": 0}, headers=server.alice)
    assert refusal(answer) == (400, "23514")


async def test_two_columns_change_their_names_with_each_other(server: Server) -> None:
    url, rows = await table_of(server, columns=[{"name": "a", "type": "text"}, {"name": "b", "type": "text"}])
    row = await server.insert(rows, server.alice, a="1", b="2")
    await changed(server, url, columns={"rename": {"a": "b", "b": "a"}})
    kept = (await server.http.get(f"{rows}/{row['id']}", headers=server.alice)).json()
    assert (kept["a"], kept["b"]) == ("2", "1")


async def test_a_change_that_fails_in_the_end_leaves_nothing(server: Server) -> None:
    url, rows = await table_of(server)
    for title in ("a", "a"):
        await server.insert(rows, server.alice, title=title)
    before = (await server.http.get(url, headers=server.alice)).json()
    answer = await change(
        server,
        url,
        name="things",
        comment="new",
        realtime=True,
        access="public",
        columns={"drop": ["tags"], "add": [{"name": "colour", "type": "text"}]},
        indexes={"add": [{"columns": ["title"], "unique": True}]},
    )
    assert refusal(answer) == (409, "not_unique")
    assert "title" in answer.json()["error"]["message"]
    assert (await server.http.get(url, headers=server.alice)).json() == before
    assert len((await server.http.get(rows, headers=server.alice)).json()["rows"]) == 2


KEPT = [
    ("integer", 5, "bigint", 5),
    ("bigint", 5, "smallint", 5),
    ("integer", 5, "text", "5"),
    ("text", "05", "integer", 5),
    ("text", '{"a": 1}', "jsonb", {"a": 1}),
    ("numeric", 2.0, "integer", 2),
    ("text", "abc", "varchar(3)", "abc"),
    ("varchar(3)", "abc", "text", "abc"),
    ("integer", 1, "boolean", True),
    ("timestamptz", "2026-01-31T00:00:00Z", "date", "2026-01-31"),
    ("timestamptz", "2026-01-31T12:00:00Z", "timestamp", "2026-01-31T12:00:00"),
    ("integer[]", [1, 2], "text[]", ["1", "2"]),
    ("text[]", ["1", "2"], "integer[]", [1, 2]),
    ("json", {"a": 1}, "jsonb", {"a": 1}),
    ("uuid", "2f0c6f9e-7a3b-4c1d-8e5f-6a7b8c9d0e1f", "text", "2f0c6f9e-7a3b-4c1d-8e5f-6a7b8c9d0e1f"),
    ("double precision", 0.5, "real", 0.5),
]

LOST = [
    ("text", "abc", "integer", '"abc"'),
    ("text", "abcd", "varchar(3)", '"abcd"'),
    ("numeric", 1.5, "integer", '"1.5"'),
    ("numeric", 12.345, "numeric(4,2)", '"12.345"'),
    ("bigint", 2**40, "integer", f'"{2**40}"'),
    ("integer", 2, "boolean", '"2"'),
    ("timestamptz", "2026-01-31T12:00:00Z", "date", '"2026-01-31 12:00:00+00"'),
    ("double precision", 0.1234567890123, "real", '"0.1234567890123"'),
    ("text", "not json", "jsonb", '"not json"'),
    ("text[]", ["1", "x"], "integer[]", '"{1,x}"'),
    ("text", "tomorrow-ish", "timestamptz", '"tomorrow-ish"'),
]


@pytest.mark.parametrize(("before", "value", "after", "expected"), KEPT)
async def test_a_column_of_another_type_keeps_its_values(
    server: Server, before: str, value: object, after: str, expected: object
) -> None:
    url, rows = await table_of(server, columns=[{"name": "a", "type": before}])
    row = await server.insert(rows, server.alice, a=value)
    await server.insert(rows, server.alice, a=None)
    table = await changed(server, url, columns={"change": [{"name": "a", "type": after}]})
    assert table["columns"]["a"]["type"] == after
    kept = (await server.http.get(f"{rows}/{row['id']}", headers=server.alice)).json()
    assert kept["a"] == expected


@pytest.mark.parametrize(("before", "value", "after", "shown"), LOST)
async def test_a_type_that_would_lose_a_value_is_refused_with_column_type_and_value(
    server: Server, before: str, value: object, after: str, shown: str
) -> None:
    url, rows = await table_of(server, columns=[{"name": "odd_one", "type": before}])
    row = await server.insert(rows, server.alice, odd_one=value)
    answer = await change(server, url, columns={"change": [{"name": "odd_one", "type": after}]})
    assert refusal(answer) == (409, "value_does_not_fit")
    error = answer.json()["error"]
    assert f"odd_one cannot become {after}" in error["message"]
    assert error["details"] == f"expected {after}, got {shown}"
    assert (await server.http.get(f"{rows}/{row['id']}", headers=server.alice)).json() == row


async def test_a_type_that_there_is_no_way_to_is_refused(server: Server) -> None:
    url, _ = await table_of(server, columns=[{"name": "a", "type": "date"}])
    answer = await change(server, url, columns={"change": [{"name": "a", "type": "integer"}]})
    assert refusal(answer) == (400, "invalid_cast")


async def test_a_default_is_cast_along_or_given_anew(server: Server) -> None:
    columns = [
        {"name": "a", "type": "integer", "default": 5},
        {"name": "b", "type": "text", "default": "x"},
        {"name": "at", "type": "timestamptz", "default": "now()"},
    ]
    url, rows = await table_of(server, columns=columns)
    await changed(server, url, columns={"change": [{"name": "a", "type": "text"}, {"name": "at", "type": "date"}]})
    row = await server.insert(rows, server.alice)
    assert (row["a"], row["at"]) == ("5", row["created_at"][:10])
    await server.http.delete(f"{rows}/{row['id']}", headers=server.alice)
    answer = await change(server, url, columns={"change": [{"name": "b", "type": "integer"}]})
    assert refusal(answer) == (400, "invalid_default")
    await changed(server, url, columns={"change": [{"name": "b", "type": "integer", "default": 3}]})
    assert (await server.insert(rows, server.alice))["b"] == 3
    await changed(server, url, columns={"change": [{"name": "b", "default": None}]})
    assert (await server.insert(rows, server.alice))["b"] is None


async def test_nulls_references_and_checks_come_and_go(server: Server) -> None:
    url, rows = await table_of(server, columns=[{"name": "a", "type": "uuid"}, {"name": "n", "type": "integer"}])
    row = await server.insert(rows, server.alice, n=-1)
    for column, code in [
        ({"name": "a", "nullable": False}, "holds_null"),
        ({"name": "n", "check": "n > 0"}, "check_violated"),
    ]:
        assert refusal(await change(server, url, columns={"change": [column]})) == (409, code)
    await server.http.patch(f"{rows}/{row['id']}", json={"a": BOB, "n": 1}, headers=server.alice)
    refers = {"name": "a", "references": {"table": "items"}}
    answer = await change(server, url, columns={"change": [refers]})
    assert refusal(answer) == (409, "reference_violated")
    await server.http.patch(f"{rows}/{row['id']}", json={"a": row["id"]}, headers=server.alice)
    table = await changed(
        server, url, columns={"change": [{**refers, "nullable": False}, {"name": "n", "check": "n > 0"}]}
    )
    assert table["columns"]["a"]["references"] == {"table": "items", "column": None, "on_delete": "no action"}
    assert (table["columns"]["a"]["nullable"], table["columns"]["n"]["check"]) == (False, "(n > 0)")
    assert ["a"] in [index["columns"] for index in table["indexes"]]
    assert refusal(await server.http.post(rows, json={"a": BOB}, headers=server.alice)) == (409, "23503")
    table = await changed(
        server,
        url,
        columns={"change": [{"name": "a", "references": None, "nullable": True}, {"name": "n", "check": None}]},
    )
    assert (table["columns"]["a"]["references"], table["columns"]["n"]["check"]) == (None, None)
    assert (await server.insert(rows, server.alice, a=None, n=-5))["n"] == -5


async def test_indexes_of_every_method_come_and_go(server: Server) -> None:
    url, _ = await table_of(server)
    indexes = [
        {"columns": ["title", "quantity"], "unique": True, "name": "both"},
        {"columns": ["title"], "method": "hash", "name": "hashed"},
        {"columns": ["tags"], "method": "gin", "name": "tagged"},
        {"columns": ["facts"], "method": "gin", "name": "facted"},
    ]
    table = await changed(server, url, indexes={"add": indexes})
    found = {index["name"]: (index["columns"], index["unique"], index["method"]) for index in table["indexes"]}
    assert found["both"] == (["title", "quantity"], True, "btree")
    assert (found["hashed"][2], found["tagged"][2]) == ("hash", "gin")
    table = await changed(server, url, indexes={"drop": ["both", "hashed"]})
    assert {index["name"] for index in table["indexes"]} >= {"tagged", "facted"}
    assert "both" not in {index["name"] for index in table["indexes"]}
    for wrong, code in [
        ({"add": [{"columns": ["quantity"], "method": "gin"}]}, "invalid_index"),
        ({"add": [{"columns": ["nothing"]}]}, "unknown_column"),
        ({"add": [{"columns": ["title", "title"]}]}, "invalid_index"),
        ({"add": [{"columns": ["tags"], "method": "gin", "unique": True}]}, "invalid_index"),
        ({"add": [{"columns": ["title"], "method": "brin"}]}, "invalid_body"),
        ({"add": [{"columns": []}]}, "invalid_body"),
        ({"drop": ["items_pkey"]}, "unknown_index"),
        ({"drop": ["nothing"]}, "unknown_index"),
    ]:
        assert refusal(await change(server, url, indexes=wrong)) == (400, code), wrong


async def test_a_table_is_renamed_and_told_about(server: Server) -> None:
    url, rows = await table_of(server)
    row = await server.insert(rows, server.alice, title="a")
    await server.make_table(url.split("/")[2], name="other")
    table = await changed(server, url, name="things", comment="What's there")
    assert (table["name"], table["comment"]) == ("things", "What's there")
    assert (await server.http.get(rows, headers=server.alice)).json() == {"rows": [row]}
    assert refusal(await change(server, url, name="other")) == (409, "table_exists")
    assert refusal(await change(server, url, name="Bad name")) == (400, "invalid_name")
    assert (await changed(server, url, comment=None))["comment"] is None


async def test_realtime_is_switched_on_and_off(server: Server) -> None:
    url, _ = await table_of(server)
    for is_live in (True, True, False, False):
        assert (await changed(server, url, realtime=is_live))["realtime"] is is_live
        found = await server.owner.fetch(
            "select tablename from pg_publication_tables where pubname = 'supabase_realtime'"
        )
        assert [row["tablename"] for row in found] == (["items"] if is_live else [])


async def test_access_is_changed_by_owners_alone(server: Server) -> None:
    url, rows = await table_of(server)
    row = await server.insert(rows, server.alice, title="a")
    member = f"/db/{url.split('/')[2]}/members/{BOB}"
    await server.http.put(member, json={"role": "editor"}, headers=server.alice)
    for body in ({"access": "public"}, {"policies": [{"command": "select", "using": "true"}]}):
        answer = await server.http.patch(url, json=body, headers=server.bob)
        assert refusal(answer) == (403, "forbidden")
    answer = await server.http.patch(url, json={"comment": "his"}, headers=server.bob)
    assert answer.status_code == 200
    assert refusal(await server.http.get(rows, headers={})) == (401, "invalid_token")
    for access in ("public-read", "public", "members", "private", "public-read"):
        assert (await changed(server, url, access=access))["access"] == access
        answer = await server.http.get(rows, headers={})
        assert answer.status_code == (200 if access.startswith("public") else 401), access
        shown = (await server.http.get(rows, headers=server.bob)).json()["rows"]
        assert shown == ([] if access == "private" else [row])
    table = await changed(server, url, policies=[{"command": "select", "to": ["anon"], "using": "title = 'a'"}])
    assert (table["access"], table["policies"][0]["using"]) == ("custom", "(title = 'a'::text)")
    assert (await server.http.get(rows, headers={})).json() == {"rows": [row]}
    assert refusal(await server.http.get(rows, headers=server.alice)) == (403, "forbidden")
    grants = await server.owner.fetch(
        "select grantee, privilege_type from information_schema.role_table_grants"
        " where table_name = 'items' and grantee in ('anon', 'authenticated')"
    )
    assert [tuple(grant) for grant in grants] == [("anon", "SELECT")]


TELLING: list[dict[str, Any]] = [
    {"columns": {"change": [{"name": "title", "type": "varchar(3)"}]}},
    {"columns": {"change": [{"name": "title", "unique": True}]}},
    {"columns": {"change": [{"name": "title", "check": "title <> 'secret'"}]}},
    {"columns": {"change": [{"name": "quantity", "nullable": False}]}},
    {"indexes": {"add": [{"columns": ["title"], "unique": True}]}},
]


@pytest.mark.parametrize("body", TELLING)
async def test_an_editor_learns_nothing_of_rows_that_are_not_his_by_changing_their_table(
    server: Server, body: dict[str, Any]
) -> None:
    url, rows = await table_of(server)
    for _ in range(2):
        await server.insert(rows, server.alice, title="secret", quantity=None)
    member = f"/db/{url.split('/')[2]}/members/{BOB}"
    await server.http.put(member, json={"role": "editor"}, headers=server.alice)
    answer = await server.http.patch(url, json=body, headers=server.bob)
    assert refusal(answer) == (403, "forbidden")
    assert "secret" not in answer.text
    assert refusal(await change(server, url, **body))[0] == 409  # the owner is told
    harmless = {
        "columns": {"add": [{"name": "colour", "type": "text"}], "change": [{"name": "quantity", "default": 2}]}
    }
    assert (await server.http.patch(url, json=harmless, headers=server.bob)).status_code == 200
    await changed(server, url, access="members")  # all members see all rows
    assert refusal(await server.http.patch(url, json=body, headers=server.bob))[0] == 409


async def test_policies_follow_a_column_that_gets_another_name_and_type(server: Server) -> None:
    policies = [{"command": "all", "to": ["authenticated"], "using": "quantity > 1", "check": "quantity > 1"}]
    url, rows = await table_of(server, "custom", policies=policies)
    row = await server.insert(rows, server.bob, title="a", quantity=2)
    table = await changed(
        server,
        url,
        columns={"rename": {"quantity": "amount"}, "change": [{"name": "amount", "type": "bigint"}]},
    )
    assert table["policies"][0]["using"] == "(amount > 1)"
    assert (await server.http.get(f"{rows}/{row['id']}", headers=server.bob)).json()["amount"] == 2
    answer = await server.http.post(rows, json={"title": "b", "amount": 1}, headers=server.bob)
    assert refusal(answer) == (403, "forbidden")
    answer = await change(server, url, columns={"drop": ["amount"]})
    assert refusal(answer) == (409, "in_use")
    assert (await server.http.get(f"{rows}/{row['id']}", headers=server.bob)).status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_body"),
        ({"columns": {}}, "invalid_body"),
        ({"columns": {"drop": "title"}}, "invalid_body"),
        ({"colums": {}}, "invalid_body"),
        ({"columns": {"drop": ["titel"]}}, "unknown_column"),
        ({"columns": {"drop": ["id"]}}, "reserved_name"),
        ({"columns": {"drop": ["owner"]}}, "reserved_name"),
        ({"columns": {"drop": ["title", "title"]}}, "duplicate_column"),
        ({"columns": {"drop": ["title"], "rename": {"title": "x"}}}, "duplicate_column"),
        ({"columns": {"rename": {"title": "quantity"}}}, "duplicate_column"),
        ({"columns": {"rename": {"title": "owner"}}}, "reserved_name"),
        ({"columns": {"rename": {"title": 'a"; drop table victim; --'}}}, "invalid_name"),
        ({"columns": {"rename": {"owner": "x"}}}, "reserved_name"),
        ({"columns": {"add": [{"name": "title", "type": "text"}]}}, "duplicate_column"),
        ({"columns": {"add": [{"name": "a", "type": "text; drop"}]}}, "invalid_body"),
        (
            {"columns": {"add": [{"name": "a", "type": "uuid", "references": {"table": "nothing"}}]}},
            "invalid_reference",
        ),
        ({"columns": {"add": [{"name": "a", "type": "text", "references": {"table": "items"}}]}}, "invalid_reference"),
        ({"columns": {"add": [{"name": "a", "type": "integer", "primary_key": True}]}}, "invalid_column"),
        ({"columns": {"change": [{"name": "created_at", "nullable": True}]}}, "reserved_name"),
        ({"columns": {"change": [{"name": "titel", "nullable": True}]}}, "unknown_column"),
        ({"columns": {"change": [{"name": "quantity", "default": "x"}]}}, "invalid_default"),
        ({"columns": {"change": [{"name": "quantity", "type": "text", "default": 1}]}}, "invalid_default"),
        ({"columns": {"change": [{"name": "facts", "unique": True}]}}, "invalid_column"),
        ({"columns": {"change": [{"name": "quantity", "check": "title = 'x'"}]}}, "invalid_expression"),
        (
            {"columns": {"change": [{"name": "quantity", "check": "true); drop table victim; --"}]}},
            "invalid_expression",
        ),
        ({"policies": [{"command": "select", "using": "pg_sleep(9) is null"}]}, "invalid_expression"),
        ({"access": "private", "policies": [{"command": "select", "using": "true"}]}, "invalid_policy"),
        ({"access": "everybody"}, "invalid_body"),
        ({"comment": "x" * 1001}, "invalid_body"),
        ({"comment": "a\x00b"}, "invalid_text"),
        ({"name": 'items"; drop table victim; --'}, "invalid_name"),
    ],
)
async def test_a_change_that_cannot_be_changes_nothing(server: Server, body: dict[str, Any], code: str) -> None:
    url, _ = await table_of(server)
    before = (await server.http.get(url, headers=server.alice)).json()
    assert refusal(await change(server, url, **body)) == (400, code)
    assert (await server.http.get(url, headers=server.alice)).json() == before


async def test_a_column_that_others_refer_to_is_kept(server: Server) -> None:
    url, _ = await table_of(server, columns=[{"name": "code", "type": "text", "unique": True}])
    reference = {"name": "code", "type": "text", "references": {"table": "items", "column": "code"}}
    await server.make_table(url.split("/")[2], name="other", columns=[reference])
    for columns in ({"drop": ["code"]}, {"change": [{"name": "code", "unique": False}]}):
        assert refusal(await change(server, url, columns=columns)) == (409, "in_use")


async def test_strangers_and_readers_change_no_table(server: Server) -> None:
    url, _ = await table_of(server)
    body = {"comment": "mine"}
    assert refusal(await server.http.patch(url, json=body, headers=server.bob)) == (404, "database_not_found")
    assert refusal(await server.http.patch(url, json=body, headers={})) == (401, "invalid_token")
    member = f"/db/{url.split('/')[2]}/members/{BOB}"
    await server.http.put(member, json={"role": "reader"}, headers=server.alice)
    assert refusal(await server.http.patch(url, json=body, headers=server.bob)) == (403, "forbidden")


async def test_a_table_grows_no_further_than_the_settings_say(database: Settings) -> None:
    async with running(database, columns_per_table=4, indexes_per_table=2) as server:
        url, _ = await table_of(server)
        add = {"add": [{"name": "a", "type": "text"}]}
        assert refusal(await change(server, url, columns=add)) == (400, "too_many_columns")
        await changed(server, url, columns={"drop": ["tags"], **add})
        indexes = {"add": [{"columns": ["title"]}, {"columns": ["quantity"]}]}
        assert refusal(await change(server, url, indexes=indexes)) == (400, "too_many_indexes")
