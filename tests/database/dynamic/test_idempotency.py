"""``Idempotency-Key`` on rows of tables made at run time: a write that is sent again happens once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.database.dynamic.conftest import Server, refusal


async def send(
    server: Server, method: str, url: str, key: str, who: dict[str, str] | None = None, **given: Any
) -> httpx.Response:
    headers = {**(server.alice if who is None else who), "idempotency-key": key}
    return await server.http.request(method, url, headers=headers, **given)


def is_same(first: httpx.Response, second: httpx.Response) -> bool:
    assert "idempotency-replayed" not in first.headers
    return (
        (first.status_code, first.content) == (second.status_code, second.content)
        and first.headers.get("content-type") == second.headers.get("content-type")
        and second.headers.get("idempotency-replayed") == "true"
    )


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", {"title": "a"}),
        ("", [{"title": "a"}, {"title": "b"}]),
        ("?return=minimal", {"title": "a"}),
        ("?upsert=ignore", {"title": "a"}),
    ],
)
async def test_an_insert_that_is_sent_again_is_done_once(server: Server, query: str, body: object) -> None:
    url, key = await server.make_rows_url(), str(uuid4())
    first = await send(server, "POST", url + query, key, json=body)
    assert first.status_code in {200, 201}
    assert is_same(first, await send(server, "POST", url + query, key, json=body))
    rows = (await server.http.get(url, headers=server.alice)).json()["rows"]
    assert len(rows) == (2 if isinstance(body, list) else 1)


async def test_a_change_and_a_delete_that_are_sent_again_are_done_once(server: Server) -> None:
    url, change, delete = await server.make_rows_url(), str(uuid4()), str(uuid4())
    row = await server.insert(url, server.alice, title="a")
    at = f"{url}/{row['id']}"
    changed = await send(server, "PATCH", at, change, json={"quantity": 3})
    assert changed.json() == {**row, "quantity": 3}
    await server.http.patch(at, json={"quantity": 4}, headers=server.alice)
    assert is_same(changed, await send(server, "PATCH", at, change, json={"quantity": 3}))
    assert (await server.http.get(at, headers=server.alice)).json()["quantity"] == 4
    deleted = await send(server, "DELETE", at, delete)
    assert is_same(deleted, await send(server, "DELETE", at, delete))
    assert refusal(await send(server, "DELETE", at, str(uuid4()))) == (404, "row_not_found")


async def test_what_is_refused_is_told_as_without_a_key_and_not_kept(server: Server) -> None:
    url, key = await server.make_rows_url("public-read"), str(uuid4())
    row = await server.insert(url, server.alice, title="a")
    for who, expected in ((server.bob, (403, "forbidden")), (server.alice, (400, "invalid_value"))):
        for _ in range(2):
            answer = await send(server, "PATCH", f"{url}/{row['id']}", key, who, json={"quantity": "many"})
            if who is server.bob:
                answer = await send(server, "PATCH", f"{url}/{row['id']}", str(uuid4()), who, json={"quantity": 2})
            assert refusal(answer) == expected
    assert refusal(await send(server, "PATCH", f"{url}/{uuid4()}", key, json={"quantity": 2})) == (404, "row_not_found")
    assert (await send(server, "PATCH", f"{url}/{row['id']}", key, json={"quantity": 2})).status_code == 200


async def test_a_key_belongs_to_one_request_of_one_caller(server: Server) -> None:
    url, key = await server.make_rows_url("public"), str(uuid4())
    first = await send(server, "POST", url, key, json={"title": "a"})
    assert refusal(await send(server, "POST", url, key, json={"title": "b"})) == (422, "idempotency_key_reused")
    of_bob = await send(server, "POST", url, key, server.bob, json={"title": "a"})
    assert of_bob.json()["id"] != first.json()["id"]
    assert refusal(await send(server, "POST", url, "k" * 256, json={"title": "a"})) == (400, "idempotency_key_invalid")


async def test_twenty_at_once_insert_one_row(server: Server) -> None:
    url, key = await server.make_rows_url(), str(uuid4())
    answers = await asyncio.gather(*(send(server, "POST", url, key, json={"title": "a"}) for _ in range(20)))
    assert len({answer.content for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {201}
    assert len((await server.http.get(url, headers=server.alice)).json()["rows"]) == 1


async def test_the_kept_answer_is_given_also_when_the_table_is_gone_meanwhile(server: Server) -> None:
    url, key = await server.make_rows_url(), str(uuid4())
    first = await send(server, "POST", url, key, json={"title": "a"})
    dropped = await server.http.delete(url.removesuffix("/rows"), headers=server.alice)
    assert dropped.is_success
    assert is_same(first, await send(server, "POST", url, key, json={"title": "a"}))
    for other in ({"title": "b"}, {"title": "a", "quantity": 2}):
        assert refusal(await send(server, "POST", url, key, json=other)) == (404, "table_not_found")
    assert refusal(await send(server, "POST", url, key, server.bob, json={"title": "a"}))[0] == 404
