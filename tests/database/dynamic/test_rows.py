"""Rows of tables made at run time: insert, read in the language of /rest/v1, change, delete; and who may."""

from __future__ import annotations

from typing import Any

import pytest

from isobase_platform.config import Settings
from tests.database.dynamic.conftest import ALICE, BOB, NOBODY, Server, refusal, running


async def test_a_row_comes_back_as_it_was_inserted(server: Server) -> None:
    url = await server.make_rows_url()
    row = await server.insert(url, server.alice, title='a "quoted" title', tags=["x", "y,z"], facts={"deep": [1, None]})
    assert row["owner"] == ALICE
    assert (row["title"], row["quantity"], row["tags"], row["facts"]) == (
        'a "quoted" title',
        1,
        ["x", "y,z"],
        {"deep": [1, None]},
    )
    answer = await server.http.get(f"{url}/{row['id']}", headers=server.alice)
    assert (answer.status_code, answer.json()) == (200, row)
    answer = await server.http.get(url, headers=server.alice)
    assert (answer.status_code, answer.json()) == (200, {"rows": [row]})


async def test_a_backslash_before_u0000_is_text_and_no_nul(server: Server) -> None:
    url = await server.make_rows_url()
    assert (await server.insert(url, server.alice, title="\\u0000"))["title"] == "\\u0000"
    for text in (b'"\\u0000"', b'"a\\\\\\u0000"'):
        answer = await server.http.post(url, content=b'{"title":' + text + b"}", headers=server.alice)
        assert refusal(answer) == (400, "invalid_text")


async def test_a_list_of_rows_need_not_have_the_same_names(server: Server) -> None:
    url = await server.make_rows_url()
    body = [{"title": "a"}, {"title": "b", "quantity": 5}, {"title": "c", "quantity": None}]
    answer = await server.http.post(url, json=body, headers=server.alice)
    assert answer.status_code == 201
    assert [(row["title"], row["quantity"]) for row in answer.json()["rows"]] == [("a", 1), ("b", 5), ("c", None)]


async def test_one_bad_row_of_a_list_keeps_all_of_them_out(server: Server) -> None:
    url = await server.make_rows_url()
    body = [{"title": "a"}, {"title": None}]
    assert refusal(await server.http.post(url, json=body, headers=server.alice)) == (400, "23502")
    assert (await server.http.get(url, headers=server.alice)).json() == {"rows": []}


async def test_a_row_is_changed_and_deleted(server: Server) -> None:
    url = await server.make_rows_url()
    row = await server.insert(url, server.alice, title="a")
    answer = await server.http.patch(f"{url}/{row['id']}", json={"quantity": 9}, headers=server.alice)
    assert (answer.status_code, answer.json()) == (200, {**row, "quantity": 9})
    answer = await server.http.delete(f"{url}/{row['id']}", headers=server.alice)
    assert (answer.status_code, answer.json()) == (200, {"row_id": row["id"], "deleted": True})
    for method in ("GET", "DELETE"):
        answer = await server.http.request(method, f"{url}/{row['id']}", headers=server.alice)
        assert refusal(answer) == (404, "row_not_found")


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("quantity=gte.3&order=quantity.desc", ["d", "c"]),
        ("order=title.asc&limit=2&offset=1", ["b", "c"]),
        ("title=in.(a,c)&order=title", ["a", "c"]),
        ("or=(title.eq.a,quantity.gt.3)&order=title", ["a", "d"]),
        ("title=not.eq.a&quantity=lt.4&order=title", ["b", "c"]),
        ("facts->>kind=eq.x&order=title", ["a", "b"]),
        ("tags=cs.{red}", ["a"]),
        ("title=eq.nothing", []),
    ],
)
async def test_rows_are_read_in_the_language_of_rest(server: Server, query: str, titles: list[str]) -> None:
    url = await server.make_rows_url()
    body = [
        {"title": "a", "quantity": 1, "facts": {"kind": "x"}, "tags": ["red"]},
        {"title": "b", "quantity": 2, "facts": {"kind": "x"}},
        {"title": "c", "quantity": 3},
        {"title": "d", "quantity": 4},
    ]
    assert (await server.http.post(url, json=body, headers=server.alice)).status_code == 201
    answer = await server.http.get(f"{url}?{query}", headers=server.alice)
    assert answer.status_code == 200, answer.text
    assert [row["title"] for row in answer.json()["rows"]] == titles


