"""Subscriptions over a network that goes wrong: none is lost, every row change and message is heard once and in order."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import closing

import httpx
import jwt
import psycopg2
import pytest

from isobase._acompat import asleep
from isobase._async.client import AsyncClient
from isobase._http import call_options
from isobase.realtime import BroadcastPayload, PostgresChangesPayload, RealtimeGap, SuccessSystemPayload
from isobase.rooms import AsyncRooms, Message
from tests.plugins.stack import Stack
from tests.plugins.wire_proxy import WireProxy
from tests.sdk.faults.conftest import FIRST_SEED, OPERATIONS, SEEDS, Ledger
from tests.sdk.faults.storm import Storm

WAIT_S = 60.0
STEPS = OPERATIONS * 2
STEP_S = 0.03
STORM = pytest.mark.parametrize("seed", [FIRST_SEED + seed for seed in SEEDS])


@pytest.fixture
async def client(network: WireProxy, stack: Stack, ledger: Ledger) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(network.url, stack.service_role_key) as client:
        yield client


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to hold"
        await asleep(0.02)


def insert_directly(stack: Stack, tag: str) -> None:
    """Add a row past the network."""
    with closing(psycopg2.connect(stack.admin_dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("insert into public.fault_rows (tag) values (%s)", (tag,))
        connection.commit()


@STORM
async def test_row_changes_of_a_storm_are_heard_once_and_in_order(
    client: AsyncClient, network: WireProxy, stack: Stack, ledger: Ledger, seed: int
) -> None:
    heard: list[str] = []
    systems: list[str] = []
    gaps: list[RealtimeGap] = []

    def on_insert(change: PostgresChangesPayload) -> None:
        record = change["data"].get("record") or {}
        if str(record.get("tag")).startswith(ledger.run):
            heard.append(str(record["tag"]))

    def on_system(payload: SuccessSystemPayload) -> None:
        systems.append(payload.message)

    channel = client.channel(f"rows-{ledger.run}")
    channel.on_postgres_changes("INSERT", on_insert, table="fault_rows").on_system(on_system).on_gap(gaps.append)
    await channel.subscribe()
    await until(lambda: "Subscribed to PostgreSQL" in systems)
    storm = Storm(network, seed)
    storm.begin()
    for number in range(STEPS):
        insert_directly(stack, ledger.tag(number))
        await asleep(STEP_S)
        if number == STEPS // 2:
            network.cut_all()
    storm.end()
    insert_directly(stack, ledger.tag("last"))
    await until(lambda: ledger.tag("last") in heard)
    assert heard == [*(ledger.tag(number) for number in range(STEPS)), ledger.tag("last")]
    assert gaps == []
    print(f"seed {seed}: {storm.faults} faults, {network.accepted} connections, {len(heard)} row changes")


@STORM
async def test_a_broadcast_channel_works_again_after_a_storm(
    client: AsyncClient, network: WireProxy, stack: Stack, ledger: Ledger, seed: int
) -> None:
    heard: list[object] = []

    def on_news(message: BroadcastPayload) -> None:
        heard.append(message["payload"])

    await client.channel(f"news-{ledger.run}").on_broadcast("news", on_news).subscribe()
    storm = Storm(network, seed, rate=0.5)
    storm.begin()
    for _ in range(4):
        network.cut_all()
        await asleep(0.1)
    storm.end()
    headers = {"apikey": stack.service_role_key}
    news = {"messages": [{"topic": f"news-{ledger.run}", "event": "news", "payload": {"title": "again"}}]}
    deadline_s = time.monotonic() + WAIT_S
    async with httpx.AsyncClient(base_url=stack.url, headers=headers) as server:
        while not heard:
            assert time.monotonic() < deadline_s
            assert (await server.post("/realtime/v1/api/broadcast", json=news)).status_code == 202
            await asleep(0.1)
    assert heard[0] == {"title": "again"}


@STORM
async def test_a_room_in_a_storm_holds_every_message_once_and_tells_it_once(
    network: WireProxy, stack: Stack, seed: int
) -> None:
    async with httpx.AsyncClient(
        base_url=stack.url,
        headers={"apikey": stack.service_role_key, "Authorization": f"Bearer {stack.service_role_key}"},
    ) as admin:
        made = await admin.post(
            "/auth/v1/admin/users", json={"email": f"{uuid.uuid4()}@example.com", "email_confirm": True}
        )
    claims = {"sub": made.json()["id"], "role": "authenticated", "aud": "authenticated", "exp": int(time.time()) + 3600}
    headers = {"Authorization": f"Bearer {jwt.encode(claims, stack.jwt_secret, algorithm='HS256')}"}
    direct, stormy = AsyncRooms(stack.url, headers), AsyncRooms(network.url, headers)
    room_id = (await direct.create()).room_id
    heard: list[object] = []
    storm = Storm(network, seed)
    async with stormy.connect() as socket:
        room = await socket.join(room_id)
        storm.begin()
        for number in range(STEPS):
            await direct.send(room_id, f"server {number}")
            if number % 3 == 0:
                with call_options(timeout=WAIT_S):
                    await room.send(f"user {number}")
            if number == STEPS // 2:
                network.cut_all()
        storm.end()
        last = await direct.send(room_id, "last")
        while not (isinstance(event := await room.next_event(WAIT_S), Message) and event.seq == last.seq):
            if isinstance(event, Message):
                heard.append(event.message)
    stored: list[Message] = []
    more = True
    while more:
        page = await direct.history(room_id, after=stored[-1].seq if stored else 0, limit=200)
        stored += page.messages
        more = page.more
    said = [message.message for message in stored]
    assert heard == said[:-1]
    assert len(set(map(str, said))) == len(said) == STEPS + len(range(0, STEPS, 3)) + 1
    await direct.aclose()
    await stormy.aclose()
    print(f"seed {seed}: {storm.faults} faults, {network.accepted} connections, {len(said)} messages")
