"""Rows by keys of every kind, upserts, and values that do not fit."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.database.dynamic.conftest import BOB, NOBODY, Server, refusal


async def test_a_numbered_row_is_reached_by_its_number(server: Server) -> None:
    columns = [
        {"name": "id", "type": "bigint", "primary_key": True, "identity": True},
        {"name": "title", "type": "text"},
    ]
    url = await server.make_rows_url(columns=columns)
    first = await server.insert(url, server.alice, title="a")
    assert list(first) == ["created_at", "owner", "id", "title"]
    body = [{"title": "b"}, {"id": 77, "title": "c"}]  # one numbered, one with a number of its own
    answer = await server.http.post(url, json=body, headers=server.alice)
    assert answer.status_code == 201, answer.text
    assert [row["id"] for row in answer.json()["rows"]] == [first["id"] + 1, 77]
    assert (await server.http.get(f"{url}/77", headers=server.alice)).json()["title"] == "c"
    assert (await server.http.patch(f"{url}/77", json={"title": "d"}, headers=server.alice)).json()["title"] == "d"
    assert (await server.http.delete(f"{url}/77", headers=server.alice)).json() == {"row_id": "77", "deleted": True}
    for text in ("77", "x", "9" * 30, "1.5", "", "1,2", "1'; drop table items; --"):
        for method in ("GET", "PATCH", "DELETE"):
            answer = await server.http.request(
                method, f"{url}/{quote(text)}", json={"title": "x"}, headers=server.alice
            )
            assert refusal(answer) == (404, "row_not_found"), (method, text)


async def test_a_row_with_a_key_of_several_columns_is_reached_by_all_of_them(server: Server) -> None:
    columns = [
        {"name": "place", "type": "text", "primary_key": True},
        {"name": "day", "type": "date", "primary_key": True},
        {"name": "seats", "type": "integer"},
    ]
    url = await server.make_rows_url(columns=columns)
    places = ["hall", "a,b", 'c"d', "e\\f", "g/h", "ü"]
    for place in places:
        await server.insert(url, server.alice, place=place, day="2026-01-31", seats=1)
    for place in places:
        escaped = place.replace("\\", "\\\\").replace('"', '\\"')
        key = quote(f'"{escaped}",2026-01-31', safe="")
        assert (await server.http.get(f"{url}/{key}", headers=server.alice)).json()["place"] == place
        changed = await server.http.patch(f"{url}/{key}", json={"seats": 2}, headers=server.alice)
        assert (changed.json()["place"], changed.json()["seats"]) == (place, 2)
    answer = await server.http.patch(f"{url}/hall,2026-01-31", json={"place": "x"}, headers=server.alice)
    assert refusal(answer) == (400, "read_only_column")
    assert "primary key" in answer.json()["error"]["message"]
    assert (await server.http.delete(f"{url}/hall,2026-01-31", headers=server.alice)).status_code == 200
    for text in (
        "hall",
        "hall,2026-01-31",
        "hall,x",
        "hall,2026-01-31,x",
        '"hall,2026-01-31',
        '"hall"x,2026-01-31',
        ",",
    ):
        answer = await server.http.get(f"{url}/{quote(text)}", headers=server.alice)
        assert refusal(answer) == (404, "row_not_found"), text
    page = (await server.http.get(f"{url}?limit=2", headers=server.alice)).json()
    rest = (await server.http.get(f"{url}?cursor={page['next_cursor']}", headers=server.alice)).json()
    assert len(page["rows"]) + len(rest["rows"]) == 5


async def test_a_row_that_is_there_is_merged_or_left(server: Server) -> None:
    columns = [
        {"name": "code", "type": "text", "unique": True},
        {"name": "n", "type": "integer", "default": 1},
    ]
    url = await server.make_rows_url(columns=columns)
    row = await server.insert(url, server.alice, code="a", n=5)
    answer = await server.http.post(f"{url}?upsert=merge", json={"id": row["id"], "n": 6}, headers=server.alice)
    assert (answer.status_code, answer.json()) == (200, {**row, "n": 6})
    body = [{"code": "a", "n": 7}, {"code": "b"}]
    answer = await server.http.post(f"{url}?upsert=merge&on_conflict=code", json=body, headers=server.alice)
    assert [(one["code"], one["n"]) for one in answer.json()["rows"]] == [("a", 7), ("b", 1)]
    answer = await server.http.post(f"{url}?upsert=ignore&on_conflict=code", json={"code": "a"}, headers=server.alice)
    assert (answer.status_code, answer.json()) == (200, {"rows": []})
    answer = await server.http.post(f"{url}?return=minimal", json=[{"code": "c"}, {"code": "d"}], headers=server.alice)
    assert (answer.status_code, answer.json()) == (201, {"written": 2})
    twice = [{"code": "e"}, {"code": "e"}]
    answer = await server.http.post(f"{url}?upsert=merge&on_conflict=code", json=twice, headers=server.alice)
    assert refusal(answer) == (400, "row_given_twice")
    assert "the same code" in answer.json()["error"]["message"]
    assert refusal(await server.http.post(url, json={"code": "a"}, headers=server.alice)) == (409, "23505")


async def test_nobody_merges_into_a_row_that_they_may_not_change(server: Server) -> None:
    url = await server.make_rows_url("public")
    row = await server.insert(url, server.alice, title="hers")
    for headers in (server.bob, server.anon):
        answer = await server.http.post(f"{url}?upsert=merge", json={"id": row["id"], "title": "x"}, headers=headers)
        assert answer.status_code in {401, 403}
    assert (await server.http.get(f"{url}/{row['id']}", headers={})).json() == row


@pytest.mark.parametrize(
    "query",
    [
        "upsert=yes",
        "upsert=merge&upsert=merge",
        "on_conflict=title",
        "upsert=merge&on_conflict=title",
        "upsert=merge&on_conflict=nothing",
        "upsert=merge&on_conflict=id)%20do%20nothing;--",
        "return=all",
        "columns=title",
    ],
)
async def test_an_option_that_cannot_be_is_refused(server: Server, query: str) -> None:
    url = await server.make_rows_url()
    answer = await server.http.post(f"{url}?{query}", json={"title": "a"}, headers=server.alice)
    assert refusal(answer)[0] == 400
    assert (await server.http.get(url, headers=server.alice)).json() == {"rows": []}


MISFITS: list[tuple[str, object, str]] = [
    ("integer", "many", '"many"'),
    ("integer", 2**40, str(2**40)),
    ("integer", 1.5, "1.5"),
    ("smallint", 40000, "40000"),
    ("varchar(3)", "abcd", '"abcd"'),
    ("numeric(4,2)", 12345, "12345"),
    ("boolean", "perhaps", '"perhaps"'),
    ("uuid", "x", '"x"'),
    ("date", "2026-02-30", '"2026-02-30"'),
    ("timestamptz", "soon", '"soon"'),
    ("integer[]", [1, "x"], '[1, "x"]'),
    ("int4range", "[5,1)", '"[5,1)"'),
    ("inet", "here", '"here"'),
]


@pytest.mark.parametrize(("kind", "value", "shown"), MISFITS)
async def test_a_value_that_does_not_fit_is_named_with_its_column_and_type(
    server: Server, kind: str, value: object, shown: str
) -> None:
    columns = [{"name": "odd_one", "type": kind}, {"name": "title", "type": "text"}]
    url = await server.make_rows_url(columns=columns)
    row = await server.insert(url, server.alice, title="kept")
    answers = [
        (await server.http.post(url, json={"title": "a", "odd_one": value}, headers=server.alice), ""),
        (await server.http.patch(f"{url}/{row['id']}", json={"odd_one": value}, headers=server.alice), ""),
        (
            await server.http.post(
                url, json=[{"title": "b"}, {"odd_one": None}, {"odd_one": value}, {}], headers=server.alice
            ),
            ", in row 3",
        ),
    ]
    for answer, place in answers:
        assert refusal(answer) == (400, "invalid_value"), answer.text
        error = answer.json()["error"]
        assert error["message"] == f"The column odd_one takes {kind}"
        assert error["details"].replace('[1,"x"]', '[1, "x"]') == f"expected {kind}, got {shown}{place}"
    assert (await server.http.get(url, headers=server.alice)).json() == {"rows": [row]}


async def test_a_filters_value_that_does_not_fit_is_named_too(server: Server) -> None:
    url = await server.make_rows_url()
    for query in ("quantity=eq.many", "title=eq.a&quantity=in.(1,many)", "or=(title.eq.a,and(quantity.gt.many))"):
        answer = await server.http.get(f"{url}?{query}", headers=server.alice)
        assert refusal(answer) == (400, "invalid_value")
        assert answer.json()["error"]["details"] == 'expected integer, got "many"'
        assert "quantity" in answer.json()["error"]["message"]


async def test_null_where_none_may_be_is_named_with_its_column(server: Server) -> None:
    url = await server.make_rows_url()
    for body in ({"title": None}, {"quantity": 1}):
        answer = await server.http.post(url, json=body, headers=server.alice)
        assert refusal(answer) == (400, "23502")
        assert answer.json()["error"]["details"] == "expected text, got null"


async def test_references_to_other_keys_are_kept(server: Server) -> None:
    made = await server.make_database()
    code: dict[str, Any] = {"name": "code", "type": "text"}
    await server.make_table(made["database_id"], name="products", columns=[{**code, "primary_key": True}])
    products = (await server.http.get(f"/db/{made['database_id']}/tables", headers=server.alice)).json()["tables"][0]
    reference = {**code, "references": {"table": "products", "on_delete": "cascade"}}
    orders = await server.make_table(made["database_id"], name="orders", columns=[reference])
    base = f"/db/{made['database_id']}/tables"
    url = f"{base}/{orders['table_id']}/rows"
    assert refusal(await server.http.post(url, json={"code": "x"}, headers=server.alice)) == (409, "23503")
    await server.insert(f"{base}/{products['table_id']}/rows", server.alice, code="x")
    row = await server.insert(url, server.alice, code="x")
    shown = await server.http.get(f"{url}?select=code,products(created_at)", headers=server.alice)
    assert shown.json()["rows"][0]["products"]["created_at"]
    assert refusal(await server.http.get(f"{url}/{NOBODY}", headers=server.alice)) == (404, "row_not_found")
    assert refusal(await server.http.get(f"{url}/{row['id']}", headers=server.user(BOB)))[0] == 404
