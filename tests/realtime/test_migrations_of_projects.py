"""What migrations of Supabase projects do with the realtime schema and its publications, run as role postgres as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.realtime.client import Phoenix
from tests.realtime.conftest import ALICE, BOB, Stack

# As the documentation of Supabase has it: policies on realtime.messages, a trigger that broadcasts changes of rows.
AUTHORIZATION = """
alter table realtime.messages enable row level security;
drop policy if exists "members listen" on "realtime"."messages";
create policy "members listen" on "realtime"."messages" for select to authenticated
  using (realtime.topic() like 'topic:%' and realtime.messages.extension in ('broadcast', 'presence'));
alter policy "members listen" on realtime.messages using (realtime.topic() like 'topic:%');
grant usage on schema realtime to authenticated;

create or replace function public.board_changes() returns trigger security definer language plpgsql as $$
begin
  perform realtime.broadcast_changes(
    'topic:' || coalesce(new.id, old.id)::text, tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
  return null;
end;
$$;
create trigger board_changes after insert or update or delete on public.board
  for each row execute function public.board_changes();
"""
REMAKE_PUBLICATION = """
begin;
  drop publication if exists supabase_realtime;
  create publication supabase_realtime;
commit;
alter publication supabase_realtime add table public.board;
alter publication supabase_realtime add table public.notes;
alter publication supabase_realtime drop table public.notes;
"""


@asynccontextmanager
async def as_postgres(stack: Stack) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the role of migrations."""
    connection = await asyncpg.connect(stack.settings.dsn(None))
    try:
        await connection.execute("set session authorization postgres")
        yield connection
    finally:
        await connection.close()


async def reader(stack: Stack, topic: str) -> Phoenix:
    socket = await stack.connect()
    reply = await socket.join(topic, token=stack.token(ALICE), private=True, broadcast={"replication_ready": True})
    assert reply.payload["status"] == "ok", reply
    await socket.event("system")
    return socket


async def test_policies_and_triggers_of_a_project_broadcast_its_changes(stack: Stack) -> None:
    async with as_postgres(stack) as migration:
        await migration.execute(AUTHORIZATION)
    socket = await reader(stack, "topic:7")
    # Somebody who may not write to the channel writes to the table: the trigger's function sends with its owner's rights.
    async with stack.owner.transaction():
        await stack.sql("set local role authenticated")
        await stack.sql("insert into public.board (id, body, rank) overriding system value values (7, 'new', 1)")
        await stack.sql("update public.board set body = 'changed' where id = 7")
        await stack.sql("delete from public.board where id = 7")
    new, changed = {"id": 7, "body": "new", "rank": 1}, {"id": 7, "body": "changed", "rank": 1}
    for operation, record, old_record in (
        ("INSERT", new, None),
        ("UPDATE", changed, new),
        ("DELETE", None, changed),
    ):
        payload = (await socket.event("broadcast")).payload
        identifier = payload["meta"]["id"]
        assert payload == {
            "type": "broadcast",
            "event": operation,
            "payload": {
                "id": identifier,
                "record": record,
                "old_record": old_record,
                "operation": operation,
                "table": "board",
                "schema": "public",
            },
            "meta": {"id": identifier},
        }


async def test_broadcast_of_what_is_no_change_of_a_row_raises(stack: Stack) -> None:
    statement = (
        "select realtime.broadcast_changes('t', 'e', $1, 'board', 'public', null::public.board, null::public.board, $2)"
    )
    for operation, level, reason in (
        ("INSERT", "STATEMENT", "function can only be triggered for each row, not for each statement"),
        ("TRUNCATE", "ROW", "Unexpected operation type: TRUNCATE"),
    ):
        with pytest.raises(asyncpg.RaiseError, match=f"Failed to process the row: {reason}"):
            await stack.sql(statement, operation, level)


async def test_sender_without_the_right_is_warned_and_its_transaction_goes_on(stack: Stack) -> None:
    warnings: list[str] = []

    def remember(_connection: Any, message: Any) -> None:
        warnings.append(message.message)

    stack.owner.add_log_listener(remember)
    async with stack.owner.transaction():
        await stack.sql("set local role authenticated")
        await stack.sql("insert into public.board (body) values ('kept')")
        await stack.sql("select realtime.send('{}'::jsonb, 'e', 'topic:1')")
        await stack.sql("select realtime.send_binary('\\x00'::bytea, 'e', 'topic:1')")
    stack.owner.remove_log_listener(remember)
    denied = 'WarnSendingBroadcastMessage: new row violates row-level security policy for table "messages"'
    assert warnings == [denied, denied]
    assert len(await stack.sql("select from public.board where body = 'kept'")) == 1
    assert await stack.sql("select from realtime.messages") == []


async def test_publication_that_a_migration_makes_anew_is_streamed_on(stack: Stack) -> None:
    # As if migrations had made the tables too.
    await stack.sql("alter table public.board owner to postgres")
    await stack.sql("alter table public.notes owner to postgres")
    socket = await stack.connect()
    await socket.subscribe("a", {"event": "*", "schema": "public", "table": "board"})
    await stack.sql("insert into public.board (body) values ('before')")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "before"
    async with as_postgres(stack) as migration:
        for statement in REMAKE_PUBLICATION.strip().split(";\n"):
            await migration.execute(statement)
    await stack.sql("insert into public.notes (owner, body) values ($1, 'unpublished')", BOB)
    await stack.sql("insert into public.board (body) values ('after')")
    got = await socket.event("postgres_changes")
    assert got.payload["data"]["record"]["body"] == "after"


async def test_columns_and_rights_of_messages_are_those_of_upstream(stack: Stack) -> None:
    columns = await stack.sql(
        "select column_name, udt_name, is_nullable = 'YES' from information_schema.columns"
        " where table_schema = 'realtime' and table_name = 'messages' order by ordinal_position"
    )
    assert [tuple(row) for row in columns] == [
        ("topic", "text", False),
        ("extension", "text", False),
        ("payload", "jsonb", True),
        ("event", "text", True),
        ("private", "bool", True),
        ("updated_at", "timestamp", False),
        ("inserted_at", "timestamp", False),
        ("id", "uuid", False),
        ("binary_payload", "bytea", True),
    ]
    for role in ("anon", "authenticated", "service_role"):
        rights = await stack.sql(
            "select array_agg(right_ order by right_) filter (where has_table_privilege($1, 'realtime.messages', right_))"
            " from unnest(array['DELETE', 'INSERT', 'SELECT', 'TRUNCATE', 'UPDATE']) as right_",
            role,
        )
        assert rights[0][0] == ["INSERT", "SELECT", "UPDATE"], role
    functions = await stack.sql(
        "select p.proname || '(' || pg_get_function_arguments(p.oid) || ')' from pg_proc as p"
        " where p.pronamespace = 'realtime'::regnamespace and not p.prosecdef"
        " and p.proname in ('send', 'send_binary', 'broadcast_changes', 'topic') order by 1"
    )
    assert [row[0] for row in functions] == [
        "broadcast_changes(topic_name text, event_name text, operation text, table_name text, table_schema text, new record,"
        " old record, level text DEFAULT 'ROW'::text)",
        "send(payload jsonb, event text, topic text, private boolean DEFAULT true)",
        "send_binary(payload bytea, event text, topic text, private boolean DEFAULT true)",
        "topic()",
    ]
    owners = await stack.sql(
        "select distinct pg_get_userbyid(relowner) from pg_class where relnamespace = 'realtime'::regnamespace"
    )
    assert [row[0] for row in owners] == ["supabase_realtime_admin"]
    publications = await stack.sql("select pubname, pg_get_userbyid(pubowner) from pg_publication order by 1")
    assert [tuple(row) for row in publications] == [
        ("supabase_realtime", "postgres"),
        ("supabase_realtime_messages_publication", "supabase_admin"),
    ]
