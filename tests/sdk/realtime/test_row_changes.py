"""Row changes through the clients: filters, policies, iterators; replay over lost connections, and gaps that are told."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from isobase.realtime import (
    AsyncRealtimeChannel,
    AsyncRealtimeClient,
    PostgresChangesFilter,
    RealtimeBufferFullError,
    RealtimeGapReason,
    RealtimePostgresChangesListenEvent,
    RealtimeSubscribeStates,
    SyncRealtimeClient,
)
from isobase.realtime.wire import Frame
from tests.realtime.conftest import ALICE, BOB
from tests.sdk.realtime.conftest import Events, Service
from tests.sdk.realtime.cutter import Cutter

All = RealtimePostgresChangesListenEvent.All
INSERT = "insert into public.board (body, rank) values ($1, $2) returning id"
_bodies = itertools.count(1)


def ready(seen: list[Any]) -> bool:
    """The server has said that row changes are live."""
    return any(payload.message == "Subscribed to PostgreSQL" for payload in seen)


def ranks(seen: list[Any]) -> list[int]:
    return [payload["data"]["record"]["rank"] for payload in seen]


async def following(client: AsyncRealtimeClient, topic: str, body: str) -> tuple[AsyncRealtimeChannel, Events, Events]:
    """A channel that is told of the rows with ``body``; gives what it hears, and what the server says of it."""
    heard, live = Events(), Events()
    channel = client.channel(topic).on_postgres_changes("*", heard, table="board", filter=f"body=eq.{body}")
    await channel.on_system(live).subscribe()
    await live.until(ready)
    return channel, heard, live


@pytest.fixture
def body() -> str:
    """A value of the column ``body`` that this test's rows have alone."""
    return f"b{next(_bodies)}"


@pytest.mark.capability("realtime.subscriptions.postgres_changes", "realtime.subscriptions.postgres_changes_filter")
async def test_inserts_updates_and_deletes_come_to_the_listeners_of_each(
    service: Service, topic: str, body: str
) -> None:
    every, inserts, updates, deletes, live = Events(), Events(), Events(), Events(), Events()
    async with AsyncRealtimeClient(service.url, service.service_key) as client:
        await (
            client.channel(topic)
            .on_postgres_changes(All, every, table="board", filter=f"body=eq.{body}")
            .on_postgres_changes("INSERT", inserts, table="board", filter=f"body=eq.{body}")
            .on_postgres_changes("UPDATE", updates, table="board", filter=f"body=eq.{body}")
            .on_postgres_changes("DELETE", deletes, table="board", schema="public")
            .on_system(live)
            .subscribe()
        )
        await live.until(ready)
        [row] = await service.asql(INSERT, body, 1)
        await service.asql("update public.board set rank = 2 where id = $1", row["id"])
        await service.asql("delete from public.board where id = $1", row["id"])
        await deletes.until(lambda seen: any(each["data"]["old_record"]["id"] == row["id"] for each in seen))
        await updates.until(updates.count(1))
    assert [each["data"]["type"] for each in every.seen] == ["INSERT", "UPDATE"]
    assert inserts.seen == every.seen[:1]
    assert updates.seen == every.seen[1:]
    data = inserts.seen[0]["data"]
    assert data["type"] is RealtimePostgresChangesListenEvent.Insert
    assert data["record"] == {"id": row["id"], "body": body, "rank": 1}
    assert data["errors"] is None
    assert {"name": "rank", "type": "int4"} in data["columns"]


@pytest.mark.capability("realtime.subscriptions.postgres_changes_multiple_filters")
async def test_several_filters_must_all_hold(service: Service, topic: str, body: str) -> None:
    heard, also, live = Events(), Events(), Events()
    async with AsyncRealtimeClient(service.url, service.service_key) as client:
        built = PostgresChangesFilter().gte("rank", 2).not_("rank", "in", [3, 4])
        await (
            client.channel(topic)
            .on_postgres_changes("*", heard, table="board", filter=[f"body=eq.{body}", built])
            .on_postgres_changes(
                "*", also, table="board", filter=[f"body=eq.{body}", built]
            )  # the same: one for the server
            .on_system(live)
            .subscribe()
        )
        await live.until(ready)
        for rank in range(1, 7):
            await service.asql(INSERT, body, rank)
        await heard.until(heard.count(3))
    assert ranks(heard.seen) == ranks(also.seen) == [2, 5, 6]


