"""Messages sent from SQL, and the partitions they are kept in."""

from __future__ import annotations

import asyncio
import json
from uuid import UUID

import asyncpg
import pytest

from tests.schema.conftest import ALICE, BOB, Sessions


async def test_send_stores_a_private_broadcast_whose_payload_carries_its_id(shared: Sessions) -> None:
    async with shared.rolled_back("postgres") as postgres:
        await postgres.execute("""select realtime.send('{"text": "hello"}', 'greeting', 'room:1')""")
        row = await postgres.fetchrow("select * from realtime.messages")
    assert row is not None
    assert (row["topic"], row["event"], row["extension"], row["private"]) == ("room:1", "greeting", "broadcast", True)
    assert json.loads(row["payload"]) == {"text": "hello", "id": str(row["id"])}
    assert row["binary_payload"] is None


@pytest.mark.parametrize("payload", ['{"id": "mine"}', '["id"]'])
async def test_send_leaves_a_payload_with_an_id_as_it_is(shared: Sessions, payload: str) -> None:
    async with shared.rolled_back("postgres") as postgres:
        await postgres.execute("select realtime.send($1::jsonb, 'e', 't', false)", payload)
        row = await postgres.fetchrow("select payload, private from realtime.messages")
    assert row is not None
    assert json.loads(row["payload"]) == json.loads(payload)
    assert row["private"] is False


@pytest.mark.parametrize("payload", ["[1, 2]", '"text"', "5", "null"])
async def test_a_payload_that_can_have_no_id_is_not_sent_and_warns(shared: Sessions, payload: str) -> None:
    warnings: list[str] = []
    async with shared.rolled_back("postgres") as postgres:
        postgres.add_log_listener(lambda _, message: warnings.append(str(message)))
        await postgres.execute("select realtime.send($1::jsonb, 'e', 't', false)", payload)
        assert await postgres.fetchval("select count(*) from realtime.messages") == 0
        await asyncio.sleep(0)
    assert any("WarnSendingBroadcastMessage" in warning for warning in warnings)


async def test_send_binary_stores_bytes(shared: Sessions) -> None:
    async with shared.rolled_back("postgres") as postgres:
        await postgres.execute("select realtime.send_binary('\\x00ff', 'e', 't')")
        row = await postgres.fetchrow("select payload, binary_payload from realtime.messages")
    assert tuple(row or ()) == (None, b"\x00\xff")


async def test_a_send_that_is_refused_warns_and_lets_the_transaction_go_on(shared: Sessions) -> None:
    warnings: list[str] = []
    async with shared.caller("anon") as anon:
        anon.add_log_listener(lambda _, message: warnings.append(str(message)))
        await anon.execute("""select realtime.send('{}', 'e', 't')""")
        assert await anon.fetchval("select 1") == 1
        await asyncio.sleep(0)
    assert any("WarnSendingBroadcastMessage" in warning and "row-level security" in warning for warning in warnings)


async def test_send_is_allowed_by_a_policy_on_the_topic(sessions: Sessions) -> None:
    async with sessions.login("postgres") as postgres:
        await postgres.execute(
            "create policy own on realtime.messages to authenticated"
            " using (realtime.topic() = 'user:' || auth.uid()) with check (realtime.topic() = 'user:' || auth.uid())"
        )
    for user, seen in ((ALICE, 1), (BOB, 0)):
        async with sessions.caller("authenticated", user) as caller:
            await caller.execute("select realtime.send('{}', 'e', $1)", f"user:{ALICE}")
            assert await caller.fetchval("select count(*) from realtime.messages") == seen