async def test_select_count_and_embeds(server: Server) -> None:
    made = await server.make_database()
    base = f"/db/{made['database_id']}/tables"
    shelves = await server.make_table(made["database_id"], name="shelves", columns=[{"name": "label", "type": "text"}])
    reference = {"name": "shelf_id", "type": "uuid", "references": {"table": "shelves", "on_delete": "cascade"}}
    items = await server.make_table(made["database_id"], columns=[{"name": "title", "type": "text"}, reference])
    shelf = await server.insert(f"{base}/{shelves['table_id']}/rows", server.alice, label="top")
    url = f"{base}/{items['table_id']}/rows"
    rows = [{"title": name, "shelf_id": shelf["id"]} for name in "abc"]
    await server.http.post(url, json=rows, headers=server.alice)
    query = "select=name:title,shelves(label)&order=title&limit=1&count=exact"
    answer = await server.http.get(f"{url}?{query}", headers=server.alice)
    assert answer.json()["rows"] == [{"name": "a", "shelves": {"label": "top"}}]
    assert answer.json()["count"] == 3
    answer = await server.http.get(
        f"{base}/{shelves['table_id']}/rows?select=items(title)&items.order=title.desc", headers=server.alice
    )
    assert answer.json() == {"rows": [{"items": [{"title": "c"}, {"title": "b"}, {"title": "a"}]}]}
    one = f"{base}/{shelves['table_id']}/rows/{shelf['id']}"
    assert (await server.http.get(f"{one}?select=label", headers=server.alice)).json() == {"label": "top"}
    await server.http.delete(one, headers=server.alice)
    assert (await server.http.get(url, headers=server.alice)).json() == {"rows": []}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("titel=eq.a", "unknown_column"),
        ("select=titel", "unknown_column"),
        ("order=titel.asc", "unknown_column"),
        ("or=(titel.eq.a,title.eq.b)", "unknown_column"),
        ("select=title,nothing(id)", "unknown_relationship"),
        ("title=18", "invalid_query"),
        ("title=eqq.a", "invalid_query"),
        ("count=planned", "invalid_query"),
        ("quantity=eq.x", "invalid_value"),
        ("limit=x", "invalid_query"),
        ("limit=-1", "invalid_query"),
        ("offset=1.5", "invalid_query"),
        ("limit=1&limit=2", "invalid_query"),
        ("order=title&order=id", "invalid_query"),
        ("title=eq.%00", "invalid_query"),
        ("title=eq.%FF", "invalid_query"),
        ("select=" + "a(" * 200, "invalid_query"),
        ("nothing.title=eq.x", "invalid_query"),
    ],
)
async def test_a_query_that_cannot_be_read_is_400(server: Server, query: str, code: str) -> None:
    url = await server.make_rows_url()
    assert refusal(await server.http.get(f"{url}?{query}", headers=server.alice)) == (400, code)


async def test_a_filter_without_an_operator_is_told_how_to_write_one(server: Server) -> None:
    url = await server.make_rows_url()
    answer = await server.http.get(f"{url}?title=18", headers=server.alice)
    assert answer.json()["error"]["hint"] == "A filter is an operator, a point and a value: title=eq.1"