async def test_rows_come_to_their_owner_alone(service: Service, topic: str, body: str) -> None:
    alices, bobs, live = Events(), Events(), Events()
    async with (
        AsyncRealtimeClient(service.url, service.anon_key) as alice,
        AsyncRealtimeClient(service.url, service.anon_key) as bob,
    ):
        for client, user, heard in ((alice, ALICE, alices), (bob, BOB, bobs)):
            await client.set_auth(service.token(user))
            await client.channel(topic).on_postgres_changes("INSERT", heard, table="notes").on_system(live).subscribe()
        await live.until(lambda seen: len([each for each in seen if ready([each])]) == 2)
        for owner in (ALICE, BOB, ALICE):
            await service.asql("insert into public.notes (owner, body) values ($1, $2)", owner, body)
        await alices.until(alices.count(2))
        await bobs.until(bobs.count(1))
    assert {each["data"]["record"]["owner"] for each in alices.seen} == {ALICE}
    assert {each["data"]["record"]["owner"] for each in bobs.seen} == {BOB}


async def test_a_refused_filter_is_told_and_the_channel_goes_on(service: Service, topic: str) -> None:
    states, errors, heard = Events(), Events(), Events()
    async with AsyncRealtimeClient(service.url, service.service_key) as client:
        channel = client.channel(topic, {"config": {"broadcast": {"self": True}}})
        channel.on_postgres_changes("*", heard, table="board", filter="nothing=eq.1").on_system_error(errors)
        await channel.on_broadcast("e", heard).subscribe(states)
        await errors.until(errors.count(1))
        await channel.send_broadcast("e", {"n": 1})
        await heard.until(heard.count(1))
        assert channel.is_joined
    assert [state for state, _ in states.seen] == [
        RealtimeSubscribeStates.SUBSCRIBED,
        RealtimeSubscribeStates.CHANNEL_ERROR,
    ]


async def test_changes_can_be_iterated_over(service: Service, topic: str, body: str) -> None:
    live = Events()
    async with AsyncRealtimeClient(service.url, service.service_key) as client:
        channel = client.channel(topic).on_system(live)
        changes = channel.changes("INSERT", table="board", filter=f"body=eq.{body}")

        async def insert() -> None:
            await live.until(ready)
            for rank in range(3):
                await service.asql(INSERT, body, rank)

        inserting = asyncio.create_task(insert())
        seen = []
        async for change in changes:  # the first step subscribes
            seen.append(change)
            if len(seen) == 3:
                await channel.unsubscribe()
        await inserting
    assert ranks(seen) == [0, 1, 2]


async def test_an_iterator_that_nobody_asks_says_so_after_what_it_kept(service: Service, topic: str) -> None:
    async with AsyncRealtimeClient(service.url, service.anon_key) as client:
        channel = client.channel(topic, {"config": {"broadcast": {"self": True, "ack": True}}})
        stream = channel.broadcasts("e", max_waiting=2)
        await channel.subscribe()
        for number in range(4):
            await channel.send_broadcast("e", {"n": number}, ack=True)
        kept = [(await anext(stream))["payload"]["n"], (await anext(stream))["payload"]["n"]]
        with pytest.raises(RealtimeBufferFullError):
            await anext(stream)
    assert kept == [0, 1]


@pytest.mark.parametrize("break_", ["cut", "half_close", "refuse"])
async def test_no_change_is_missed_or_doubled_over_lost_connections(
    service: Service, relay: Cutter, topic: str, body: str, break_: str
) -> None:
    heard, gaps, live = Events(), Events(), Events()
    url = f"{relay.url}/realtime/v1"
    async with AsyncRealtimeClient(url, service.service_key, initial_backoff=0.02) as client:
        channel = client.channel(topic).on_postgres_changes("*", heard, table="board", filter=f"body=eq.{body}")
        await channel.on_gap(gaps).on_system(live).subscribe()
        await live.until(ready)
        rank = 0
        for _ in range(3):
            await asyncio.to_thread(getattr(relay, break_))
            for _ in range(5):
                await service.asql(INSERT, body, rank)
                rank += 1
            await asyncio.to_thread(relay.refuse, False)
            await service.asql(INSERT, body, rank)
            rank += 1
            await heard.until(heard.count(rank))
        assert ranks(heard.seen) == list(range(rank))
    assert gaps.seen == []


async def test_no_change_is_missed_when_the_network_goes_silent(
    service: Service, relay: Cutter, topic: str, body: str
) -> None:
    heard, live, states, beats = Events(), Events(), Events(), Events()
    url = f"{relay.url}/realtime/v1"
    async with AsyncRealtimeClient(url, service.service_key, initial_backoff=0.02, hb_interval=0.2) as client:
        client.on_heartbeat(lambda status, _: beats(status))
        channel = client.channel(topic).on_postgres_changes("*", heard, table="board", filter=f"body=eq.{body}")
        await channel.on_system(live).subscribe(states)
        await live.until(ready)
        await service.asql(INSERT, body, 0)
        await heard.until(heard.count(1))
        client.timeout = 2.0  # of the heartbeats from now on; that of the channel stays
        await beats.until(beats.count(len(beats) + 2))  # one that begins with it at least
        await asyncio.to_thread(relay.freeze)
        for rank in range(1, 6):
            await service.asql(INSERT, body, rank)
        await states.until(lambda seen: seen[-1][0] == RealtimeSubscribeStates.CHANNEL_ERROR)
        client.timeout = 60.0
        await asyncio.to_thread(relay.thaw)
        await heard.until(heard.count(6))
    assert ranks(heard.seen) == list(range(6))


