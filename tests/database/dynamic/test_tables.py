"""Tables made at run time: real tables of a closed list of types, with row-level security from birth, all or nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from isobase_platform.config import Settings
from isobase_services.database.dynamic.column_types import BaseType
from tests.database.dynamic.conftest import ITEMS, NOBODY, Server, refusal, running

_SAMPLE = "2f0c6f9e-7a3b-4c1d-8e5f-6a7b8c9d0e1f"
_DEFAULTS: list[tuple[str, object, object]] = [
    ("text", 'it\'s a \\ "text"; drop table x; --', 'it\'s a \\ "text"; drop table x; --'),
    ("text", "now()", "now()"),
    ("smallint", -32768, -32768),
    ("integer", 2147483647, 2147483647),
    ("bigint", -(2**63), -(2**63)),
    ("numeric", "12345678901234567890.123", 12345678901234567890.123),
    ("numeric", 1.5, 1.5),
    ("real", 0.5, 0.5),
    ("double precision", 1e300, 1e300),
    ("boolean", False, False),
    ("timestamptz", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
    ("date", "2026-01-31", "2026-01-31"),
    ("time", "18:30:00", "18:30:00"),
    ("uuid", _SAMPLE, _SAMPLE),
    ("jsonb", {"a": [1, "x'y", None]}, {"a": [1, "x'y", None]}),
    ("text[]", ["a,b", "{c}", 'd"e\\', "NULL", ""], ["a,b", "{c}", 'd"e\\', "NULL", ""]),
    ("integer[]", [1, -2], [1, -2]),
    ("uuid[]", [_SAMPLE], [_SAMPLE]),
    ("varchar", "x'y", "x'y"),
    ("varchar(3)", "abc", "abc"),
    ("numeric(5,2)", "123.45", 123.45),
    ("timestamp", "2026-01-31T12:00:00", "2026-01-31T12:00:00"),
    ("interval", "1 day 02:00:00", "1 day 02:00:00"),
    ("interval", "P1DT2H", "1 day 02:00:00"),
    ("json", {"a": 1}, {"a": 1}),
    ("bytea", "\\x00ff", "\\x00ff"),
    ("inet", "192.0.2.1", "192.0.2.1"),
    ("cidr", "192.0.2.0/24", "192.0.2.0/24"),
    ("int4range", "[1,5)", "[1,5)"),
    ("int8range", "empty", "empty"),
    ("numrange", "(1.5,2]", "(1.5,2]"),
    ("daterange", "[2026-01-01,2026-02-01)", "[2026-01-01,2026-02-01)"),
    ("tsrange", '["2026-01-01 00:00:00",)', '["2026-01-01 00:00:00",)'),
    ("tstzrange", "(,2026-01-01T00:00:00Z]", '(,"2026-01-01 00:00:00+00"]'),
    ("timestamptz[]", ["2026-01-31T12:00:00Z"], ["2026-01-31T12:00:00+00:00"]),
    ("jsonb[]", [{"a": "}"}, None], [{"a": "}"}, None]),
    ("boolean[]", [True, False], [True, False]),
]


def test_every_type_has_a_default_under_test() -> None:
    assert {kind for kind, _, _ in _DEFAULTS} >= {kind.value for kind in BaseType}


async def test_defaults_of_every_type_come_back_as_they_were_given(server: Server) -> None:
    columns = [{"name": f"c{n}", "type": kind, "default": value} for n, (kind, value, _) in enumerate(_DEFAULTS)]
    columns += [
        {"name": "at", "type": "timestamptz", "default": "now()"},
        {"name": "token", "type": "uuid", "default": "gen_random_uuid()"},
        {"name": "who", "type": "uuid", "default": "auth.uid()"},
        {"name": "day", "type": "date", "default": "current_date"},
    ]
    url = await server.make_rows_url(columns=columns)
    row = await server.insert(url, server.alice)
    assert [row[f"c{n}"] for n in range(len(_DEFAULTS))] == [expected for _, _, expected in _DEFAULTS]
    other = await server.insert(url, server.alice)
    assert other["at"] > row["at"]
    assert other["token"] != row["token"]
    assert row["who"] == row["owner"]
    assert row["day"] == row["created_at"][:10]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", "1"),
        ("integer", 1.5),
        ("integer", True),
        ("integer", 2**31),
        ("smallint", 32768),
        ("bigint", 2**63),
        ("numeric", "1; drop table x"),
        ("numeric", "NaN"),
        ("numeric", True),
        ("real", 1e39),
        ("double precision", "1"),
        ("boolean", "true"),
        ("boolean", 1),
        ("timestamptz", "now"),
        ("timestamptz", "yesterday"),
        ("timestamptz", "2026-01-31T12:00:00"),
        ("date", "tomorrow"),
        ("date", "2026-02-30"),
        ("time", "18:30:00+02:00"),
        ("uuid", "x"),
        ("text", 3),
        ("text", ["a"]),
        ("text[]", "{a}"),
        ("text[]", [["a"]]),
        ("integer[]", ["1"]),
        ("uuid[]", [None]),
        ("date", "now()"),
        ("varchar(3)", "abcd"),
        ("timestamp", "2026-01-31T12:00:00Z"),
        ("interval", "tomorrow"),
        ("bytea", "abc"),
        ("inet", "here"),
        ("cidr", "192.0.2.1/24"),
        ("tstzrange", "[now,today)"),
        ("daterange", "[2026-02-31,)"),
        ("interval", "1 fortnight of things"),
        ("numeric(3,2)", "12345"),
    ],
)
async def test_a_default_of_another_type_names_the_column_and_the_type(
    server: Server, kind: str, value: object
) -> None:
    made = await server.make_database()
    columns = [{"name": "odd_one", "type": kind, "default": value}]
    body = {"name": "items", "columns": columns}
    answer = await server.http.post(f"/db/{made['database_id']}/tables", json=body, headers=server.alice)
    assert refusal(answer) == (400, "invalid_default")
    assert "odd_one" in answer.json()["error"]["message"]
    assert f"expected {kind}" in answer.json()["error"]["details"]


async def test_a_table_is_shown_as_postgresql_has_it(server: Server) -> None:
    made = await server.make_database()
    await server.make_table(
        made["database_id"], name="shelves", columns=[{"name": "label", "type": "text", "unique": True}]
    )
    table = await server.make_table(
        made["database_id"],
        columns=[
            {"name": "title", "type": "text", "nullable": False, "default": "x"},
            {"name": "shelf_id", "type": "uuid", "references": {"table": "shelves", "on_delete": "cascade"}},
            {"name": "parent_id", "type": "uuid", "references": {"table": "items"}},
        ],
        access="public-read",
    )
    plain: dict[str, Any] = {"unique": False, "references": None, "nullable": True, "default": None, "check": None}
    plain |= {"primary_key": False, "identity": False}
    shelf_reference = {"table": "shelves", "column": None, "on_delete": "cascade"}
    assert table["columns"] == [
        {**plain, "name": "id", "type": "uuid", "nullable": False, "default": "gen_random_uuid()"}
        | {"unique": True, "primary_key": True},
        {**plain, "name": "created_at", "type": "timestamptz", "nullable": False, "default": "now()"},
        {
            **plain,
            "name": "owner",
            "type": "uuid",
            "nullable": False,
            "default": "auth.uid()",
            "references": {"table": "auth.users", "column": None, "on_delete": "cascade"},
        },
        {**plain, "name": "title", "type": "text", "nullable": False, "default": "'x'::text"},
        {**plain, "name": "shelf_id", "type": "uuid", "references": shelf_reference},
        {
            **plain,
            "name": "parent_id",
            "type": "uuid",
            "references": {"table": "items", "column": None} | {"on_delete": "no action"},
        },
    ]
    assert (table["name"], table["access"]) == ("items", "public-read")
    assert (table["comment"], table["realtime"]) == (None, False)
    assert {tuple(index["columns"]) for index in table["indexes"]} == {("owner",), ("shelf_id",), ("parent_id",)}
    url = f"/db/{made['database_id']}/tables"
    assert (await server.http.get(f"{url}/{table['table_id']}", headers=server.alice)).json() == table
    listed = (await server.http.get(url, headers=server.alice)).json()["tables"]
    assert [one["name"] for one in listed] == ["shelves", "items"]
    assert listed[0]["columns"][3] == {**plain, "name": "label", "type": "text", "unique": True}


@pytest.mark.parametrize("access", ["private", "members", "public-read", "public"])
async def test_every_table_is_born_with_row_level_security_and_no_more_rights_than_needed(
    server: Server, access: str
) -> None:
    made = await server.make_database()
    await server.make_table(made["database_id"], access)
    name = f"{made['schema']}.items"
    assert (
        await server.owner.fetchval("select relrowsecurity from pg_class where oid = $1::text::regclass", name) is True
    )
    rights = await server.owner.fetch(
        "select r.role, p.privilege from (values ('anon'), ('authenticated'), ('service_role')) as r (role),"
        " (values ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) as p (privilege)"
        " where has_table_privilege(r.role, $1::text::regclass, p.privilege)",
        name,
    )
    writes = {(role, right) for role in ("authenticated", "service_role") for right in ("SELECT", "INSERT", "UPDATE")}
    writes |= {("authenticated", "DELETE"), ("service_role", "DELETE")}
    assert {tuple(row) for row in rights} == writes | {
        ("anon", right) for right in {"public-read": ("SELECT",), "public": ("SELECT", "INSERT")}.get(access, ())
    }


_TEXT: dict[str, object] = {"name": "a", "type": "text"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "Items"}, "invalid_name"),
        ({"name": ""}, "invalid_name"),
        ({"name": "1a"}, "invalid_name"),
        ({"name": "items\n"}, "invalid_name"),
        ({"name": "x" * 64}, "invalid_name"),
        ({"name": "a\x00b"}, "invalid_name"),
        ({"name": "é"}, "invalid_name"),
        ({"name": 1}, "invalid_body"),
        ({"access": "everybody"}, "invalid_body"),
        ({"columns": None}, "invalid_body"),
        ({"columns": {}}, "invalid_body"),
        ({"columns": [{"name": "a"}]}, "invalid_body"),
        ({"columns": [{**_TEXT, "nulable": False}]}, "invalid_body"),
        ({"columns": [{**_TEXT, "nullable": "no"}]}, "invalid_body"),
        ({"columns": [{"name": "a", "type": "text; drop table x"}]}, "invalid_body"),
        ({"columns": [{"name": "a", "type": "serial"}]}, "invalid_body"),
        ({"columns": [_TEXT, _TEXT]}, "duplicate_column"),
        ({"columns": [{**_TEXT, "name": "owner"}]}, "reserved_name"),
        ({"columns": [{**_TEXT, "name": "id"}]}, "reserved_name"),
        ({"columns": [{**_TEXT, "name": "xmin"}]}, "reserved_name"),
        ({"columns": [{"name": "a", "type": "jsonb", "unique": True}]}, "invalid_column"),
        ({"columns": [{**_TEXT, "references": {"table": "items"}}]}, "invalid_reference"),
        ({"columns": [{"name": "a", "type": "uuid", "references": {"table": "nothing"}}]}, "invalid_reference"),
        ({"columns": [{"name": "a", "type": "uuid", "references": {"table": "auth.users"}}]}, "invalid_name"),
        (
            {"columns": [{"name": "a", "type": "uuid", "references": {"table": "items", "on_delete": "cascade; --"}}]},
            "invalid_body",
        ),
        (
            {
                "columns": [
                    {
                        "name": "a",
                        "type": "uuid",
                        "nullable": False,
                        "references": {"table": "items", "on_delete": "set null"},
                    }
                ]
            },
            "invalid_reference",
        ),
    ],
)
async def test_a_definition_that_cannot_be_makes_nothing(server: Server, change: dict[str, Any], code: str) -> None:
    made = await server.make_database()
    url = f"/db/{made['database_id']}/tables"
    answer = await server.http.post(url, json={**ITEMS, **change}, headers=server.alice)
    assert refusal(answer) == (400, code)
    assert (await server.http.get(url, headers=server.alice)).json() == {"tables": []}
    assert await server.owner.fetchval("select count(*) from pg_tables where schemaname = $1", made["schema"]) == 0


async def test_the_same_table_twice_at_once_is_made_once(server: Server) -> None:
    made = await server.make_database()
    url = f"/db/{made['database_id']}/tables"
    answers = await asyncio.gather(*(server.http.post(url, json=ITEMS, headers=server.alice) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {refusal(answer)[1] for answer in answers if answer.status_code != 201} == {"table_exists"}


async def test_the_same_table_in_two_processes_at_once_is_made_once(database: Settings) -> None:
    async with running(database) as first, running(database) as second:
        made = await first.make_database()
        url = f"/db/{made['database_id']}/tables"
        answers = await asyncio.gather(
            *(server.http.post(url, json=ITEMS, headers=server.alice) for server in (first, second, first, second))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_a_table_is_dropped_with_its_rows_and_its_name_is_free(server: Server) -> None:
    made = await server.make_database()
    table = await server.make_table(made["database_id"])
    url = f"/db/{made['database_id']}/tables/{table['table_id']}"
    await server.insert(f"{url}/rows", server.alice, title="gone soon")
    answer = await server.http.delete(url, headers=server.alice)
    assert (answer.status_code, answer.json()) == (200, {"table_id": table["table_id"], "deleted": True})
    assert refusal(await server.http.get(url, headers=server.alice)) == (404, "table_not_found")
    assert refusal(await server.http.get(f"{url}/rows", headers=server.alice)) == (404, "table_not_found")
    again = await server.make_table(made["database_id"], columns=[{"name": "other", "type": "integer"}])
    rows = f"/db/{made['database_id']}/tables/{again['table_id']}/rows"
    assert (await server.http.get(rows, headers=server.alice)).json() == {"rows": []}
    assert (await server.insert(rows, server.alice, other=3))["other"] == 3


async def test_a_table_that_others_refer_to_is_kept(server: Server) -> None:
    made = await server.make_database()
    shelves = await server.make_table(made["database_id"], name="shelves", columns=[])
    reference = {"name": "shelf_id", "type": "uuid", "references": {"table": "shelves"}}
    await server.make_table(made["database_id"], columns=[reference])
    answer = await server.http.delete(f"/db/{made['database_id']}/tables/{shelves['table_id']}", headers=server.alice)
    assert refusal(answer) == (409, "table_in_use")
    assert "items" in answer.json()["error"]["message"]


async def test_tables_of_another_database_are_not_found_in_this_one(server: Server) -> None:
    first, second = await server.make_database("first"), await server.make_database("second")
    table = await server.make_table(first["database_id"])
    url = f"/db/{second['database_id']}/tables/{table['table_id']}"
    for method, path in [("GET", url), ("DELETE", url), ("GET", f"{url}/rows"), ("GET", f"{url}/rows/{NOBODY}")]:
        answer = await server.http.request(method, path, headers=server.alice)
        assert refusal(answer) == (404, "table_not_found")


async def test_there_are_no_more_tables_and_columns_than_the_limits(database: Settings) -> None:
    async with running(database, tables_per_database=2, columns_per_table=4, rows_per_request=2) as server:
        made = await server.make_database()
        url = f"/db/{made['database_id']}/tables"
        bodies = [{**ITEMS, "name": f"t{n}"} for n in range(4)]
        answers = await asyncio.gather(*(server.http.post(url, json=body, headers=server.alice) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 403, 403]
        wide = {**ITEMS, "columns": [{"name": f"c{n}", "type": "text"} for n in range(5)]}
        assert refusal(await server.http.post(url, json=wide, headers=server.alice)) == (400, "too_many_columns")
        table_id = (await server.http.get(url, headers=server.alice)).json()["tables"][0]["table_id"]
        rows = [{"title": "x"}] * 3
        answer = await server.http.post(f"{url}/{table_id}/rows", json=rows, headers=server.alice)
        assert refusal(answer) == (400, "too_many_rows")
        answer = await server.http.post(url, content=b" " * (256 * 1024 + 1), headers=server.alice)
        assert refusal(answer) == (413, "body_too_large")


async def test_a_table_in_use_is_not_waited_for_without_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_services.database.dynamic.store.LOCK_TIMEOUT_S", 1)
    made = await server.make_database()
    table = await server.make_table(made["database_id"])
    url = f"/db/{made['database_id']}/tables/{table['table_id']}"
    async with server.owner.transaction():
        await server.owner.execute(f"lock table {made['schema']}.items in access share mode")
        assert refusal(await server.http.delete(url, headers=server.alice)) == (503, "busy")
    assert (await server.http.get(url, headers=server.alice)).status_code == 200
    assert (await server.http.delete(url, headers=server.alice)).status_code == 200


async def test_no_request_about_rows_fails_while_tables_come_and_go(server: Server) -> None:
    url = await server.make_rows_url("public-read")
    row = await server.insert(url, server.alice, title="steady")
    base = url.removesuffix("/rows").rpartition("/")[0]
    is_over, count = False, 0

    async def read() -> None:
        nonlocal count
        while not is_over:
            answer = await server.http.get(url, headers=server.bob)
            assert (answer.status_code, answer.json()) == (200, {"rows": [row]})
            count += 1

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for number in range(8):
        made = await server.http.post(base, json={**ITEMS, "name": f"t{number}"}, headers=server.alice)
        assert made.status_code == 201
        gone = await server.http.delete(f"{base}/{made.json()['table_id']}", headers=server.alice)
        assert gone.status_code == 200
    async with asyncio.timeout(60):
        while count <= 20 and not any(reader.done() for reader in readers):
            await asyncio.sleep(0.01)
    is_over = True
    await asyncio.gather(*readers)


async def test_what_was_dropped_by_sql_is_gone_and_its_name_free(server: Server) -> None:
    made = await server.make_database()
    table = await server.make_table(made["database_id"])
    url = f"/db/{made['database_id']}"
    await server.owner.execute(f"drop table {made['schema']}.items")
    assert (await server.http.get(f"{url}/tables", headers=server.alice)).json() == {"tables": []}
    for path in (f"{url}/tables/{table['table_id']}", f"{url}/tables/{table['table_id']}/rows"):
        assert refusal(await server.http.get(path, headers=server.alice)) == (404, "table_not_found")
    await server.make_table(made["database_id"])
    await server.owner.execute(f"drop schema {made['schema']} cascade")
    answer = await server.http.post(f"{url}/tables", json=ITEMS, headers=server.alice)
    assert refusal(answer)[0] == 404
    assert (await server.http.delete(url, headers=server.alice)).status_code == 200


async def test_a_table_that_a_migration_made_keeps_its_name(server: Server) -> None:
    made = await server.make_database()
    await server.owner.execute(f"create table {made['schema']}.items (id int primary key)")
    answer = await server.http.post(f"/db/{made['database_id']}/tables", json=ITEMS, headers=server.alice)
    assert refusal(answer) == (409, "table_exists")
