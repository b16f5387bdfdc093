"""Databases made at run time: who makes, sees and drops them, and that a schema lives and dies with its row."""

from __future__ import annotations

import asyncio

import pytest

from isobase_platform.config import Settings
from tests.database.dynamic.conftest import ALICE, BOB, NOBODY, Server, refusal, running


async def schemas(server: Server) -> set[str]:
    """The PostgreSQL schemas of databases made at run time."""
    rows = await server.owner.fetch(r"select nspname from pg_namespace where nspname like 'db\_%'")
    return {row["nspname"] for row in rows}


async def test_a_database_is_made_with_its_schema_listed_and_dropped(server: Server) -> None:
    made = await server.make_database("My inventory")
    assert set(made) == {"database_id", "name", "schema", "role", "created_at"}
    assert await schemas(server) == {made["schema"]}
    assert (await server.http.get("/db", headers=server.alice)).json() == {"databases": [made]}
    url = f"/db/{made['database_id']}"
    assert (await server.http.get(url, headers=server.alice)).json() == made
    await server.make_table(made["database_id"])
    answer = await server.http.delete(url, headers=server.alice)
    assert (answer.status_code, answer.json()) == (200, {"database_id": made["database_id"], "deleted": True})
    assert await schemas(server) == set()
    assert refusal(await server.http.get(url, headers=server.alice)) == (404, "database_not_found")
    assert refusal(await server.http.delete(url, headers=server.alice)) == (404, "database_not_found")
    assert await server.owner.fetchval("select count(*) from isobase.tables") == 0


async def test_a_stranger_neither_sees_nor_changes_a_database(server: Server) -> None:
    made = await server.make_database()
    url = f"/db/{made['database_id']}"
    table = await server.make_table(made["database_id"])
    assert (await server.http.get("/db", headers=server.bob)).json() == {"databases": []}
    hidden = [
        ("GET", url, None),
        ("DELETE", url, None),
        ("GET", f"{url}/members", None),
        ("PUT", f"{url}/members/{BOB}", {"role": "owner"}),
        ("POST", f"{url}/members", {"user_id": BOB, "role": "owner"}),
        ("PATCH", f"{url}/members/{ALICE}", {"role": "reader"}),
        ("DELETE", f"{url}/members/{ALICE}", None),
        ("GET", f"{url}/tables", None),
        ("POST", f"{url}/tables", {"name": "mine", "columns": []}),
        ("GET", f"{url}/tables/{table['table_id']}", None),
        ("DELETE", f"{url}/tables/{table['table_id']}", None),
    ]
    for method, path, body in hidden:
        answer = await server.http.request(method, path, json=body, headers=server.bob)
        assert refusal(answer) == (404, "database_not_found"), (method, path)
    assert (await server.http.get(f"{url}/tables", headers=server.alice)).json() == {"tables": [table]}


async def test_anon_is_asked_to_sign_in_before_anything_is_read(server: Server) -> None:
    made = await server.make_database()
    asked = [
        ("POST", "/db"),
        ("GET", "/db"),
        ("GET", f"/db/{made['database_id']}"),
        ("DELETE", f"/db/{made['database_id']}"),
        ("GET", f"/db/{NOBODY}"),
        ("POST", f"/db/{made['database_id']}/tables"),
        ("GET", f"/db/{made['database_id']}/tables"),
        ("GET", f"/db/{NOBODY}/tables/{NOBODY}/rows"),
        ("POST", f"/db/{NOBODY}/tables/{NOBODY}/rows"),
    ]
    for method, path in asked:
        for headers in ({}, server.anon):
            answer = await server.http.request(method, path, headers=headers)
            assert refusal(answer) == (401, "invalid_token"), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
    assert await schemas(server) == {made["schema"]}


@pytest.mark.parametrize("token", ["garbage", "a.b.c"])
async def test_a_token_that_does_not_verify_is_401(server: Server, token: str) -> None:
    answer = await server.http.get("/db", headers={"authorization": f"Bearer {token}"})
    assert refusal(answer) == (401, "invalid_token")


async def test_an_expired_token_and_one_without_a_user_are_401(server: Server) -> None:
    for token in (server.token(ALICE, exp=1), server.token("not-a-uuid")):
        answer = await server.http.get("/db", headers={"authorization": f"Bearer {token}"})
        assert refusal(answer) == (401, "invalid_token")


async def test_a_user_who_is_gone_makes_no_database(server: Server) -> None:
    answer = await server.http.post("/db", json={"name": "x"}, headers=server.user(NOBODY))
    assert refusal(answer) == (401, "user_not_found")
    assert await schemas(server) == set()


async def test_a_name_is_free_again_for_others_but_not_for_its_owner(server: Server) -> None:
    await server.make_database("inventory")
    await server.make_database("inventory", server.bob)
    answer = await server.http.post("/db", json={"name": "inventory"}, headers=server.alice)
    assert refusal(answer) == (409, "database_exists")
    assert len(await schemas(server)) == 2


async def test_the_same_name_twice_at_once_is_made_once(server: Server) -> None:
    answers = await asyncio.gather(
        *(server.http.post("/db", json={"name": "inventory"}, headers=server.alice) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert len(await schemas(server)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"name": ""}',
        b'{"name": "  "}',
        b'{"name": 3}',
        b'{"name": "a\\u0000b"}',
        b'{"name": "a\\nb"}',
        b'{"name": "' + b"x" * 64 + b'"}',
        b'{"name": "a", "owner": "b"}',
        b"\xff",
    ],
)
async def test_a_body_that_cannot_be_is_400_and_makes_nothing(server: Server, body: bytes) -> None:
    status, code = refusal(await server.http.post("/db", content=body, headers=server.alice))
    assert (status, code in {"invalid_json", "invalid_body"}) == (400, True)
    assert await schemas(server) == set()


async def test_what_is_wrong_with_a_body_is_said_without_patterns_and_names_of_exceptions(server: Server) -> None:
    answer = await server.http.post("/db", json={"name": "a\nb"}, headers=server.alice)
    assert answer.json()["error"]["details"] == "name: String should hold more than spaces, and no control characters"
    made = await server.make_database()
    body = {"name": "items", "columns": [{"name": "title", "type": "strin"}]}
    answer = await server.http.post(f"/db/{made['database_id']}/tables", json=body, headers=server.alice)
    assert answer.json()["error"]["details"].startswith("columns.0.type: no such column type; there are text, ")


async def test_a_user_has_no_more_databases_than_the_limit(database: Settings) -> None:
    async with running(database, databases_per_owner=2) as server:
        answers = await asyncio.gather(
            *(server.http.post("/db", json={"name": f"n{n}"}, headers=server.alice) for n in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 201, 403, 403]
        await server.make_database("another's", server.bob)
        assert refusal(await server.http.post("/db", json={"name": "n9"}, headers=server.alice)) == (
            403,
            "quota_reached",
        )
        assert len(await schemas(server)) == 3


async def test_the_service_reaches_every_database(server: Server) -> None:
    made = await server.make_database()
    own = await server.make_database("the service's", server.service)
    listed = (await server.http.get("/db", headers=server.service)).json()["databases"]
    assert listed == [{**made, "role": None}, own]
    assert (await server.http.get(f"/db/{own['database_id']}", headers=server.alice)).status_code == 404
    assert (await server.http.delete(f"/db/{made['database_id']}", headers=server.service)).status_code == 200
