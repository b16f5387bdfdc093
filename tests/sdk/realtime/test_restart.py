"""The server ends and starts again under an async and a sync client that listen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from isobase.realtime import AsyncRealtimeClient, RealtimeSubscribeStates, SyncRealtimeClient
from tests.plugins.stack import Stack, StackProcess
from tests.sdk.realtime.conftest import Events

SUBSCRIBED = RealtimeSubscribeStates.SUBSCRIBED
TABLE = """
create table public.events (id bigint generated always as identity primary key, n integer);
grant select on public.events to anon, service_role;
alter publication supabase_realtime add table public.events;
"""


async def run(stack: Stack, sql: str) -> None:
    connection = await asyncpg.connect(stack.admin_dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.mark.fault
@pytest.mark.timeout(300)
async def test_a_restarted_server_is_found_again_and_nothing_comes_twice(project_dir: Path) -> None:
    process = StackProcess(project_dir)
    stack = await asyncio.to_thread(process.start)
    try:
        await run(stack, TABLE)
        url, key = f"{stack.url}/realtime/v1", stack.service_role_key
        heard, sync_heard, live, states, sync_states = Events(), Events(), Events(), Events(), Events()
        async with AsyncRealtimeClient(url, key, reconnect_after=lambda _: 0.2) as client:
            sync_client = SyncRealtimeClient(url, key, reconnect_after=lambda _: 0.2)
            listening = client.channel("t").on_postgres_changes("INSERT", heard, table="events").on_system(live)
            await listening.subscribe(states)
            sync_channel = sync_client.channel("t").on_postgres_changes("INSERT", sync_heard, table="events")
            await asyncio.to_thread(sync_channel.on_system(live).subscribe, sync_states)
            await live.until(live.count(2))
            await run(stack, "insert into public.events (n) values (1)")
            await heard.until(heard.count(1))
            await sync_heard.until(sync_heard.count(1))

            await asyncio.to_thread(process.stop)
            live.seen.clear()
            stack = await asyncio.to_thread(process.start)
            await live.until(live.count(2))
            await run(stack, "insert into public.events (n) values (2)")
            await heard.until(heard.count(2))
            await sync_heard.until(sync_heard.count(2))
            await asyncio.to_thread(sync_client.close)
    finally:
        await asyncio.to_thread(process.stop)
    for each in (heard, sync_heard):
        assert [payload["data"]["record"]["n"] for payload in each.seen] == [1, 2]
    for each in (states, sync_states):
        assert each.seen[0] == each.seen[-1] == (SUBSCRIBED, None)
