"""A change is handed on only when everybody can see its transaction."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from isobase_services.realtime.changes.snapshot import parse_snapshot
from tests.realtime.conftest import ALICE, Stack

NOTES = {"event": "*", "schema": "public", "table": "notes"}
BOARD = {"event": "*", "schema": "public", "table": "board"}
EPOCH = 2**32


@pytest.mark.parametrize(
    ("snapshot", "xid", "is_visible"),
    [
        ("700:710:", 709, True),
        ("700:710:", 710, False),
        ("700:710:", 711, False),
        ("700:710:700,705", 705, False),
        ("700:710:700,705", 704, True),
        (f"{EPOCH + 3}:{EPOCH + 9}:{EPOCH + 3}", 4, True),
        (f"{EPOCH + 3}:{EPOCH + 9}:{EPOCH + 3}", 3, False),
        (f"{EPOCH + 3}:{EPOCH + 9}:", EPOCH - 1, True),
        (f"{EPOCH - 3}:{EPOCH - 1}:", 3, False),
        (f"{EPOCH - 2}:{EPOCH + 4}:{EPOCH - 2}", EPOCH - 2, False),
    ],
)
def test_snapshot_says_which_transactions_are_finished(snapshot: str, xid: int, is_visible: bool) -> None:
    assert parse_snapshot(snapshot).shows(xid) is is_visible


async def commits_wait(stack: Stack) -> None:
    """Return once a commit waits for the standby: a process of the server's own decides that some time after the reload."""
    async with asyncio.timeout(60):
        while True:
            probe = await asyncpg.connect(stack.settings.dsn(None), server_settings={"synchronous_commit": "on"})
            writing = asyncio.create_task(probe.execute("create table if not exists public.probe (n int)"))
            while not writing.done():
                if await stack.sql("select from pg_stat_activity where wait_event = 'SyncRep'"):
                    writing.add_done_callback(lambda _done: probe.terminate())  # noqa: B023
                    return
                await asyncio.sleep(0.01)
            await probe.execute("drop table public.probe")
            await probe.close()


async def test_change_that_is_in_the_log_but_not_visible_yet_is_held_back_and_not_lost(stack: Stack) -> None:
    alice, anon = await stack.connect(), await stack.connect()
    await alice.subscribe("a", NOTES, token=stack.token(ALICE))
    await anon.subscribe("a", BOARD)
    writer = await asyncpg.connect(stack.settings.dsn(None))
    # A standby that never comes: the commit is written and decoded, and the backend waits before it tells the others.
    await stack.sql("alter system set synchronous_standby_names = 'nobody'")
    try:
        await stack.sql("select pg_reload_conf()")
        await writer.execute("set synchronous_commit = on")
        async with asyncio.timeout(60):
            while await writer.fetchval("show synchronous_standby_names") != "nobody":
                await asyncio.sleep(0.01)
        await commits_wait(stack)
        writing = asyncio.create_task(
            writer.execute(
                f"insert into notes (owner, body) values ('{ALICE}', 'mine'); insert into board (body) values ('ours')"
            )
        )
        async with asyncio.timeout(60):
            while len(await stack.sql("select from pg_stat_activity where wait_event = 'SyncRep'")) < 2:
                await asyncio.sleep(0.01)
        await asyncio.gather(alice.nothing("postgres_changes", 0.5), anon.nothing("postgres_changes", 0.5))
        assert not writing.done()
    finally:
        await stack.sql("alter system reset synchronous_standby_names")
        await stack.sql("select pg_reload_conf()")
    await writing
    await writer.close()
    assert (await alice.event("postgres_changes")).payload["data"]["record"]["body"] == "mine"
    assert (await anon.event("postgres_changes")).payload["data"]["record"]["body"] == "ours"


async def test_changes_wait_for_a_database_that_is_away_and_are_not_given_up(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isobase_services.realtime.changes.pipeline.DELIVERY_RETRY_DELAYS_S", (0.01,))
    await stack.sql("create policy p on notes for select using (length(body) > 2 and owner = auth.uid())")
    await stack.sql('drop policy "owners read" on notes')
    alice = await stack.connect()
    await alice.subscribe("a", NOTES, token=stack.token(ALICE))
    # The role of users can log in no more: policies cannot be asked, while the stream itself goes on.
    await stack.sql("alter role authenticator connection limit 0")
    try:
        stack.platform.door.renew_connections()
        await stack.sql("insert into notes (owner, body) values ($1, 'kept')", ALICE)
        await alice.nothing("postgres_changes", 1.0)
    finally:
        await stack.sql("alter role authenticator connection limit -1")
    assert (await alice.event("postgres_changes")).payload["data"]["record"]["body"] == "kept"