async def test_broadcast_changes_sends_the_row_before_and_after(shared: Sessions) -> None:
    async with shared.rolled_back("postgres") as postgres:
        await postgres.execute("""
            create table public.notes (id int primary key, body text);
            create function public.announce() returns trigger language plpgsql security definer set search_path = '' as $$
            begin
              perform realtime.broadcast_changes(
                'notes', tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
              return null;
            end $$;
            create trigger announce after insert or update or delete on public.notes
              for each row execute function public.announce();
            insert into public.notes values (1, 'a');
            update public.notes set body = 'b';
            delete from public.notes;
        """)
        rows = await postgres.fetch(
            "select event, payload, private from realtime.messages order by payload ->> 'operation'"
        )
    seen = {row["event"]: json.loads(row["payload"]) for row in rows}
    assert all(row["private"] for row in rows)
    for payload in seen.values():
        UUID(payload.pop("id"))
    base = {"table": "notes", "schema": "public"}
    before, after = {"id": 1, "body": "a"}, {"id": 1, "body": "b"}
    assert seen == {
        "INSERT": {**base, "operation": "INSERT", "record": before, "old_record": None},
        "UPDATE": {**base, "operation": "UPDATE", "record": after, "old_record": before},
        "DELETE": {**base, "operation": "DELETE", "record": None, "old_record": after},
    }


@pytest.mark.parametrize(
    ("operation", "level", "message"),
    [("TRUNCATE", "ROW", "Unexpected operation"), ("INSERT", "STATEMENT", "for each row")],
)
async def test_broadcast_changes_refuses_what_is_no_row_change(
    shared: Sessions, operation: str, level: str, message: str
) -> None:
    async with shared.rolled_back("postgres") as postgres:
        with pytest.raises(asyncpg.RaiseError, match=message):
            await postgres.execute(
                f"select realtime.broadcast_changes('t', 'e', '{operation}', 't', 'public', row(1), row(1), '{level}')"
            )


async def test_topic_is_the_setting_or_null(shared: Sessions) -> None:
    async with shared.login("postgres") as postgres, postgres.transaction():
        assert await postgres.fetchval("select realtime.topic()") is None
        await postgres.execute("set local realtime.topic to 'room:1'")
        assert await postgres.fetchval("select realtime.topic()") == "room:1"


async def test_partitions_reach_from_yesterday_to_three_days_ahead_and_old_ones_go(sessions: Sessions) -> None:
    count = "select count(*) from pg_inherits where inhparent = 'realtime.messages'::regclass"
    async with sessions.login() as owner:
        await owner.execute("set time zone 'UTC'")
        assert await owner.fetchval(count) == 5
        assert await owner.fetchval("select realtime.ensure_partitions()") == 0
        await owner.execute(
            "set role supabase_realtime_admin;"
            " create table realtime.messages_2020_01_01 partition of realtime.messages"
            " for values from ('2020-01-01') to ('2020-01-02'); reset role"
        )
        today = await owner.fetchval("select to_char(now(), 'YYYY_MM_DD')")
        await owner.execute(f"drop table realtime.messages_{today}")
        assert await owner.fetchval("select realtime.ensure_partitions()") == 1
        assert await owner.fetchval(count) == 5
        assert await owner.fetchval("select to_regclass('realtime.messages_2020_01_01')") is None


async def test_send_makes_the_partitions_when_no_service_has_run_for_days(sessions: Sessions) -> None:
    async with sessions.login() as owner:
        for (name,) in await owner.fetch(
            "select inhrelid::regclass::text from pg_inherits where inhparent = 'realtime.messages'::regclass"
        ):
            await owner.execute(f"drop table {name}")
    async with sessions.login("postgres") as postgres:
        await postgres.execute("select realtime.send('{}', 'e', 't')")
        assert await postgres.fetchval("select count(*) from realtime.messages") == 1


async def test_nobody_reads_a_partition_past_the_policies_of_its_parent(shared: Sessions) -> None:
    async with shared.login() as owner:
        (name, *_) = [
            row[0]
            for row in await owner.fetch(
                "select inhrelid::regclass::text from pg_inherits where inhparent = 'realtime.messages'::regclass"
            )
        ]
    for role in ("anon", "authenticated"):
        async with shared.caller(role, ALICE) as caller:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await caller.fetch(f"select * from {name}")