async def test_no_change_is_doubled_when_a_channel_joins_again_on_the_same_socket(
    service: Service, topic: str, body: str
) -> None:
    async with AsyncRealtimeClient(service.url, service.service_key) as client:
        channel, heard, _ = await following(client, topic, body)
        for rank in range(30):
            await service.asql(INSERT, body, rank)
            if rank % 10 == 5:
                await channel._rejoin()
        await heard.until(heard.count(30))
    assert ranks(heard.seen) == list(range(30))


async def test_no_change_is_doubled_by_joins_that_reach_the_server_late(
    service: Service, topic: str, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncRealtimeClient(service.url, service.service_key) as client:
        channel, heard, live = await following(client, topic, body)
        transmit, way = client._transmit, asyncio.Semaphore(0)

        async def wait_on_the_way(frame: Frame) -> bool:
            if frame.event == "phx_join":
                await way.acquire()
            return await transmit(frame)

        monkeypatch.setattr(client, "_transmit", wait_on_the_way)
        second = asyncio.create_task(channel._rejoin())
        await asyncio.sleep(0)
        for rank in range(3):  # told by the first join
            await service.asql(INSERT, body, rank)
        await heard.until(heard.count(3))
        third = asyncio.create_task(channel._rejoin())
        await asyncio.sleep(0)
        way.release()
        await second  # which replays them
        await live.until(live.count(2))
        await service.asql(INSERT, body, 3)
        await heard.until(lambda seen: 3 in ranks(seen))
        way.release()
        await third
        await live.until(live.count(3))
        await service.asql(INSERT, body, 4)
        await heard.until(lambda seen: 4 in ranks(seen))
    assert ranks(heard.seen) == list(range(5))


async def test_a_position_that_is_not_kept_is_told_as_a_gap(service: Service, topic: str, body: str) -> None:
    heard, gaps, live, states = Events(), Events(), Events(), Events()
    async with AsyncRealtimeClient(service.url, service.service_key) as client:
        channel = client.channel(topic, {"config": {"postgres_changes_options": {"since": "no position"}}})
        channel.on_postgres_changes("*", heard, table="board", filter=f"body=eq.{body}").on_gap(gaps)
        await channel.on_system(live).subscribe(states)
        await gaps.until(gaps.count(1))
        await live.until(ready)
        await service.asql(INSERT, body, 1)
        await heard.until(heard.count(1))
    assert gaps.seen[0].reason is RealtimeGapReason.INVALID
    assert [state for state, _ in states.seen] == [RealtimeSubscribeStates.SUBSCRIBED]


async def test_without_replay_a_lost_connection_is_told_as_a_gap(
    service: Service, relay: Cutter, topic: str, body: str
) -> None:
    heard, gaps, live = Events(), Events(), Events()
    url = f"{relay.url}/realtime/v1"
    async with AsyncRealtimeClient(url, service.service_key, initial_backoff=0.02, replay=False) as client:
        channel = client.channel(topic).on_postgres_changes("*", heard, table="board", filter=f"body=eq.{body}")
        await channel.on_gap(gaps).on_system(live).subscribe()
        await live.until(ready)
        await asyncio.to_thread(relay.cut)
        await gaps.until(gaps.count(1))
        await service.asql(INSERT, body, 1)
        await heard.until(heard.count(1))
    assert gaps.seen[0].reason is RealtimeGapReason.NOT_REPLAYED
    assert "position" not in heard.seen[0]["data"]


def test_the_sync_client_misses_no_change_over_lost_connections(
    service: Service, relay: Cutter, topic: str, body: str
) -> None:
    live, gaps = Events(), Events()
    with SyncRealtimeClient(f"{relay.url}/realtime/v1", service.service_key, initial_backoff=0.02) as client:
        channel = client.channel(topic).on_system(live).on_gap(gaps)
        changes = channel.changes("INSERT", table="board", filter=f"body=eq.{body}")
        channel.subscribe()
        live.wait(ready)
        seen: list[Any] = []
        for round_ in range(3):
            relay.cut()
            for step in range(4):
                service.sql(INSERT, body, 4 * round_ + step)
            seen += itertools.islice(changes, 4)
    assert ranks(seen) == list(range(12))
    assert gaps.seen == []
