"""Who is in a database: named, changed and removed by its owners, on the simple face and by PostgreSQL itself."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest

from isobase_platform.config import Settings
from tests.database.dynamic.conftest import ALICE, BOB, NOBODY, Server, refusal, running

CAROL = "33333333-3333-4333-8333-333333333333"


async def roles(server: Server, url: str) -> dict[str, str]:
    """User id -> role, as Alice sees them."""
    answer = await server.http.get(f"{url}/members", headers=server.alice)
    assert answer.status_code == 200, answer.text
    return {member["user_id"]: member["role"] for member in answer.json()["members"]}


async def add_carol(server: Server) -> None:
    """A third user."""
    await server.owner.execute("insert into auth.users (id, email) values ($1, 'carol@example.com')", CAROL)


async def test_who_makes_a_database_is_its_owner_and_names_members(server: Server) -> None:
    made = await server.make_database()
    url = f"/db/{made['database_id']}"
    assert made["role"] == "owner"
    assert await roles(server, url) == {ALICE: "owner"}
    body = {"user_id": BOB, "role": "reader"}
    answer = await server.http.post(f"{url}/members", json=body, headers=server.alice)
    assert (answer.status_code, answer.json()["user_id"], answer.json()["role"]) == (201, BOB, "reader")
    again = await server.http.post(f"{url}/members", json=body, headers=server.alice)
    assert refusal(again) == (409, "is_member")
    assert (await server.http.get("/db", headers=server.bob)).json() == {"databases": [{**made, "role": "reader"}]}
    answer = await server.http.patch(f"{url}/members/{BOB}", json={"role": "editor"}, headers=server.alice)
    assert (answer.status_code, answer.json()["role"]) == (200, "editor")
    assert (await server.http.delete(f"{url}/members/{BOB}", headers=server.alice)).status_code == 200
    assert refusal(await server.http.get(url, headers=server.bob)) == (404, "database_not_found")
    answer = await server.http.put(f"{url}/members/{BOB}", json={"role": "editor"}, headers=server.alice)
    assert (answer.status_code, answer.json()["role"]) == (200, "editor")
    assert await roles(server, url) == {ALICE: "owner", BOB: "editor"}


@pytest.mark.parametrize("role", ["reader", "editor"])
async def test_a_member_who_is_no_owner_changes_no_members_and_no_database(server: Server, role: str) -> None:
    await add_carol(server)
    made = await server.make_database()
    url = f"/db/{made['database_id']}"
    await server.http.put(f"{url}/members/{BOB}", json={"role": role}, headers=server.alice)
    assert set(await roles(server, url)) == {ALICE, BOB}
    for method, path, body in [
        ("POST", f"{url}/members", {"user_id": CAROL, "role": "reader"}),
        ("PUT", f"{url}/members/{CAROL}", {"role": "reader"}),
        ("PUT", f"{url}/members/{BOB}", {"role": "owner"}),
        ("PATCH", f"{url}/members/{BOB}", {"role": "owner"}),
        ("PATCH", f"{url}/members/{ALICE}", {"role": "reader"}),
        ("DELETE", f"{url}/members/{ALICE}", None),
        ("DELETE", url, None),
    ]:
        answer = await server.http.request(method, path, json=body, headers=server.bob)
        assert refusal(answer) == (403, "forbidden"), (method, path)
    assert await roles(server, url) == {ALICE: "owner", BOB: role}
    answer = await server.http.post(f"{url}/tables", json={"name": "mine", "columns": []}, headers=server.bob)
    assert answer.status_code == (201 if role == "editor" else 403)
    assert (await server.http.delete(f"{url}/members/{BOB}", headers=server.bob)).status_code == 200  # he leaves
    assert await roles(server, url) == {ALICE: "owner"}


async def test_the_last_owner_stays(server: Server) -> None:
    made = await server.make_database()
    url = f"/db/{made['database_id']}"
    for method, body in [("DELETE", None), ("PATCH", {"role": "editor"}), ("PUT", {"role": "reader"})]:
        for headers in (server.alice, server.service):
            answer = await server.http.request(method, f"{url}/members/{ALICE}", json=body, headers=headers)
            assert refusal(answer) == (409, "last_owner"), method
    await server.http.put(f"{url}/members/{BOB}", json={"role": "owner"}, headers=server.alice)
    assert (await server.http.delete(f"{url}/members/{ALICE}", headers=server.alice)).status_code == 200
    assert refusal(await server.http.get(url, headers=server.alice)) == (404, "database_not_found")
    assert refusal(await server.http.delete(f"{url}/members/{BOB}", headers=server.bob)) == (409, "last_owner")
    assert (await server.http.delete(url, headers=server.bob)).status_code == 200


async def test_two_owners_who_leave_at_once_leave_one(server: Server) -> None:
    for _ in range(5):
        made = await server.make_database()
        url = f"/db/{made['database_id']}"
        await server.http.put(f"{url}/members/{BOB}", json={"role": "owner"}, headers=server.alice)
        answers = await asyncio.gather(
            server.http.delete(f"{url}/members/{ALICE}", headers=server.alice),
            server.http.delete(f"{url}/members/{BOB}", headers=server.bob),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        await server.http.delete(url, headers=server.service)


async def test_a_deleted_user_leaves_even_as_the_last_owner(server: Server) -> None:
    made = await server.make_database()
    await server.owner.execute("delete from auth.users where id = $1", ALICE)
    url = f"/db/{made['database_id']}"
    assert (await server.http.get(f"{url}/members", headers=server.service)).json() == {"members": []}
    assert (await server.http.delete(url, headers=server.service)).status_code == 200


async def test_a_member_that_cannot_be_is_refused(server: Server) -> None:
    made = await server.make_database()
    url = f"/db/{made['database_id']}/members"
    for method, path, body, expected in [
        ("PUT", f"{url}/{NOBODY}", {"role": "reader"}, (404, "user_not_found")),
        ("PUT", f"{url}/x", {"role": "reader"}, (404, "user_not_found")),
        ("PUT", f"{url}/{BOB}", {"role": "admin"}, (400, "invalid_body")),
        ("PUT", f"{url}/{BOB}", {}, (400, "invalid_body")),
        ("POST", url, {"user_id": NOBODY, "role": "reader"}, (404, "user_not_found")),
        ("POST", url, {"user_id": "x", "role": "reader"}, (400, "invalid_body")),
        ("POST", url, {"role": "reader"}, (400, "invalid_body")),
        ("PATCH", f"{url}/{BOB}", {"role": "reader"}, (404, "member_not_found")),
        ("DELETE", f"{url}/{BOB}", None, (404, "member_not_found")),
    ]:
        answer = await server.http.request(method, path, json=body, headers=server.alice)
        assert refusal(answer) == expected, (method, path, body)


async def test_there_are_no_more_members_than_the_setting_says(database: Settings) -> None:
    async with running(database, members_per_database=2) as server:
        await add_carol(server)
        made = await server.make_database()
        url = f"/db/{made['database_id']}"
        answers = await asyncio.gather(
            *(
                server.http.put(f"{url}/members/{user}", json={"role": "reader"}, headers=server.alice)
                for user in (BOB, CAROL)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 403]
        assert len(await roles(server, url)) == 2


# -- by SQL: what the face refuses, PostgreSQL refuses too ---------------------------------------------------------------


async def as_user(server: Server, user_id: str, sql: str) -> str:
    """Run a statement as a signed-in user would reach PostgreSQL; returns its status or the SQLSTATE of the refusal."""
    claims = json.dumps({"sub": user_id, "role": "authenticated"})
    try:
        async with server.owner.transaction():
            await server.owner.execute("select set_config('request.jwt.claims', $1, true)", claims)
            await server.owner.execute("set local role authenticated")
            return await server.owner.execute(sql)
    except asyncpg.PostgresError as error:
        return error.sqlstate or ""


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (None, ["SELECT 0", "42501", "UPDATE 0", "DELETE 0", "42501", "42501"]),
        ("reader", ["SELECT 2", "42501", "UPDATE 0", "DELETE 0", "42501", "42501"]),
        ("editor", ["SELECT 2", "42501", "UPDATE 0", "DELETE 0", "42501", "42501"]),
        ("owner", ["SELECT 2", "INSERT 0 1", "UPDATE 1", "DELETE 1", "42501", "42501"]),
    ],
)
async def test_postgresql_itself_keeps_the_hierarchy(server: Server, role: str | None, expected: list[str]) -> None:
    await add_carol(server)
    made = await server.make_database()
    if role is not None:
        url = f"/db/{made['database_id']}/members/{BOB}"
        assert (await server.http.put(url, json={"role": role}, headers=server.alice)).status_code == 200
    database_id = made["database_id"]
    found = [
        await as_user(server, BOB, sql)
        for sql in (
            "select * from isobase.members",
            f"insert into isobase.members (database_id, user_id, role) values ('{database_id}', '{CAROL}', 'reader')",
            f"update isobase.members set role = 'editor' where user_id = '{CAROL if role == 'owner' else ALICE}'",
            f"delete from isobase.members where user_id = '{CAROL if role == 'owner' else ALICE}'",
            f"update isobase.members set database_id = '{NOBODY}'",
            "update isobase.databases set name = 'mine'",
        )
    ]
    assert found == expected
    if role == "owner":
        await as_user(server, BOB, f"delete from isobase.members where user_id = '{ALICE}'")
        assert await as_user(server, BOB, f"delete from isobase.members where user_id = '{BOB}'") == "23514"


async def test_strangers_see_no_databases_and_tables_by_sql(server: Server) -> None:
    made = await server.make_database()
    await server.make_table(made["database_id"])
    for table in ("databases", "tables", "members"):
        assert await as_user(server, BOB, f"select * from isobase.{table}") == "SELECT 0"
        assert await as_user(server, ALICE, f"select * from isobase.{table}") == "SELECT 1"
