"""Broadcast through the async client: over the socket, confirmed, back to the sender, over HTTP, as bytes, replayed."""

from __future__ import annotations

import time

import pytest

from isobase.realtime import (
    AsyncRealtimeClient,
    RealtimeAckError,
    RealtimeChannelConfig,
    RealtimeHTTPError,
    RealtimeSubscribeStates,
)
from tests.realtime.conftest import ALICE
from tests.sdk.realtime.conftest import Events, Service

SUBSCRIBED = RealtimeSubscribeStates.SUBSCRIBED


@pytest.mark.capability(
    "realtime.client.connect",
    "realtime.client.channel",
    "realtime.channel.subscribe",
    "realtime.channel.broadcast",
    "realtime.subscriptions.broadcast",
)
@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_a_broadcast_reaches_the_others_and_not_the_sender(service: Service, topic: str, vsn: str) -> None:
    own, heard, states = Events(), Events(), Events()
    async with (
        AsyncRealtimeClient(service.url, service.anon_key, vsn=vsn) as sender,
        AsyncRealtimeClient(service.url, service.anon_key) as receiver,
    ):
        await receiver.channel(topic).on_broadcast("shout", heard).subscribe()
        channel = await sender.channel(topic).on_broadcast("*", own).subscribe(states)
        assert channel is sender.channel(topic)
        assert states.seen == [(SUBSCRIBED, None)]
        await channel.send_broadcast("shout", {"text": "grüezi"})
        await channel.send_broadcast("whisper", {"text": "psst"})
        await channel.send_broadcast("shout", {"text": "last"})
        await heard.until(heard.count(2))
    assert heard.seen == [
        {"event": "shout", "payload": {"text": "grüezi"}},
        {"event": "shout", "payload": {"text": "last"}},
    ]
    assert own.seen == []
    assert len(states) == 1


@pytest.mark.capability("realtime.subscriptions.broadcast_self", "realtime.subscriptions.broadcast_ack")
@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_a_confirmed_broadcast_comes_back_where_the_channel_wants_it(
    service: Service, topic: str, vsn: str
) -> None:
    heard = Events()
    async with AsyncRealtimeClient(service.url, service.anon_key, vsn=vsn) as client:
        channel = client.channel(topic, {"config": {"broadcast": {"ack": True, "self": True}}})
        await channel.on_broadcast("e", heard).subscribe()
        await channel.send_broadcast("e", {"n": 1}, ack=True)
        await heard.until(heard.count(1))
        with pytest.raises(RealtimeAckError, match="payload_size_exceeded"):
            await channel.send_broadcast("e", {"n": "x" * 30_000}, ack=True)


async def test_a_channel_without_acknowledgement_refuses_to_wait_for_it(service: Service, topic: str) -> None:
    async with AsyncRealtimeClient(service.url, service.anon_key) as client:
        channel = await client.channel(topic).subscribe()
        with pytest.raises(ValueError, match="ack"):
            await channel.send_broadcast("e", {}, ack=True)


@pytest.mark.capability("realtime.channel.broadcast_http")
async def test_a_broadcast_over_http_reaches_who_is_joined(service: Service, topic: str) -> None:
    heard = Events()
    async with AsyncRealtimeClient(service.url, service.anon_key) as client:
        sender = client.channel(topic)
        await sender.http_send("e", {"nobody": "there"})
        await sender.on_broadcast("e", heard).subscribe()
        await sender.http_send("e", {"n": 1})
        await heard.until(heard.count(1))
        with pytest.raises(ValueError, match="required"):
            await sender.http_send("e", None)
        client.apikey = client.access_token = "no key"
        with pytest.raises(RealtimeHTTPError) as refused:
            await sender.http_send("e", {"n": 2})
    assert refused.value.status == 401
    assert heard.seen == [{"event": "e", "payload": {"n": 1}}]


@pytest.mark.capability("realtime.configuration.binary_protocol")
async def test_bytes_go_and_come_as_bytes_in_the_second_version(service: Service, topic: str) -> None:
    heard = Events()
    async with AsyncRealtimeClient(service.url, service.anon_key, vsn="2.0.0") as client:
        channel = client.channel(topic, {"config": {"broadcast": {"self": True}}})
        await channel.on_broadcast("*", heard).subscribe()
        await channel.send_broadcast("raw", bytes(range(256)))
        await channel.send_broadcast("json", {"n": None})
        await heard.until(heard.count(2))
    assert heard.seen == [{"event": "raw", "payload": bytes(range(256))}, {"event": "json", "payload": {"n": None}}]


async def test_the_first_version_refuses_bytes_and_goes_on(service: Service, topic: str) -> None:
    async with AsyncRealtimeClient(service.url, service.anon_key) as client:
        channel = await client.channel(topic).subscribe()
        with pytest.raises(ValueError, match=r"2\.0\.0"):
            await channel.send_broadcast("raw", b"bytes")
        assert channel.is_joined


@pytest.mark.capability("realtime.subscriptions.broadcast_replay", "realtime.subscriptions.private_channel")
async def test_a_private_channel_is_sent_what_was_broadcast_from_the_database(service: Service, topic: str) -> None:
    heard, refused = Events(), Events()
    await service.asql(
        "insert into realtime.messages (topic, extension, event, payload, private) values ($1, 'broadcast', 'e', $2, true)",
        topic,
        '{"n": 1}',
    )
    since = int(time.time() * 1000) - 600_000
    config: RealtimeChannelConfig = {"private": True, "broadcast": {"replay": {"since": since, "limit": 5}}}
    async with AsyncRealtimeClient(service.url, service.anon_key) as client:
        await client.set_auth(service.token(ALICE, reads="broadcast"))
        channel = client.channel(topic, {"config": config})
        await channel.on_broadcast("e", heard).subscribe()
        await heard.until(heard.count(1))
        await client.set_auth(service.token(ALICE))
        stranger = client.channel(f"{topic}-2", {"config": {"private": True}})
        await stranger.subscribe(refused)
    assert heard.seen[0]["payload"] == {"n": 1}
    assert heard.seen[0]["meta"]["replayed"] is True
    assert refused.seen[0][0] == RealtimeSubscribeStates.CHANNEL_ERROR
    assert "Unauthorized" in str(refused.seen[0][1])
