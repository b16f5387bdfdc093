"""Connections that break, and the client that comes back; heartbeats, tokens, limits of what waits, closing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response

from isobase.realtime import (
    AsyncRealtimeClient,
    AuthorizationError,
    ChannelStates,
    RealtimeAcknowledgementStatus,
    RealtimeBufferFullError,
    RealtimeConnectionState,
    RealtimeHeartbeatStatus,
    RealtimeSubscribeStates,
)
from isobase.realtime.message import Message
from tests.realtime.conftest import ALICE
from tests.sdk.realtime.conftest import Events, Service
from tests.sdk.realtime.cutter import Cutter

SUBSCRIBED = RealtimeSubscribeStates.SUBSCRIBED
CHANNEL_ERROR = RealtimeSubscribeStates.CHANNEL_ERROR


def subscribed(times: int) -> Callable[[list[Any]], bool]:
    return lambda seen: [state for state, _ in seen].count(SUBSCRIBED) >= times


@pytest.fixture
async def client(service: Service, relay: Cutter) -> AsyncIterator[AsyncRealtimeClient]:
    """A client behind the relay that tries again soon."""
    async with AsyncRealtimeClient(f"{relay.url}/realtime/v1", service.anon_key, initial_backoff=0.02) as client:
        yield client


@pytest.mark.parametrize("break_", ["cut", "half_close"])
async def test_every_channel_is_joined_again_and_presence_told_again(
    client: AsyncRealtimeClient, service: Service, relay: Cutter, topic: str, break_: str
) -> None:
    states, heard, seen = Events(), Events(), Events()
    channels = [client.channel(f"{topic}-{number}").on_broadcast("e", heard) for number in range(5)]
    for channel in channels:
        await channel.subscribe(states)
    await channels[0].track({"name": "here"})
    async with AsyncRealtimeClient(service.url, service.anon_key) as other:
        witness = other.channel(f"{topic}-0")
        await witness.on_presence_sync(lambda: seen(len(witness.presence_state()))).subscribe()
        await seen.until(lambda counts: 1 in counts)
        seen.seen.clear()
        await asyncio.to_thread(getattr(relay, break_))
        await states.until(subscribed(10))
        for channel in channels:
            await channel.http_send("e", {"to": channel.topic})
        await heard.until(heard.count(5))
        await seen.until(lambda counts: counts[-1:] == [1])
    assert {payload["payload"]["to"] for payload in heard.seen} == {channel.topic for channel in channels}
    assert [state for state, _ in states.seen] == [SUBSCRIBED] * 5 + [CHANNEL_ERROR] * 5 + [SUBSCRIBED] * 5


async def test_it_goes_on_trying_while_the_server_is_away(
    client: AsyncRealtimeClient, relay: Cutter, topic: str
) -> None:
    states = Events()
    channel = await client.channel(topic).subscribe(states)
    await asyncio.to_thread(relay.refuse)
    before = relay.accepted
    while relay.accepted < before + 7:  # more than max_retries
        await asyncio.sleep(0.02)
    assert client.connection_state() == RealtimeConnectionState.CONNECTING
    assert channel.state == ChannelStates.ERRORED
    await asyncio.to_thread(relay.refuse, False)
    await states.until(subscribed(2))
    assert client.connection_state() == RealtimeConnectionState.OPEN


@pytest.mark.capability("realtime.configuration.reconnect_backoff")
async def test_the_delays_of_coming_back_can_be_given(service: Service, relay: Cutter, topic: str) -> None:
    asked, states = Events(), Events()

    def after(failures: int) -> float:
        asked(failures)
        return 0.01

    url = f"{relay.url}/realtime/v1"
    async with AsyncRealtimeClient(url, service.anon_key, initial_backoff=0.01, reconnect_after=after) as client:
        await client.channel(topic).subscribe(states)
        await asyncio.to_thread(relay.refuse)
        await asked.until(asked.count(3))
        await asyncio.to_thread(relay.refuse, False)
        await states.until(subscribed(2))
    assert asked.seen[:3] == [1, 2, 3]


@pytest.mark.capability("realtime.client.listen_heartbeats", "realtime.configuration.heartbeat_interval")
async def test_a_connection_that_only_seems_open_is_found_by_its_heartbeat(
    service: Service, relay: Cutter, topic: str
) -> None:
    beats, states = Events(), Events()
    url = f"{relay.url}/realtime/v1"
    async with AsyncRealtimeClient(url, service.anon_key, hb_interval=0.1, initial_backoff=0.02) as client:
        client.on_heartbeat(lambda status, latency: beats((status, latency)))
        await client.channel(topic).subscribe(states)
        await beats.until(lambda seen: [status for status, _ in seen].count("ok") >= 2)
        client.timeout = 1.0  # of the heartbeats from now on; that of the channel stays
        now = len(beats)
        await beats.until(beats.count(now + 2))  # one that begins with it at least
        await asyncio.to_thread(relay.freeze)
        await beats.until(lambda seen: "timeout" in [status for status, _ in seen])
        await states.until(lambda seen: CHANNEL_ERROR in [state for state, _ in seen])
        client.timeout = 60.0
        await asyncio.to_thread(relay.thaw)
        await states.until(subscribed(2))
    statuses = [status for status, _ in beats.seen]
    assert statuses[0] == "sent"
    assert statuses.index(RealtimeHeartbeatStatus.DISCONNECTED) == statuses.index(RealtimeHeartbeatStatus.TIMEOUT) + 1
    assert all((latency is not None) == (status == "ok") for status, latency in beats.seen)


async def test_a_slow_network_is_not_taken_for_a_dead_one(service: Service, relay: Cutter, topic: str) -> None:
    beats, states = Events(), Events()
    relay.delay_s = 0.15
    async with AsyncRealtimeClient(f"{relay.url}/realtime/v1", service.anon_key, hb_interval=0.05) as client:
        client.on_heartbeat(lambda status, _: beats(status))
        await client.channel(topic).subscribe(states)
        await beats.until(lambda seen: seen.count("ok") >= 3)
    assert len(states) == 1
    assert "timeout" not in beats.seen


@pytest.mark.capability("realtime.client.set_auth_token")
async def test_channels_join_again_with_the_token_of_that_moment(
    client: AsyncRealtimeClient, service: Service, relay: Cutter, topic: str
) -> None:
    states, heard = Events(), Events()
    await client.set_auth(service.token(ALICE, reads="broadcast"))
    channel = client.channel(topic, {"config": {"private": True}})
    await channel.on_broadcast("e", heard).subscribe(states)
    await client.set_auth(service.token(ALICE, reads="broadcast presence", writes="broadcast"))
    await channel.http_send("e", {"with": "the new one"})
    await heard.until(heard.count(1))
    await asyncio.to_thread(relay.cut)
    await states.until(subscribed(2))
    await channel.http_send("e", {"after": "all"})
    await heard.until(heard.count(2))
    sent = channel.join_push.payload["access_token"]
    assert sent == client.access_token != service.anon_key


@pytest.mark.capability("realtime.configuration.access_token_callback")
async def test_the_token_is_asked_for_at_every_connection_and_heartbeat(
    service: Service, relay: Cutter, topic: str
) -> None:
    given, states, heard = Events(), Events(), Events()

    async def token() -> str:
        token = service.token(ALICE, reads="broadcast", writes="broadcast", number=len(given))
        given(token)
        return token

    url = f"{relay.url}/realtime/v1"
    async with AsyncRealtimeClient(
        url, service.anon_key, access_token=token, hb_interval=0.05, initial_backoff=0.02
    ) as client:
        channel = client.channel(topic, {"config": {"private": True}})
        await channel.on_broadcast("e", heard).subscribe(states)
        assert states.seen == [(SUBSCRIBED, None)]
        await given.until(given.count(3))
        await asyncio.to_thread(relay.cut)
        await states.until(subscribed(2))
        await client.set_auth(None)
        assert client.access_token in given.seen
        await channel.http_send("e", {})
        await heard.until(heard.count(1))


async def test_a_channel_whose_token_ended_joins_again_with_a_fresh_one(service: Service, topic: str) -> None:
    states = Events()
    async with AsyncRealtimeClient(service.url, service.anon_key) as client:
        await client.set_auth(service.token(ALICE, life_s=1.5, reads="broadcast"))
        channel = client.channel(topic, {"config": {"private": True}})
        await channel.subscribe(states)
        await states.until(lambda seen: CHANNEL_ERROR in [state for state, _ in seen])
        assert client.get_channels() == [channel]
        await client.set_auth(service.token(ALICE, reads="broadcast"))
        await states.until(lambda seen: seen[-1][0] == SUBSCRIBED)


async def test_a_failing_token_callback_leaves_the_last_token(
    service: Service, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    def token() -> str:
        raise OSError("away")

    async with AsyncRealtimeClient(service.url, service.anon_key, access_token=token) as client:
        channel = await client.channel(topic).subscribe()
        assert channel.is_joined
        assert client.access_token == service.anon_key
    assert "away" in caplog.text


async def test_connecting_ends_after_its_attempts_or_its_time(topic: str) -> None:
    nobody = "http://127.0.0.1:9/realtime/v1"
    client = AsyncRealtimeClient(nobody, "key", max_retries=2, initial_backoff=0.01)
    with pytest.raises(OSError):
        await client.channel(topic).subscribe()
    client = AsyncRealtimeClient(nobody, "key", connect_timeout=0.3, initial_backoff=0.05)
    began = time.monotonic()
    with pytest.raises(OSError):
        await client.connect()
    assert time.monotonic() - began < 10
    client = AsyncRealtimeClient(nobody, "key", auto_reconnect=False, initial_backoff=60)
    with pytest.raises(OSError):
        await client.connect()
    assert client.connection_state() == "closed"


@pytest.mark.parametrize(("status", "attempts"), [(401, 1), (403, 1), (404, 1), (503, 3)])
async def test_a_server_that_refuses_the_key_is_not_asked_again(topic: str, status: int, attempts: int) -> None:
    asked: list[str] = []

    def refuse(connection: ServerConnection, request: Request) -> Response:
        asked.append(request.path)
        return connection.respond(status, "no")

    async with serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=refuse) as server:
        (port,) = {listener.getsockname()[1] for listener in server.sockets}
        client = AsyncRealtimeClient(f"ws://127.0.0.1:{port}", "key", max_retries=3, initial_backoff=0.01)
        with pytest.raises(InvalidStatus):
            await client.channel(topic).subscribe()
        assert client.connection_state() == RealtimeConnectionState.CLOSED
        await client.close()
    assert len(asked) == attempts


async def test_without_auto_reconnect_a_lost_connection_stays_lost(service: Service, relay: Cutter, topic: str) -> None:
    states = Events()
    url = f"{relay.url}/realtime/v1"
    async with AsyncRealtimeClient(url, service.anon_key, auto_reconnect=False) as client:
        await client.channel(topic).subscribe(states)
        await asyncio.to_thread(relay.cut)
        await states.until(states.count(2))
        await asyncio.sleep(0.1)
        assert not client.is_connected
        assert client.connection_state() == "closed"
        await client.connect()
        await states.until(subscribed(2))


async def test_what_is_sent_while_away_is_sent_later_in_order(
    client: AsyncRealtimeClient, service: Service, relay: Cutter, topic: str
) -> None:
    heard, states = Events(), Events()
    channel = await client.channel(topic, {"config": {"broadcast": {"ack": True}}}).subscribe(states)
    async with AsyncRealtimeClient(service.url, service.anon_key) as other:
        await other.channel(topic).on_broadcast("e", heard).subscribe()
        await asyncio.to_thread(relay.refuse)
        await states.until(lambda seen: len(seen) == 2)
        for number in range(5):
            await channel.send_broadcast("e", {"n": number})
        confirmed = asyncio.create_task(channel.send_broadcast("e", {"n": 5}, ack=True))
        await asyncio.to_thread(relay.refuse, False)
        await confirmed
        await heard.until(heard.count(6))
    assert [payload["payload"]["n"] for payload in heard.seen] == list(range(6))


async def test_too_much_that_waits_is_refused(client: AsyncRealtimeClient, relay: Cutter, topic: str) -> None:
    states = Events()
    channel = await client.channel(topic).subscribe(states)
    await asyncio.to_thread(relay.refuse)
    await states.until(lambda seen: len(seen) == 2)
    for number in range(100):
        await channel.send_broadcast("e", {"n": number})
    with pytest.raises(RealtimeBufferFullError):
        await channel.send_broadcast("e", {"n": 100})
    message = Message(topic="realtime:x", event="e", payload={})
    for _ in range(1_000):
        await client.send(message)
    with pytest.raises(RealtimeBufferFullError):
        await client.send(message)


async def test_a_message_that_waits_too_long_is_not_sent(service: Service, relay: Cutter, topic: str) -> None:
    ended, states = Events(), Events()
    async with AsyncRealtimeClient(f"{relay.url}/realtime/v1", service.anon_key, initial_backoff=0.02) as client:
        channel = await client.channel(topic).subscribe(states)
        await asyncio.to_thread(relay.refuse)
        await states.until(lambda seen: len(seen) == 2)
        push = await channel.push("broadcast", {"type": "broadcast", "event": "e", "payload": {}}, timeout=0.05)
        push.receive(RealtimeAcknowledgementStatus.Timeout, lambda: ended("late"))
        status, reply = await push.result()
    assert (status, reply) == (RealtimeAcknowledgementStatus.Timeout, None)
    assert ended.seen == ["late"]


async def test_closing_ends_every_task_and_a_new_connection_joins_again(service: Service, topic: str) -> None:
    states, heard = Events(), Events()
    before = asyncio.all_tasks()
    client = AsyncRealtimeClient(service.url, service.anon_key)
    channel = client.channel(topic).on_broadcast("e", heard)
    await channel.subscribe(states)
    await client.close()
    await client.close()
    assert asyncio.all_tasks() == before
    assert not channel.is_joined
    await client.connect()
    await states.until(subscribed(2))
    await channel.http_send("e", {})
    await heard.until(heard.count(1))
    await client.close()
    assert asyncio.all_tasks() == before


@pytest.mark.capability("realtime.configuration.deferred_disconnect")
async def test_the_socket_outlives_its_last_channel_for_as_long_as_was_asked(service: Service, topic: str) -> None:
    async with AsyncRealtimeClient(service.url, service.anon_key, disconnect_on_empty_channels_after=60) as client:
        first = await client.channel(f"{topic}-1").subscribe()
        await client.remove_channel(first)
        assert client.is_connected
        socket, closing = client._ws_connection, client._deferred_close
        assert closing is not None
        second = await client.channel(f"{topic}-2").subscribe()  # in time: the socket stays
        assert client._ws_connection is socket
        assert closing.cancelled()
        client.disconnect_on_empty_channels_after = 0.2
        await client.remove_channel(second)
        async with asyncio.timeout(60):
            while client.is_connected:
                await asyncio.sleep(0.02)


@pytest.mark.capability(
    "realtime.client.remove_channel",
    "realtime.client.remove_all_channels",
    "realtime.client.get_channels",
    "realtime.channel.unsubscribe",
)
async def test_removed_channels_are_left_forgotten_and_told(service: Service, topic: str) -> None:
    heard, states = Events(), Events()
    async with AsyncRealtimeClient(service.url, service.anon_key) as client:
        channels = [client.channel(f"{topic}-{number}").on_broadcast("e", heard) for number in range(4)]
        for channel in channels:
            await channel.subscribe(states)
        await channels[0].unsubscribe()
        await states.until(states.count(5))
        assert channels[0].is_closed
        assert client.get_channels() == channels[1:]
        await client.remove_channel(channels[1])
        assert client.get_channels() == channels[2:]
        for channel in channels[:2]:
            await channel.http_send("e", {"lost": True})
        again = client.channel(f"{topic}-1")
        assert again is not channels[1]
        await again.subscribe(states)
        await states.until(lambda seen: [state for state, _ in seen].count(RealtimeSubscribeStates.CLOSED) == 2)
        assert again.is_joined  # the end of the former one is not taken for its own
        await client.remove_all_channels()
        assert client.get_channels() == []
        assert not client.is_connected
    assert heard.seen == []


@pytest.mark.capability("realtime.configuration.custom_websocket_transport")
async def test_the_socket_may_be_opened_by_the_app(service: Service, topic: str) -> None:
    opened: list[str] = []

    async def factory(url: str) -> ClientConnection:
        opened.append(url)
        return await connect(url, max_size=1_000_000)

    async with AsyncRealtimeClient(service.url, service.anon_key, websocket_factory=factory) as client:
        channel = await client.channel(topic).subscribe()
        assert channel.is_joined
        assert opened == [client.endpoint_url()]


@pytest.mark.capability("realtime.configuration.custom_logger")
async def test_an_app_is_given_the_log_lines_of_its_level_without_secrets(
    service: Service, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines, errors = Events(), Events()
    caplog.set_level(logging.DEBUG, "isobase.realtime")
    async with AsyncRealtimeClient(service.url, service.anon_key, logger=lines) as client:
        await client.channel(topic).subscribe()
        await client.set_auth(service.token(ALICE))
    async with AsyncRealtimeClient(service.url, service.anon_key, logger=errors, log_level="error") as client:
        await client.channel(topic).subscribe()
        client.log("error", "of the app", {"n": 1})
        assert "log_level=error" in client.endpoint_url()
    assert {kind for kind, _, _ in lines.seen} == {"debug", "info"}
    assert errors.seen == [("error", "of the app", {"n": 1})]
    assert service.anon_key not in caplog.text + repr(lines.seen) + repr(client)


async def test_a_channel_is_subscribed_once(service: Service, topic: str) -> None:
    async with AsyncRealtimeClient(service.url, service.anon_key) as client:
        channel = client.channel(topic)
        with pytest.raises(Exception, match="before joining"):
            await channel.send_broadcast("e", {})
        await channel.subscribe()
        with pytest.raises(Exception, match="multiple times"):
            await channel.subscribe()
        with pytest.warns(DeprecationWarning, match="subscribe"):
            assert await channel.join() is channel


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "ftp://x"},
        {"url": "http://x", "vsn": "3.0.0"},
        {"url": "http://x", "log_level": "loud"},
        {"url": "http://x", "hb_interval": 0},
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        AsyncRealtimeClient(**arguments)


async def test_a_thousand_channels_join_and_join_again(client: AsyncRealtimeClient, relay: Cutter, topic: str) -> None:
    states = Events()
    channels = [client.channel(f"{topic}-{number}") for number in range(1_000)]
    await asyncio.gather(*(channel.subscribe(states) for channel in channels))
    assert all(channel.is_joined for channel in channels)
    await asyncio.to_thread(relay.cut)
    await states.until(subscribed(2_000))
    assert all(channel.is_joined for channel in channels)


async def test_rights_end_with_the_token_that_had_them(service: Service, topic: str) -> None:
    states = Events()
    async with AsyncRealtimeClient(service.url, service.anon_key) as client:
        await client.set_auth(service.token(ALICE, reads="broadcast"))
        channel = client.channel(topic, {"config": {"private": True}})
        await channel.subscribe(states)
        assert channel.is_joined
        await client.set_auth(None)  # signed out
        await states.until(states.count(2))
    assert states.seen[1][0] == CHANNEL_ERROR
    assert isinstance(states.seen[1][1], AuthorizationError)


async def test_what_cannot_be_written_as_json_is_told_at_once_and_harms_nothing_else(
    client: AsyncRealtimeClient, relay: Cutter, topic: str
) -> None:
    states = Events()
    odd = client.channel(f"{topic}-odd", {"config": {"presence": {"key": object()}}})  # type: ignore[arg-type]
    channel = await client.channel(topic).subscribe(states)
    with pytest.raises(ValueError, match="JSON"):
        await odd.subscribe()
    with pytest.raises(ValueError, match="JSON"):
        await channel.track({"what": object()})
    await asyncio.to_thread(relay.refuse)
    await states.until(lambda seen: len(seen) == 2)
    with pytest.raises(ValueError, match="JSON"):
        await channel.send_broadcast("e", {"what": object()})
    await channel.send_broadcast("e", {"n": 1})
    await asyncio.to_thread(relay.refuse, False)
    await states.until(subscribed(2))


async def test_a_silent_network_holds_up_neither_closing_nor_connecting(
    service: Service, relay: Cutter, topic: str
) -> None:
    url = f"{relay.url}/realtime/v1"
    client = AsyncRealtimeClient(url, service.anon_key)
    await client.channel(topic).subscribe()
    await asyncio.to_thread(relay.freeze)
    async with asyncio.timeout(30):
        await client.close()
        other = AsyncRealtimeClient(url, service.anon_key, timeout=0.2, max_retries=2, initial_backoff=0.01)
        with pytest.raises(TimeoutError):
            await other.connect()
    await asyncio.to_thread(relay.thaw)