async def test_an_unknown_column_comes_with_the_nearest_name(server: Server) -> None:
    url = await server.make_rows_url()
    answers = [
        await server.http.get(f"{url}?titel=eq.a", headers=server.alice),
        await server.http.post(url, json={"titel": "a"}, headers=server.alice),
    ]
    for answer in answers:
        assert refusal(answer) == (400, "unknown_column")
        assert answer.json()["error"]["hint"] == "Perhaps you meant title"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"\xff", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"[]", 400, "invalid_body"),
        (b"[1]", 400, "invalid_body"),
        (b'[{"title":"a"},null]', 400, "invalid_body"),
        (b'"x"', 400, "invalid_body"),
        (b'{"title":"a\\u0000b"}', 400, "invalid_text"),
        (b'{"title":"a","quantity":"many"}', 400, "invalid_value"),
        (b'{"title":"a","quantity":99999999999}', 400, "invalid_value"),
        (b'{"title":"a","quantity":NaN}', 400, "invalid_json"),
        (b'{"quantity":1}', 400, "23502"),
        (b'{"title":"a","owner":"22222222-2222-4222-8222-222222222222"}', 400, "read_only_column"),
        (b'{"title":"a","created_at":"2020-01-01"}', 400, "read_only_column"),
    ],
)
async def test_a_row_that_cannot_be_is_not_inserted(server: Server, body: bytes, status: int, code: str) -> None:
    url = await server.make_rows_url()
    assert refusal(await server.http.post(url, content=body, headers=server.alice)) == (status, code)
    assert await server.owner.fetchval("select count(*) from isobase.tables") == 1
    assert (await server.http.get(url, headers=server.alice)).json() == {"rows": []}


@pytest.mark.parametrize("body", [b"{}", b"[]", b'[{"title":"x"}]', b"null"])
async def test_a_change_of_nothing_is_400(server: Server, body: bytes) -> None:
    url = await server.make_rows_url()
    row = await server.insert(url, server.alice, title="a")
    answer = await server.http.patch(f"{url}/{row['id']}", content=body, headers=server.alice)
    assert refusal(answer) == (400, "invalid_body")


@pytest.mark.parametrize("name", ["id", "owner", "created_at"])
async def test_what_the_server_sets_cannot_be_changed(server: Server, name: str) -> None:
    url = await server.make_rows_url()
    row = await server.insert(url, server.alice, title="a")
    answer = await server.http.patch(f"{url}/{row['id']}", json={name: row[name]}, headers=server.alice)
    assert refusal(answer) == (400, "read_only_column")


async def test_an_id_that_is_none_or_unknown_is_404(server: Server) -> None:
    url = await server.make_rows_url()
    database_id, table_id = url.split("/")[2], url.split("/")[4]
    for path, code in [
        (f"{url}/{NOBODY}", "row_not_found"),
        (f"{url}/x", "row_not_found"),
        (f"{url}/{table_id}';drop table items;--", "row_not_found"),
        (f"/db/{database_id}/tables/{NOBODY}/rows", "table_not_found"),
        (f"/db/{database_id}/tables/x/rows", "table_not_found"),
        (f"/db/{NOBODY}/tables/{table_id}/rows", "table_not_found"),
        (f"/db/x/tables/{table_id}/rows", "database_not_found"),
    ]:
        assert refusal(await server.http.get(path, headers=server.alice)) == (404, code), path


async def test_unique_and_references_are_kept(server: Server) -> None:
    columns = [
        {"name": "code", "type": "text", "unique": True},
        {"name": "parent_id", "type": "uuid", "references": {"table": "items"}},
    ]
    url = await server.make_rows_url(columns=columns)
    row = await server.insert(url, server.alice, code="a")
    assert refusal(await server.http.post(url, json={"code": "a"}, headers=server.alice)) == (409, "23505")
    assert refusal(await server.http.post(url, json={"parent_id": NOBODY}, headers=server.alice)) == (409, "23503")
    assert (await server.insert(url, server.alice, parent_id=row["id"]))["parent_id"] == row["id"]


# -- who may ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("access", ["private", "members"])
async def test_anon_reads_no_rows_of_a_table_that_is_not_public(server: Server, access: str) -> None:
    url = await server.make_rows_url(access)
    row = await server.insert(url, server.alice, title="secret")
    for headers in ({}, server.anon):
        for path in (url, f"{url}/{row['id']}"):
            assert refusal(await server.http.get(path, headers=headers)) == (401, "invalid_token")


