"""Pages of rows by cursor: every row once, in order, whatever comes or goes meanwhile."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from isobase_platform.config import Settings
from tests.database.dynamic.conftest import Server, refusal, running

ROWS: list[dict[str, Any]] = [
    {"title": "a", "quantity": 3, "facts": {"n": 1}},
    {"title": "b", "quantity": None, "facts": None},
    {"title": "c", "quantity": 1, "facts": {"n": 2}},
    {"title": "d", "quantity": 3, "facts": {"n": None}},
    {"title": "e", "quantity": None, "facts": {"n": 3}},
    {"title": "f", "quantity": 2, "facts": {"n": 1}},
    {"title": "g", "quantity": 1, "facts": None},
]
ORDERS = [
    "",
    "title",
    "title.desc",
    "quantity",
    "quantity.desc",
    "quantity.asc.nullsfirst",
    "quantity.desc.nullslast",
    "quantity.desc,title",
    "quantity.asc.nullsfirst,title.desc",
    "facts->>n,quantity",
    "facts->n.desc",
    "created_at.desc",
    "id.desc",
]


async def filled(server: Server) -> str:
    """The URL of seven rows."""
    url = await server.make_rows_url()
    assert (await server.http.post(url, json=ROWS, headers=server.alice)).status_code == 201
    return url


async def pages(server: Server, url: str, query: str) -> list[list[dict[str, Any]]]:
    """All pages, from the first."""
    found: list[list[dict[str, Any]]] = []
    cursor = ""
    while True:
        answer = await server.http.get(f"{url}?{query}&cursor={cursor}", headers=server.alice)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["rows"])
        if answer.json()["next_cursor"] is None:
            return found
        cursor = answer.json()["next_cursor"]
        assert len(found) < 20


@pytest.mark.parametrize("order", ORDERS)
async def test_pages_show_every_row_once_and_in_order(server: Server, order: str) -> None:
    url = await filled(server)
    sort = f"order={order}" if order else "select=*"
    whole = (await server.http.get(f"{url}?{sort}", headers=server.alice)).json()["rows"]
    assert len(whole) == 7
    for size in (1, 2, 3, 7, 10):
        found = await pages(server, url, f"{sort}&limit={size}")
        assert [row for page in found for row in page] == whole, size
        assert len(found) == -(-7 // size)


async def test_pages_are_cut_by_filters_and_embeds_and_count_all(server: Server) -> None:
    url = await filled(server)
    query = "quantity=gte.1&select=title&order=title&limit=2&count=exact"
    found = await pages(server, url, query)
    assert [row["title"] for page in found for row in page] == ["a", "c", "d", "f", "g"]
    first = (await server.http.get(f"{url}?{query}", headers=server.alice)).json()
    second = (await server.http.get(f"{url}?{query}&cursor={first['next_cursor']}", headers=server.alice)).json()
    assert (first["count"], second["count"]) == (5, 5)


async def test_rows_that_come_and_go_move_no_page(server: Server) -> None:
    url = await filled(server)
    query = "order=title&limit=3"
    first = (await server.http.get(f"{url}?{query}", headers=server.alice)).json()
    assert [row["title"] for row in first["rows"]] == ["a", "b", "c"]
    await server.insert(url, server.alice, title="aa")
    await server.http.delete(f"{url}/{first['rows'][2]['id']}", headers=server.alice)
    second = (await server.http.get(f"{url}?{query}&cursor={first['next_cursor']}", headers=server.alice)).json()
    assert [row["title"] for row in second["rows"]] == ["d", "e", "f"]


async def test_a_last_page_says_so_and_a_plain_read_says_nothing(server: Server) -> None:
    url = await filled(server)
    assert (await server.http.get(f"{url}?limit=7&cursor=", headers=server.alice)).json()["next_cursor"] is None
    assert set((await server.http.get(url, headers=server.alice)).json()) == {"rows"}
    assert set((await server.http.get(f"{url}?limit=0", headers=server.alice)).json()) == {"rows"}


async def test_what_the_largest_page_leaves_out_is_behind_its_cursor(database: Settings) -> None:
    short = database.model_copy(update={"rest": database.rest.model_copy(update={"max_rows": 5})})
    async with running(short) as server:
        url = await filled(server)
        first = (await server.http.get(url, headers=server.alice)).json()
        second = (await server.http.get(f"{url}?cursor={first['next_cursor']}", headers=server.alice)).json()
        assert (len(first["rows"]), len(second["rows"]), second["next_cursor"]) == (5, 2, None)


async def test_a_cursor_shows_no_rows_that_its_bearer_may_not_see(server: Server) -> None:
    url = await filled(server)
    cursor = (await server.http.get(f"{url}?limit=1", headers=server.alice)).json()["next_cursor"]
    path = f"{url}?limit=1&cursor={cursor}"
    assert refusal(await server.http.get(path, headers=server.bob)) == (404, "table_not_found")
    assert refusal(await server.http.get(path, headers={})) == (401, "invalid_token")


def _coded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


async def test_a_cursor_that_is_none_is_refused(server: Server) -> None:
    url = await filled(server)
    answer = await server.http.get(f"{url}?limit=1&order=title", headers=server.alice)
    cursor = answer.json()["next_cursor"]
    digest = json.loads(base64.urlsafe_b64decode(cursor + "=="))[1]
    wrong = [
        "x",
        "%00",
        "!!!",
        cursor[:-2],
        cursor + "x",
        "x" * 20_000,
        _coded([]),
        _coded({}),
        _coded("x"),
        _coded([1, digest]),
        _coded([1, digest, "a", 3]),
        _coded([1, digest, None, "x"]),
        _coded([2, digest, "a", "b"]),
        _coded([1, "0" * 16, "a", "b"]),
        _coded([1, digest, "a\x00", "b"]),
        "W" * 15_000,
    ]
    for text in wrong:
        answer = await server.http.get(f"{url}?limit=1&order=title&cursor={text}", headers=server.alice)
        assert refusal(answer)[0] == 400, text
        assert refusal(answer)[1] in {"invalid_cursor", "invalid_query"}, text
    for query in ("order=title.desc", "order=quantity", "select=id", "order=title&offset=1"):
        answer = await server.http.get(f"{url}?limit=1&{query}&cursor={cursor}", headers=server.alice)
        assert refusal(answer)[0] == 400, query
    # Well formed, with values that its columns cannot hold or that try to be SQL.
    for value in ("x'; drop table items; --", "not a uuid"):
        answer = await server.http.get(
            f"{url}?limit=1&order=title&cursor={_coded([1, digest, 'a', value])}", headers=server.alice
        )
        assert refusal(answer)[0] == 400
    assert len((await server.http.get(url, headers=server.alice)).json()["rows"]) == 7
