"""Rooms in the database: numbers, rights, and what the log is told."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from tests.schema.conftest import ALICE, BOB, Connection, Sessions


async def act_as(connection: Connection, user: str | None, role: str = "authenticated") -> None:
    """Go on in the transaction as a caller of the API."""
    claims = {"role": role, **({"sub": user} if user else {})}
    await connection.execute("reset role")
    await connection.execute("select set_config('request.jwt.claims', $1, true)", json.dumps(claims))
    await connection.execute(f"set local role {role}")


async def told(connection: Connection) -> list[tuple[str, dict[str, Any]]]:
    """(event, payload) of what the log was told, in the order of its telling."""
    await connection.execute("reset role")
    rows = await connection.fetch("select event, payload, topic, private from realtime.messages order by ctid")
    assert {(row["topic"], row["private"]) for row in rows} <= {("room:den", True)}
    return [(row["event"], json.loads(row["payload"])) for row in rows]


async def test_a_message_gets_the_next_number_and_is_told_as_it_is_stored(shared: Sessions) -> None:
    async with shared.rolled_back() as connection:
        await act_as(connection, ALICE)
        await connection.execute("insert into isobase.rooms (id, name) values ('den', 'Den')")
        for body in ('"one"', '{"two": 2}'):
            await connection.execute("insert into isobase.room_messages (room_id, body) values ('den', $1)", body)
        stored = await connection.fetch("select seq, sender, body from isobase.room_messages order by seq")
        assert [tuple(row) for row in stored] == [(1, ALICE, '"one"'), (2, ALICE, '{"two": 2}')]
        assert await connection.fetchval("select last_read_seq from isobase.room_reads") == 2
        events = await told(connection)
        assert [event for event, _ in events] == ["room", "member", "message", "message"]
        assert events[3][1].keys() == {"id", "roomId", "seq", "sender", "message", "clientId", "createdAt"}
        assert (events[3][1]["seq"], events[3][1]["message"]) == (2, {"two": 2})
        stored_id = await connection.fetchval("select id::text from isobase.room_messages where seq = 2")
        assert (
            await connection.fetchval("select id::text from realtime.messages order by ctid desc limit 1") == stored_id
        )


@pytest.mark.parametrize(
    "statement",
    [
        "insert into isobase.room_messages (room_id, body) values ('den', '1')",
        "insert into isobase.room_messages (room_id, body, sender) values ('den', '1', $1)",
        "insert into isobase.room_members (room_id, user_id) values ('den', $1)",
        "insert into isobase.room_reads (room_id, last_read_seq) values ('den', 1)",
        "insert into isobase.rooms (id, created_by) values ('mine', $1)",
        "insert into realtime.messages (topic, extension, event, private) values ('room:den', 'broadcast', 'wave', true)",
        "select isobase.tell_room('den', 'message', '{}')",
        "update isobase.room_messages set body = '2'",
        "delete from isobase.room_messages",
    ],
)
async def test_a_stranger_writes_nothing(shared: Sessions, statement: str) -> None:
    async with shared.rolled_back() as connection:
        await act_as(connection, ALICE)
        await connection.execute("insert into isobase.rooms (id) values ('den')")
        await act_as(connection, BOB)
        arguments = [BOB] if "$1" in statement else []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement, *arguments)


async def test_a_stranger_and_an_anonymous_caller_see_nothing(shared: Sessions) -> None:
    async with shared.rolled_back() as connection:
        await act_as(connection, ALICE)
        await connection.execute("insert into isobase.rooms (id) values ('den')")
        await connection.execute("insert into isobase.room_messages (room_id, body) values ('den', '1')")
        await act_as(connection, BOB)
        for table in ("rooms", "room_members", "room_messages", "room_reads"):
            assert await connection.fetch(f"select from isobase.{table}") == []
        assert await connection.execute("update isobase.rooms set name = 'x'") == "UPDATE 0"
        assert await connection.execute("delete from isobase.room_members") == "DELETE 0"
        await act_as(connection, None, "anon")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select from isobase.rooms")


async def test_a_member_cannot_speak_in_the_name_of_the_database(shared: Sessions) -> None:
    async with shared.rolled_back() as connection:
        await act_as(connection, ALICE)
        await connection.execute("insert into isobase.rooms (id) values ('den')")
        statement = "insert into realtime.messages (topic, extension, event) values ('room:den', 'broadcast', $1)"
        await connection.execute(statement, "wave")
        for event in ("message", "member", "room", "typing", "read"):
            savepoint = connection.transaction()
            await savepoint.start()
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement, event)
            await savepoint.rollback()


async def test_the_service_speaks_for_others_and_a_resend_adds_nothing(shared: Sessions) -> None:
    async with shared.rolled_back() as connection:
        await act_as(connection, None, "service_role")
        await connection.execute("insert into isobase.rooms (id) values ('den')")
        for _ in range(2):
            await connection.execute(
                "insert into isobase.room_messages (room_id, sender, body, client_id) values ('den', $1, '1', 'c')", BOB
            )
        await connection.execute(
            "insert into isobase.room_messages (room_id, body, client_id) values ('den', '2', 'c')"
        )
        rows = await connection.fetch("select seq, sender from isobase.room_messages order by seq")
        assert [tuple(row) for row in rows] == [(1, BOB), (2, None)]
        assert [event for event, _ in await told(connection)] == ["room", "message", "message"]


async def test_a_deleted_account_leaves_its_rooms_and_what_it_said_stays(shared: Sessions) -> None:
    async with shared.rolled_back() as connection:
        await connection.execute("insert into auth.users (id) values ($1)", ALICE)
        await act_as(connection, ALICE)
        await connection.execute("insert into isobase.rooms (id) values ('den')")
        await connection.execute("insert into isobase.room_messages (room_id, body) values ('den', '1')")
        await connection.execute("reset role")
        await connection.execute("delete from auth.users where id = $1", ALICE)
        assert await connection.fetchval("select count(*) from isobase.room_members") == 0
        assert await connection.fetchval("select count(*) from isobase.room_reads") == 0
        assert await connection.fetchval("select sender from isobase.room_messages") == ALICE


async def test_the_last_owner_stays_unless_the_room_goes(shared: Sessions) -> None:
    async with shared.rolled_back() as connection:
        await act_as(connection, ALICE)
        await connection.execute("insert into isobase.rooms (id) values ('den')")
        savepoint = connection.transaction()
        await savepoint.start()
        with pytest.raises(asyncpg.CheckViolationError, match="keeps at least one owner"):
            await connection.execute("delete from isobase.room_members")
        await savepoint.rollback()
        await connection.execute("delete from isobase.rooms")
        events = await told(connection)
        assert [(event, payload["change"]) for event, payload in events][-1] == ("room", "deleted")
        assert ("member", "removed") not in [(event, payload["change"]) for event, payload in events]


async def test_a_view_with_the_callers_rights_opens_messages_to_the_data_api(shared: Sessions) -> None:
    async with shared.rolled_back() as connection:
        await connection.execute("set local role postgres")
        await connection.execute(
            "create view public.chat_messages with (security_invoker = on) as"
            " select room_id, seq, sender, body, created_at from isobase.room_messages"
        )
        await act_as(connection, ALICE)
        await connection.execute("insert into isobase.rooms (id) values ('den')")
        await connection.execute("insert into public.chat_messages (room_id, body) values ('den', '1')")
        assert await connection.fetchval("select count(*) from public.chat_messages") == 1
        await act_as(connection, BOB)
        assert await connection.fetchval("select count(*) from public.chat_messages") == 0