async def join(server: Server, url: str, role: str) -> None:
    """Make Bob a member of the database of some rows."""
    member = f"/db/{url.split('/')[2]}/members/{BOB}"
    assert (await server.http.put(member, json={"role": role}, headers=server.alice)).status_code == 200


async def test_a_stranger_neither_reads_nor_inserts_rows_of_a_private_table(server: Server) -> None:
    url = await server.make_rows_url()
    row = await server.insert(url, server.alice, title="secret")
    one = f"{url}/{row['id']}"
    for method, path in [("GET", url), ("POST", url), ("GET", one), ("PATCH", one), ("DELETE", one)]:
        answer = await server.http.request(method, path, json={"title": "x"}, headers=server.bob)
        assert refusal(answer) == (404, "table_not_found"), (method, path)
    assert (await server.http.get(url, headers=server.alice)).json() == {"rows": [row]}


async def test_in_a_private_table_each_member_has_rows_of_his_own(server: Server) -> None:
    url = await server.make_rows_url()
    hers = await server.insert(url, server.alice, title="hers")
    await join(server, url, "editor")
    his = await server.insert(url, server.bob, title="his")
    assert (hers["owner"], his["owner"]) == (ALICE, BOB)
    for headers, row, other in ((server.alice, hers, his), (server.bob, his, hers)):
        assert (await server.http.get(f"{url}?count=exact", headers=headers)).json() == {"rows": [row], "count": 1}
        for method in ("GET", "PATCH", "DELETE"):
            answer = await server.http.request(method, f"{url}/{other['id']}", json={"title": "x"}, headers=headers)
            assert refusal(answer) == (404, "row_not_found"), method
    await join(server, url, "reader")
    assert (await server.http.get(url, headers=server.bob)).json() == {"rows": [his]}
    assert refusal(await server.http.post(url, json={"title": "x"}, headers=server.bob)) == (403, "forbidden")
    for method in ("PATCH", "DELETE"):
        answer = await server.http.request(method, f"{url}/{his['id']}", json={"title": "x"}, headers=server.bob)
        assert refusal(answer) == (403, "forbidden")


async def test_a_public_read_table_is_read_by_all_and_written_by_editors(server: Server) -> None:
    url = await server.make_rows_url("public-read")
    hers = await server.insert(url, server.alice, title="hers")
    for headers in ({}, server.anon, server.bob):
        assert (await server.http.get(url, headers=headers)).json() == {"rows": [hers]}
        assert (await server.http.get(f"{url}/{hers['id']}", headers=headers)).json() == hers
    for headers, expected in [
        ({}, (401, "invalid_token")),
        (server.anon, (401, "invalid_token")),
        (server.bob, (403, "forbidden")),
    ]:
        assert refusal(await server.http.post(url, json={"title": "x"}, headers=headers)) == expected
        for method in ("PATCH", "DELETE"):
            answer = await server.http.request(method, f"{url}/{hers['id']}", json={"title": "x"}, headers=headers)
            assert refusal(answer) == expected
    await join(server, url, "editor")
    his = await server.insert(url, server.bob, title="his")
    assert (await server.http.get(f"{url}?order=title", headers={})).json() == {"rows": [hers, his]}


async def test_a_public_table_takes_rows_from_all_and_changes_from_who_made_them(server: Server) -> None:
    url = await server.make_rows_url("public")
    nobodys = await server.insert(url, server.anon, title="anon's")
    assert nobodys["owner"] is None
    his = await server.insert(url, server.bob, title="his")
    assert his["owner"] == BOB
    assert (await server.http.get(f"{url}?order=title", headers={})).json() == {"rows": [nobodys, his]}
    for method in ("PATCH", "DELETE"):
        answer = await server.http.request(method, f"{url}/{his['id']}", json={"title": "x"}, headers=server.anon)
        assert refusal(answer) == (401, "invalid_token")
        answer = await server.http.request(method, f"{url}/{nobodys['id']}", json={"title": "x"}, headers=server.bob)
        assert refusal(answer) == (403, "forbidden")
    assert (await server.http.patch(f"{url}/{his['id']}", json={"quantity": 2}, headers=server.bob)).status_code == 200
    for row in (his, nobodys):  # the database's owner
        assert (await server.http.delete(f"{url}/{row['id']}", headers=server.alice)).status_code == 200


