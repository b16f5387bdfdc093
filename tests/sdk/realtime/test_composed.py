"""Realtime of the composed client: channels know whom the auth client has signed in."""

from __future__ import annotations

import asyncio
import uuid

import asyncpg
import pytest

from isobase import create_async_client, create_client
from isobase.realtime import RealtimeChannelOptions, RealtimeSubscribeStates
from tests.plugins.stack import Stack
from tests.sdk.realtime.conftest import Events

SUBSCRIBED = RealtimeSubscribeStates.SUBSCRIBED
PRIVATE: RealtimeChannelOptions = {"config": {"private": True, "broadcast": {"self": True, "ack": True}}}
MEMBERS_ALONE = """
drop policy if exists sdk_reads on realtime.messages;
drop policy if exists sdk_writes on realtime.messages;
create policy sdk_reads on realtime.messages for select to authenticated using (realtime.topic() like 'sdk-%');
create policy sdk_writes on realtime.messages for insert to authenticated with check (realtime.topic() like 'sdk-%');
"""


@pytest.fixture
async def policies(stack: Stack) -> None:
    connection = await asyncpg.connect(stack.admin_dsn)
    try:
        await connection.execute(MEMBERS_ALONE)
    finally:
        await connection.close()


@pytest.mark.usefixtures("policies")
async def test_a_private_channel_opens_to_who_signs_in_and_closes_to_who_signs_out(stack: Stack) -> None:
    states, heard, refused = Events(), Events(), Events()
    client = await create_async_client(stack.url, stack.anon_key)
    try:
        await client.channel("sdk-early", PRIVATE).subscribe(refused)
        assert "Unauthorized" in str(refused.seen[0])
        await client.auth.sign_up({"email": f"{uuid.uuid4()}@example.com", "password": "correct horse"})
        channel = client.channel("sdk-members", PRIVATE).on_broadcast("e", heard)
        await channel.subscribe(states)
        await channel.send_broadcast("e", {"n": 1}, ack=True)
        await heard.until(heard.count(1))
        await client.auth.refresh_session()
        await channel.send_broadcast("e", {"n": 2}, ack=True)
        await heard.until(heard.count(2))
        await refused.until(lambda seen: seen[-1] == (SUBSCRIBED, None))  # joined again by itself, now with a user
    finally:
        await client.aclose()
    assert next(state for state, _ in states.seen) == SUBSCRIBED


@pytest.mark.usefixtures("policies")
async def test_the_sync_client_signs_in_and_listens(stack: Stack) -> None:
    def talk() -> list[int]:
        with create_client(stack.url, stack.anon_key) as client:
            client.auth.sign_up({"email": f"{uuid.uuid4()}@example.com", "password": "correct horse"})
            channel = client.channel("sdk-sync", PRIVATE)
            numbers = channel.broadcasts("e")
            channel.subscribe()
            channel.send_broadcast("e", {"n": 1}, ack=True)
            client.auth.refresh_session()
            channel.send_broadcast("e", {"n": 2}, ack=True)
            return [next(numbers)["payload"]["n"], next(numbers)["payload"]["n"]]

    assert await asyncio.to_thread(talk) == [1, 2]
