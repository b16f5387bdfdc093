"""Row changes under row-level security: who gets what, and in which shape."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import asyncpg
import pytest

from tests.plugins.patience import until
from tests.realtime.client import Phoenix
from tests.realtime.conftest import ALICE, BOB, Stack, StackFactory

NOTES = {"event": "*", "schema": "public", "table": "notes"}
BOARD = {"event": "*", "schema": "public", "table": "board"}


def data_of(socket: Phoenix) -> list[dict[str, Any]]:
    return [item.payload["data"] for item in socket.events("postgres_changes")]


async def test_owner_gets_the_row_and_stranger_and_anon_get_nothing(stack: Stack) -> None:
    alice, bob, anon = await stack.connect(), await stack.connect(vsn=None), await stack.connect(vsn="1.0.0")
    await alice.subscribe("a", NOTES, token=stack.token(ALICE))
    await bob.subscribe("a", NOTES, token=stack.token(BOB))
    await anon.subscribe("a", NOTES)
    await stack.sql("insert into notes (owner, body, rank) values ($1, 'mine', 3)", ALICE)
    event = await alice.event("postgres_changes")
    assert event.join_ref is None
    assert event.ref is None
    data = event.payload["data"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data.pop("commit_timestamp"))
    assert data == {
        "schema": "public",
        "table": "notes",
        "type": "INSERT",
        "columns": [
            {"name": "id", "type": "int8"},
            {"name": "owner", "type": "uuid"},
            {"name": "body", "type": "text"},
            {"name": "rank", "type": "int4"},
        ],
        "record": {"id": 1, "owner": ALICE, "body": "mine", "rank": 3},
        "errors": None,
    }
    await stack.sql("update notes set body = 'still mine'")
    await alice.event("postgres_changes")
    await asyncio.gather(bob.nothing("postgres_changes"), anon.nothing("postgres_changes"))
    assert bob.events("postgres_changes") == []
    assert anon.events("postgres_changes") == []


async def test_join_reply_echoes_each_entry_in_order_with_its_id(stack: Stack) -> None:
    socket = await stack.connect()
    entries = [
        {"event": "INSERT", "schema": "public", "table": "board", "filter": "rank=eq.1"},
        dict(BOARD),
        dict(NOTES),
    ]
    reply = await socket.subscribe("a", *entries)
    echoed = reply.payload["response"]["postgres_changes"]
    assert [{name: value for name, value in entry.items() if name != "id"} for entry in echoed] == entries
    ids = [entry["id"] for entry in echoed]
    assert all(isinstance(identifier, int) and identifier > 0 for identifier in ids)
    other = await stack.connect(vsn=None)
    again = await other.subscribe("b", *entries)
    assert [entry["id"] for entry in again.payload["response"]["postgres_changes"]] == ids
    await stack.sql("insert into board (body, rank) values ('x', 1)")
    event = await socket.event("postgres_changes")
    assert sorted(event.payload["ids"]) == sorted(ids[:2])


async def test_null_entries_mean_no_subscription(stack: Stack) -> None:
    socket = await stack.connect()
    for changes in (None, [None], []):
        reply = await socket.join("a", postgres_changes=changes)
        assert reply.payload == {"status": "ok", "response": {"postgres_changes": []}}
    await socket.nothing("system")


async def test_update_and_delete_carry_the_primary_key_under_the_default_identity(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    await stack.sql("insert into board (body, rank) values ('x', 1)")
    await stack.sql("update board set rank = 2")
    await stack.sql("update board set id = 10")
    await stack.sql("delete from board")
    await socket.wait_for(lambda item: item.event == "postgres_changes" and item.payload["data"]["type"] == "DELETE")
    insert, update, moved, delete = data_of(socket)
    assert "old_record" not in insert
    assert (update["record"], update["old_record"]) == ({"id": 1, "body": "x", "rank": 2}, {"id": 1})
    assert (moved["record"]["id"], moved["old_record"]) == (10, {"id": 1})
    assert delete["old_record"] == {"id": 10}
    assert "record" not in delete
    assert all("errors" in data and data["errors"] is None for data in (insert, update, moved, delete))


async def test_full_identity_gives_old_rows_but_under_rls_a_delete_shows_the_key_only(stack: Stack) -> None:
    await stack.sql("alter table board replica identity full")
    await stack.sql("alter table notes replica identity full")
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    await socket.subscribe("b", NOTES, token=stack.token(BOB))
    await stack.sql("insert into board (body, rank) values ('x', 1)")
    await stack.sql("update board set rank = 2")
    await stack.sql("delete from board")
    await stack.sql("insert into notes (owner, body) values ($1, 'secret')", ALICE)
    await stack.sql("delete from notes")
    await socket.wait_for(lambda item: item.event == "postgres_changes" and item.topic == "realtime:b")
    board = [data for data in data_of(socket) if data["table"] == "board"]
    assert board[1]["old_record"] == {"id": 1, "body": "x", "rank": 1}
    assert board[2]["old_record"] == {"id": 1, "body": "x", "rank": 2}
    notes = [data for data in data_of(socket) if data["table"] == "notes"]
    # Upstream tells every subscriber of the table that a row is gone, by its key alone.
    assert [(data["type"], data["old_record"]) for data in notes] == [("DELETE", {"id": 1})]


async def test_unchanged_large_value_is_absent_unless_the_identity_is_full(stack: Stack) -> None:
    await stack.sql("alter table board alter column body set storage external")
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    large = "x" * 20_000
    await stack.sql("insert into board (body, rank) values ($1, 1)", large)
    await stack.sql("update board set rank = 2")
    await stack.sql("alter table board replica identity full")
    await stack.sql("update board set rank = 3")
    await socket.wait_for(lambda item: item.event == "postgres_changes" and item.payload["data"]["record"]["rank"] == 3)
    insert, default, full = data_of(socket)
    assert insert["record"]["body"] == large
    assert default["record"] == {"id": 1, "rank": 2}
    assert full["record"] == {"id": 1, "body": large, "rank": 3}


async def test_oversized_change_keeps_its_small_values_and_says_413(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    await stack.sql("insert into board (body, rank) values (repeat('x', 1100000), 1)")
    data = (await socket.event("postgres_changes")).payload["data"]
    assert data["errors"] == ["Error 413: Payload Too Large"]
    assert data["record"] == {"id": 1, "rank": 1}
    await stack.sql("insert into board (body) values (repeat('x', 1100000))")
    assert (await socket.event("postgres_changes")).payload["data"]["record"] == {"id": 2}


async def test_table_without_a_primary_key_gives_an_error_and_no_content(stack: Stack) -> None:
    await stack.sql("create table keyless (body text)")
    await stack.sql("alter table keyless replica identity full")
    await stack.sql("grant select on keyless to anon")
    await stack.sql("alter publication supabase_realtime add table keyless")
    socket = await stack.connect()
    await socket.subscribe("a", {"event": "*", "schema": "public", "table": "keyless"})
    await stack.sql("insert into keyless values ('x')")
    data = (await socket.event("postgres_changes")).payload["data"]
    assert data["errors"] == ["Error 400: Bad Request, no primary key"]
    assert (data["columns"], data["record"]) == ([], {})


async def test_role_without_a_right_to_the_key_gets_401_and_no_content(stack: Stack) -> None:
    await stack.sql("revoke select on board from anon")
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    await stack.sql("insert into board (body) values ('secret')")
    data = (await socket.event("postgres_changes")).payload["data"]
    assert data["errors"] == ["Error 401: Unauthorized"]
    assert "secret" not in json.dumps(data)


async def test_columns_that_a_role_may_not_select_are_left_out(stack: Stack) -> None:
    await stack.sql("revoke select on board from anon")
    await stack.sql("grant select (id, rank) on board to anon")
    anon, alice = await stack.connect(), await stack.connect()
    await anon.subscribe("a", BOARD)
    await alice.subscribe("a", BOARD, token=stack.token(ALICE))
    await stack.sql("insert into board (body, rank) values ('secret', 1)")
    shown = (await anon.event("postgres_changes")).payload["data"]
    assert shown["record"] == {"id": 1, "rank": 1}
    assert [column["name"] for column in shown["columns"]] == ["id", "rank"]
    assert (await alice.event("postgres_changes")).payload["data"]["record"]["body"] == "secret"


async def test_right_revoked_while_subscribed_hides_the_column_from_then_on(stack: Stack) -> None:
    anon = await stack.connect()
    await anon.subscribe("a", BOARD)
    await stack.sql("insert into board (body) values ('open')")
    assert (await anon.event("postgres_changes")).payload["data"]["record"]["body"] == "open"
    await stack.sql("revoke select on board from anon")
    await stack.sql("grant select (id) on board to anon")
    await stack.sql("insert into board (body) values ('secret')")
    assert (await anon.event("postgres_changes")).payload["data"]["record"] == {"id": 2}


async def test_row_security_switched_on_while_subscribed_counts_from_then_on(stack: Stack) -> None:
    anon, server = await stack.connect(), await stack.connect()
    await anon.subscribe("a", BOARD)
    await server.subscribe("a", BOARD, token=stack.token(role="service_role"))
    await stack.sql("insert into board (body) values ('open')")
    await anon.event("postgres_changes")
    await stack.sql("alter table board enable row level security")
    await stack.sql("insert into board (body) values ('secret')")
    await server.wait_for(lambda item: item.event == "postgres_changes" and "secret" in str(item.payload))
    await stack.sql("alter table board disable row level security")
    await stack.sql("insert into board (body) values ('open again')")
    await anon.wait_for(lambda item: item.event == "postgres_changes" and "open again" in str(item.payload))
    assert "secret" not in str(anon.events("postgres_changes"))


async def test_selected_columns_and_the_key_are_all_that_is_sent(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("a", {**BOARD, "select": ["rank"]})
    await stack.sql("insert into board (body, rank) values ('x', 7)")
    data = (await socket.event("postgres_changes")).payload["data"]
    assert data["record"] == {"id": 1, "rank": 7}
    assert [column["name"] for column in data["columns"]] == ["id", "rank"]


async def test_event_chooses_the_kind_of_change(stack: Stack) -> None:
    socket = await stack.connect()
    expected = {
        "INSERT": ["INSERT"],
        "update": ["UPDATE"],
        "DELETE": ["DELETE"],
        "what": ["INSERT", "UPDATE", "DELETE"],
    }
    for event in expected:
        await socket.subscribe(event, {**BOARD, "event": event})
    await stack.sql("insert into board (body) values ('x')")
    await stack.sql("update board set rank = 2")
    await stack.sql("delete from board")
    await socket.wait_for(lambda i: i.topic == "realtime:what" and i.payload.get("data", {}).get("type") == "DELETE")
    got: dict[str, list[str]] = {}
    for item in socket.events("postgres_changes"):
        got.setdefault(item.topic.removeprefix("realtime:"), []).append(item.payload["data"]["type"])
    assert got == expected


async def test_wildcards_reach_every_published_table_and_no_other(stack: Stack) -> None:
    await stack.sql("create schema other")
    await stack.sql("create table other.things (id int primary key)")
    await stack.sql("create table other.hidden (id int primary key)")
    await stack.sql("grant usage on schema other to anon")
    await stack.sql("grant select on other.things, other.hidden to anon")
    await stack.sql("alter publication supabase_realtime add table other.things")
    socket = await stack.connect()
    await socket.subscribe("public", {"event": "*", "schema": "public"})
    await socket.subscribe("all", {"event": "*", "schema": "*"})
    await socket.subscribe("default", {"event": "*", "table": "board"})
    await stack.sql("insert into other.hidden values (1)")
    await stack.sql("insert into other.things values (1)")
    await stack.sql("insert into board (body) values ('x')")
    await until(lambda: len(socket.events("postgres_changes")) >= 4)
    await socket.nothing("postgres_changes")
    got = sorted((i.topic, i.payload["data"]["table"]) for i in socket.events("postgres_changes"))
    assert got == [
        ("realtime:all", "board"),
        ("realtime:all", "things"),
        ("realtime:default", "board"),
        ("realtime:public", "board"),
    ]


async def test_service_role_sees_every_row(stack: Stack) -> None:
    socket = await stack.connect(apikey=stack.settings.service_role_token)
    await socket.subscribe("a", NOTES)
    await stack.sql("insert into notes (owner, body) values ($1, 'any')", ALICE)
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "any"


async def test_role_that_callers_may_not_take_gets_nothing(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("a", BOARD, token=stack.token(role="supabase_admin"))
    await stack.sql("insert into board (body) values ('x')")
    await socket.wait_for(lambda item: item.event == "postgres_changes")
    assert data_of(socket)[0]["record"] == {}
    assert data_of(socket)[0]["errors"] == ["Error 401: Unauthorized"]


async def test_truncate_is_not_delivered(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    await stack.sql("insert into board (body) values ('x')")
    await socket.event("postgres_changes")
    await stack.sql("truncate board")
    await socket.nothing("postgres_changes")


async def test_rows_that_their_transaction_says_are_copied_are_told_to_nobody(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    await stack.sql(
        "do $$ begin perform pg_logical_emit_message(true, 'isobase.carried', 'copied');"
        " insert into board (body) select 'old ' || n from generate_series(1, 2000) as n; end $$"
    )
    await stack.sql("insert into board (body) values ('new')")
    assert (await socket.event("postgres_changes")).payload["data"]["record"]["body"] == "new"
    await socket.nothing("postgres_changes")


async def test_changes_go_on_right_after_a_truncate(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("room", {"event": "*", "schema": "public", "table": "board"}, token=stack.token(ALICE))
    for number in range(5):
        await stack.sql("truncate public.board")
        await stack.sql("insert into public.board (body) values ($1)", f"after {number}")
    bodies = [(await socket.event("postgres_changes")).payload["data"]["record"]["body"] for _ in range(5)]
    assert bodies == [f"after {number}" for number in range(5)]


async def test_table_published_later_can_be_subscribed_to(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("first", BOARD)
    await stack.sql("create table late (id int primary key)")
    await stack.sql("grant select on late to anon")
    await stack.sql("alter publication supabase_realtime add table late")
    await socket.subscribe("a", {"event": "*", "schema": "public", "table": "late"})
    await stack.sql("insert into late values (1)")
    assert (await socket.event("postgres_changes")).payload["data"]["record"] == {"id": 1}


async def test_column_added_while_subscribed_is_delivered(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.subscribe("a", BOARD)
    await stack.sql("insert into board (body) values ('x')")
    await socket.event("postgres_changes")
    await stack.sql("alter table board add column extra text default 'e'")
    await stack.sql("alter table board rename column rank to level")
    await stack.sql("insert into board (body, level) values ('y', 4)")
    assert (await socket.event("postgres_changes")).payload["data"]["record"] == {
        "id": 2,
        "body": "y",
        "level": 4,
        "extra": "e",
    }


async def test_row_that_moves_out_of_sight_is_not_delivered_to_its_former_owner(stack: Stack) -> None:
    alice, bob = await stack.connect(), await stack.connect()
    await stack.sql("insert into notes (owner, body) values ($1, 'gift')", ALICE)
    await alice.subscribe("a", NOTES, token=stack.token(ALICE))
    await bob.subscribe("a", NOTES, token=stack.token(BOB))
    await stack.sql("update notes set owner = $1", BOB)
    assert (await bob.event("postgres_changes")).payload["data"]["record"]["owner"] == BOB
    await alice.nothing("postgres_changes")


async def test_composite_keys_and_odd_names_are_checked_under_rls(stack: Stack) -> None:
    await stack.sql(
        'create table public."Odd ""Table" ("Key A" text, "k,b" timestamptz, owner uuid, primary key ("Key A", "k,b"))'
    )
    await stack.sql('alter table public."Odd ""Table" enable row level security')
    await stack.sql('create policy p on public."Odd ""Table" for select using (owner = auth.uid())')
    await stack.sql('grant select on public."Odd ""Table" to authenticated')
    await stack.sql('alter publication supabase_realtime add table public."Odd ""Table"')
    alice, bob = await stack.connect(), await stack.connect()
    entry = {"event": "*", "schema": "public", "table": 'Odd "Table'}
    await alice.subscribe("a", entry, token=stack.token(ALICE))
    await bob.subscribe("a", entry, token=stack.token(BOB))
    await stack.sql(
        'insert into public."Odd ""Table" values ($1, now(), $2), ($3, now(), $4)', 'it\'s {"a"}', ALICE, "NULL", BOB
    )
    assert (await alice.event("postgres_changes")).payload["data"]["record"]["Key A"] == 'it\'s {"a"}'
    assert (await bob.event("postgres_changes")).payload["data"]["record"]["Key A"] == "NULL"
    await asyncio.gather(alice.nothing("postgres_changes", 0.1), bob.nothing("postgres_changes", 0.1))


async def test_leaving_ends_delivery(stack: Stack) -> None:
    socket = await stack.connect()
    joined = await socket.subscribe("a", BOARD)
    await socket.subscribe("b", BOARD)
    await socket.send("realtime:a", "phx_leave", {}, join_ref=joined.join_ref)
    await socket.event("phx_close")
    await stack.sql("insert into board (body) values ('x')")
    assert (await socket.event("postgres_changes")).topic == "realtime:b"
    assert {item.topic for item in socket.events("postgres_changes")} == {"realtime:b"}


@pytest.mark.parametrize("claim", ["iat", "jti"])
async def test_a_policy_may_tell_callers_apart_by_any_claim(stack: Stack, claim: str) -> None:
    told: list[dict[str, Any]] = [{claim: 1700000000}, {claim: 1700000001}]
    await stack.sql(f"create policy by_claim on notes for select using (auth.jwt() ->> '{claim}' = '1700000000')")
    socket = await stack.connect()
    await socket.subscribe("yes", NOTES, token=stack.token(BOB, **told[0]))
    await socket.subscribe("no", NOTES, token=stack.token(BOB, **told[1]))
    await stack.sql("insert into notes (owner, body) values ($1, 'for one token')", ALICE)
    await stack.sql("insert into notes (owner, body) values ($1, 'for both')", BOB)
    await socket.wait_for(lambda item: item.event == "postgres_changes" and item.topic == "realtime:no")
    seen = {(item.topic, item.payload["data"]["record"]["body"]) for item in socket.events("postgres_changes")}
    assert ("realtime:no", "for one token") not in seen
    assert ("realtime:yes", "for one token") in seen


async def test_the_care_for_partitions_runs_no_function_with_the_owners_rights(start_stack: StackFactory) -> None:
    first = await start_stack()
    await first.sql("create table public.seen (login text, is_superuser text)")
    await first.sql("grant insert on public.seen to public")
    # The role of migrations may replace the function, being a member of the role that owns it.
    migrations = await asyncpg.connect(first.settings.dsn("postgres"))
    await migrations.execute(
        "create or replace function realtime.ensure_partitions() returns integer language plpgsql as $$ begin"
        " insert into public.seen values (session_user, current_setting('is_superuser')); return 0; end $$;"
        "alter function realtime.ensure_partitions() security invoker"
    )
    await migrations.close()
    await start_stack()
    async with asyncio.timeout(60):
        while not (rows := await first.sql("select login, is_superuser from public.seen")):
            await asyncio.sleep(0.02)
    assert [tuple(row) for row in rows] == [("authenticator", "off")]
