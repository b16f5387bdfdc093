"""The key-value store and the bus: the same behaviours on PostgreSQL and on Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError, Unavailable
from isobase_platform.runtime import Platform
from tests.plugins.patience import until
from tests.plugins.redis import RedisServer


@pytest.fixture(params=["postgresql", "redis"])
async def platform(request: pytest.FixtureRequest, database: Settings) -> AsyncIterator[Platform]:
    settings = database
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        settings = database.model_copy(update={"redis_url": SecretStr(server.url)})
    async with Platform.open(settings) as opened:
        assert opened.store.kind == opened.bus.kind == request.param
        yield opened


async def test_a_value_lives_until_it_expires_or_is_deleted(platform: Platform) -> None:
    store = platform.store
    assert await store.get("k") is None
    await store.set("k", b"\x00\xff", ttl_s=60)
    assert await store.get("k") == b"\x00\xff"
    await store.set("k", b"1", ttl_s=0.05)
    await asyncio.sleep(0.1)
    assert await store.get("k") is None
    await store.set("k", b"2", ttl_s=60)
    assert await store.get("k") == b"2"
    await store.delete("k")
    assert await store.get("k") is None


async def test_only_the_first_add_of_a_live_key_succeeds(platform: Platform) -> None:
    results = await asyncio.gather(*(platform.store.add("once", b"%d" % n, ttl_s=60) for n in range(10)))
    assert sorted(results) == [False] * 9 + [True]
    assert await platform.store.add("brief", b"1", ttl_s=0.05)
    await asyncio.sleep(0.1)
    assert await platform.store.add("brief", b"2", ttl_s=60)


async def test_of_many_takers_exactly_one_gets_the_value(platform: Platform) -> None:
    await platform.store.set("one-time", b"v", ttl_s=60)
    taken = await asyncio.gather(*(platform.store.take("one-time") for _ in range(10)))
    assert sorted(value or b"" for value in taken) == [b""] * 9 + [b"v"]


async def test_a_counter_counts_every_increment_and_starts_anew_after_its_life(platform: Platform) -> None:
    counts = await asyncio.gather(*(platform.store.increment("c", ttl_s=60) for _ in range(20)))
    assert sorted(counts) == list(range(1, 21))
    assert await platform.store.increment("brief", ttl_s=0.05) == 1
    await asyncio.sleep(0.1)
    assert await platform.store.increment("brief", ttl_s=60) == 1


async def test_the_store_of_postgresql_sweeps_what_expired(database: Settings) -> None:
    async with Platform.open(database) as platform:
        await platform.store.set("old", b"", ttl_s=0.01)
        await platform.store.set("new", b"", ttl_s=60)
        await asyncio.sleep(0.05)
        assert await platform.store.sweep() == 1
        assert await platform.store.get("new") == b""


async def test_every_subscriber_of_a_channel_gets_its_messages_in_order(platform: Platform) -> None:
    first: list[bytes] = []
    second: list[bytes] = []

    async def into_first(payload: bytes) -> None:
        first.append(payload)

    async def into_second(payload: bytes) -> None:
        second.append(payload)

    await platform.bus.subscribe("a", into_first)
    await platform.bus.subscribe("a", into_second)
    for number in range(20):
        await platform.bus.publish("a", b"%d" % number)
    await platform.bus.publish("b", b"of another channel")
    await until(lambda: len(first) == len(second) == 20)
    assert first == second == [b"%d" % number for number in range(20)]


async def test_a_large_message_and_small_ones_around_it_arrive_in_order(platform: Platform) -> None:
    got: list[bytes] = []

    async def receive(payload: bytes) -> None:
        got.append(payload)

    await platform.bus.subscribe("big", receive)
    sent = [b"before", bytes(range(256)) * 400, b"after"]
    for payload in sent:
        await platform.bus.publish("big", payload)
    await until(lambda: len(got) == 3)
    assert got == sent


async def test_a_cancelled_subscription_hears_no_more(platform: Platform) -> None:
    got: list[bytes] = []

    async def receive(payload: bytes) -> None:
        got.append(payload)

    kept: list[bytes] = []

    async def keep(payload: bytes) -> None:
        kept.append(payload)

    subscription = await platform.bus.subscribe("c", receive)
    await platform.bus.subscribe("c", keep)
    await subscription.cancel()
    await platform.bus.publish("c", b"x")
    await until(lambda: kept == [b"x"])
    assert got == []


async def test_a_handler_that_fails_does_not_end_its_subscription(platform: Platform) -> None:
    got: list[bytes] = []

    async def receive(payload: bytes) -> None:
        if payload == b"bad":
            raise ValueError(payload)
        got.append(payload)

    await platform.bus.subscribe("d", receive)
    await platform.bus.publish("d", b"bad")
    await platform.bus.publish("d", b"good")
    await until(lambda: got == [b"good"])


async def test_a_lost_bus_connection_is_made_again_and_the_subscriber_told(database: Settings) -> None:
    got: list[bytes] = []
    told: list[bool] = []

    async def receive(payload: bytes) -> None:
        got.append(payload)

    async def reconnected() -> None:
        told.append(True)

    async with Platform.open(database) as platform:
        await platform.bus.subscribe("e", receive, on_reconnect=reconnected)
        admin = await asyncpg.connect(database.dsn())
        await admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'isobase bus' and datname = current_database()"
        )
        await admin.close()
        await until(lambda: told == [True])
        await platform.bus.publish("e", b"after")
        await until(lambda: got == [b"after"])


async def test_a_lost_redis_is_noticed_and_its_return_too(database: Settings, redis_server: RedisServer) -> None:
    got: list[bytes] = []
    told: list[bool] = []

    async def receive(payload: bytes) -> None:
        got.append(payload)

    async def reconnected() -> None:
        told.append(True)

    settings = database.model_copy(update={"redis_url": SecretStr(redis_server.url)})
    async with Platform.open(settings) as platform:
        await platform.bus.subscribe("f", receive, on_reconnect=reconnected)
        redis_server.stop()
        assert not await platform.bus.ping()
        assert not await platform.store.ping()
        redis_server.start()
        await until(lambda: len(told) > 0)
        await platform.bus.publish("f", b"after")
        await until(lambda: got == [b"after"])


async def test_behind_a_transaction_pooler_the_postgresql_bus_says_what_is_missing(database: Settings) -> None:
    pooled = database.database.model_copy(update={"mode": "transaction_pooler"})
    async with Platform.open(database.model_copy(update={"database": pooled})) as platform:

        async def receive(_payload: bytes) -> None:
            pytest.fail("nothing can arrive")

        with pytest.raises(ConfigurationError, match="redis_url"):
            await platform.bus.subscribe("g", receive)


async def test_several_messages_of_one_call_arrive_in_their_order_also_equal_and_large_ones(platform: Platform) -> None:
    got: list[bytes] = []

    async def receive(payload: bytes) -> None:
        got.append(payload)

    await platform.bus.subscribe("many", receive)
    sent = [b"same", b"same", b"", b"L" * 20_000, b"small", b"M" * 20_000, b"same", b"\n#"]
    await platform.bus.publish_many("many", sent)
    await until(lambda: len(got) == len(sent))
    assert got == sent


async def test_connection_that_is_lost_while_something_is_sent_is_made_again_at_once(database: Settings) -> None:
    told: list[bool] = []

    async def receive(_payload: bytes) -> None:
        return None

    async def reconnected() -> None:
        told.append(True)

    async with Platform.open(database) as platform:
        await platform.bus.subscribe("h", receive, on_reconnect=reconnected)
        admin = await asyncpg.connect(database.dsn())
        # The statement waits for the lock, and its connection is ended meanwhile.
        async with admin.transaction():
            await admin.execute("lock table isobase.bus_payloads")
            sending = asyncio.create_task(platform.bus.publish("h", b"x" * 20_000))
            ended = 0
            while not ended:
                await asyncio.sleep(0.02)
                ended = await admin.fetchval(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event_type = 'Lock'"
                    " and application_name = 'isobase bus' and datname = current_database()"
                )
            with pytest.raises(Unavailable):
                await sending
        await admin.close()
        await until(lambda: told == [True])
        await platform.bus.publish("h", b"again")


@pytest.mark.parametrize(
    "message", ["f\n#99999999999999999999", "f\n#²", "f\n=0\nno base64", "f\n=0\né", "f", "", "\n\n\n", "f\n#0"]
)
async def test_what_anybody_else_notifies_does_not_end_the_bus_of_postgresql(
    database: Settings, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[bytes] = []

    async def receive(payload: bytes) -> None:
        got.append(payload)

    async with Platform.open(database) as platform:
        await platform.bus.subscribe("f", receive)
        stranger = await asyncpg.connect(database.dsn())
        await stranger.execute("select pg_notify('isobase_bus', $1)", message)
        await stranger.close()
        await platform.bus.publish("f", b"small")
        await platform.bus.publish("f", b"L" * 20_000)
        await until(lambda: got[-2:] == [b"small", b"L" * 20_000])
    assert [record for record in caplog.records if record.exc_info] == []