async def test_a_members_table_is_closed_to_strangers_and_open_to_members_by_their_role(server: Server) -> None:
    url = await server.make_rows_url("members")
    row = await server.insert(url, server.alice, title="ours")
    one = f"{url}/{row['id']}"
    member = f"/db/{url.split('/')[2]}/members/{BOB}"
    for method, path in [("GET", url), ("POST", url), ("GET", one), ("PATCH", one), ("DELETE", one)]:
        answer = await server.http.request(method, path, json={"title": "x"}, headers=server.bob)
        assert refusal(answer) == (404, "table_not_found")

    await server.http.put(member, json={"role": "reader"}, headers=server.alice)
    assert (await server.http.get(url, headers=server.bob)).json() == {"rows": [row]}
    for method, path in [("POST", url), ("PATCH", one), ("DELETE", one)]:
        answer = await server.http.request(method, path, json={"title": "x"}, headers=server.bob)
        assert refusal(answer) == (403, "forbidden"), method

    await server.http.put(member, json={"role": "editor"}, headers=server.alice)
    assert (await server.http.patch(one, json={"title": "his words"}, headers=server.bob)).status_code == 200
    his = await server.insert(url, server.bob, title="his")
    assert his["owner"] == BOB
    assert (await server.http.delete(f"{url}/{his['id']}", headers=server.alice)).status_code == 200

    await server.http.delete(member, headers=server.alice)
    assert refusal(await server.http.get(url, headers=server.bob)) == (404, "table_not_found")


async def test_a_deleted_user_takes_his_rows_along(server: Server) -> None:
    url = await server.make_rows_url("public")
    hers = await server.insert(url, server.alice, title="hers")
    await server.insert(url, server.bob, title="his")
    await server.owner.execute("delete from auth.users where id = $1", BOB)
    assert (await server.http.get(url, headers=server.alice)).json() == {"rows": [hers]}
    ghost = {"title": "ghost"}
    assert refusal(await server.http.post(url, json=ghost, headers=server.bob)) == (401, "user_not_found")
    given = {**ghost, "owner": BOB}
    assert refusal(await server.http.post(url, json=given, headers=server.service)) == (409, "23503")


async def test_the_service_sees_all_rows_and_writes_for_a_user(server: Server) -> None:
    url = await server.make_rows_url()
    hers = await server.insert(url, server.alice, title="hers")
    assert (await server.http.get(url, headers=server.service)).json() == {"rows": [hers]}
    assert refusal(await server.http.post(url, json={"title": "nobody's"}, headers=server.service)) == (400, "23502")
    given = await server.insert(url, server.service, title="a gift", owner=BOB)
    await join(server, url, "reader")
    assert (await server.http.get(url, headers=server.bob)).json() == {"rows": [given]}


async def test_a_table_made_by_another_process_is_found_at_once(database: Settings) -> None:
    async with running(database) as first, running(database) as second:
        url = await first.make_rows_url()
        row = await second.insert(url, second.alice, title="over there")
        assert (await first.http.get(url, headers=first.alice)).json() == {"rows": [row]}


async def test_a_column_that_a_migration_adds_is_there_at_once(server: Server) -> None:
    url = await server.make_rows_url()
    schema: Any = await server.owner.fetchval("select schema_name from isobase.databases")
    await server.owner.execute(f"alter table {schema}.items add column colour text default 'red'")
    assert (await server.insert(url, server.alice, title="a"))["colour"] == "red"
