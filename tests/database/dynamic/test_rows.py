"""Rows of tables made at run time: insert, read in the language of /rest, change, delete; and who may."""

from __future__ import annotations

import pytest

from tests.database.dynamic.conftest import ALICE, BOB, NOBODY, Server, refusal


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


async def test_anon_reads_no_rows_of_an_owner_table(server: Server) -> None:
    url = await server.make_rows_url()
    row = await server.insert(url, server.alice, title="secret")
    assert BOB != ALICE
    for headers in ({}, server.anon):
        for path in (url, f"{url}/{row['id']}", url.replace(row["id"], NOBODY)):
            assert refusal(await server.http.get(path, headers=headers)) == (401, "invalid_token")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_a_stranger_finds_no_row_of_another_owner(server: Server, method: str) -> None:
    url = await server.make_rows_url()
    row = await server.insert(url, server.alice, title="secret")
    body = {"title": "stolen"} if method == "PATCH" else None
    answer = await server.http.request(method, f"{url}/{row['id']}", json=body, headers=server.bob)
    assert refusal(answer) == (404, "row_not_found")
    assert (await server.http.get(url, headers=server.bob)).json() == {"rows": []}
    assert (await server.http.get(url, headers=server.alice)).json() == {"rows": [row]}
