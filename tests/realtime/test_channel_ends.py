"""How channels are refused and how they end: limits, tokens by every kind of key, failures (1.6, 1.7, 1.14)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import jwt
import pytest
import websockets

from isobase_platform.keys import KeyRing, generate_jwk
from isobase_services.realtime.session import hub, joining, token_watch
from isobase_services.realtime.session.channel import Channel
from isobase_services.realtime.session.refusals import Refusals
from tests.realtime.client import Phoenix
from tests.realtime.conftest import ALICE, Stack, StackFactory

TOPIC = "realtime:room"
HI = {"type": "broadcast", "event": "hi", "payload": {"a": 1}}


async def ends_with(socket: Phoenix, message: str) -> None:
    system = await socket.event("system")
    assert system.payload == {"extension": "system", "status": "error", "message": message, "channel": "room"}
    await socket.event("phx_close")


async def test_project_for_private_channels_alone_refuses_public_ones(start_stack: StackFactory) -> None:
    stack = await start_stack(private_only=True)
    await stack.sql("create policy r on realtime.messages for select using (true)")
    socket = await stack.connect()
    refused = await socket.join("room")
    assert refused.payload["response"] == {"reason": "PrivateOnly: This project only allows private channels"}
    assert (await socket.join("room", private=True)).payload["status"] == "ok"


async def test_presence_beyond_its_rate_ends_the_channels_that_use_it(start_stack: StackFactory) -> None:
    stack = await start_stack(max_presence_events_per_s=1)
    plain, socket = await stack.connect(), await stack.connect()
    await plain.join("other")
    stack.service.hub.presences.add(61)
    await socket.join("room", presence={"enabled": True})
    await ends_with(socket, "Too many presence messages per second")
    await socket.join("room")
    await socket.send(TOPIC, "presence", {"type": "presence", "event": "track", "payload": {}})
    await ends_with(socket, "Too many presence messages per second")
    # Who has nothing to do with presence is left alone.
    await plain.send("phoenix", "heartbeat", {}, ref="h")
    await plain.reply("h")
    assert "realtime:other" in {topic for item in stack.service.hub.connections for topic in item.channels}


async def test_presence_counts_each_delivery(stack: Stack) -> None:
    sockets = [await stack.connect() for _ in range(3)]
    for socket in sockets:
        await socket.join("room")
    await sockets[0].send(TOPIC, "presence", {"type": "presence", "event": "track", "payload": {}})
    for socket in sockets:
        await socket.event("presence_diff")
    # One call and three deliveries, and nothing of it counts as a message.
    assert stack.service.hub.presences.average_per_s * 60 == pytest.approx(4)
    assert stack.service.hub.events.average_per_s == 0


async def test_a_user_who_is_counted_may_join_more_channels_when_the_project_is_full(start_stack: StackFactory) -> None:
    stack = await start_stack(max_sockets=2)
    first, second = await stack.connect(), await stack.connect()
    late = await stack.connect()
    for socket in (first, second):
        assert (await socket.join("a")).payload["status"] == "ok"
    assert (await first.join("b")).payload["status"] == "ok"
    full = {"reason": "ConnectionRateLimitReached: Too many connected users"}
    assert (await late.join("a")).payload["response"] == full
    await second.close()
    async with asyncio.timeout(60):
        while stack.service.hub.user_count > 1:
            await asyncio.sleep(0.01)
    assert (await late.join("a")).payload["status"] == "ok"


async def test_socket_that_holds_no_channel_for_long_is_closed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SWEEP_INTERVAL_S", 0.1)
    joined, left, empty = [await stack.connect() for _ in range(3)]
    for socket in (joined, left):
        await socket.join("room")
    await left.send(TOPIC, "phx_leave", {})
    await left.event("phx_close")
    assert hub.EMPTY_SOCKET_LIFE_S == 600.0
    monkeypatch.setattr(hub, "EMPTY_SOCKET_LIFE_S", 0.1)
    for socket in (left, empty):
        assert await socket.closed(30.0) == 1000
    ref = await joined.send("phoenix", "heartbeat", {})
    assert (await joined.reply(ref)).payload["status"] == "ok"


async def test_joins_beyond_their_rate_refuse_sockets_too(start_stack: StackFactory) -> None:
    stack = await start_stack(max_joins_per_s=1)
    stack.service.hub.joins.add(60)
    with pytest.raises(websockets.InvalidStatus) as refused:
        await stack.connect()
    assert refused.value.response.status_code == 429
    assert (refused.value.response.body or b"").decode() == '{"error":"Too many joins per second"}'


async def test_odd_queries_open_a_socket(stack: Stack) -> None:
    beats = {True: '[null,"1","phoenix","heartbeat",{}]', False: '{"topic":"phoenix","event":"heartbeat"}'}
    for query in (
        "vsn=2.0.0&apikey={key}&log_level=info&unknown=1&unknown=2&x",
        "apikey={key}&vsn=2.0.7",
        "apikey=%20{key}%0A&vsn=1.0.0",
        "vsn=1.0.0&apikey=%ff&apikey={key}&vsn=2.0.0",
    ):
        url = f"ws://127.0.0.1:{stack.port}/realtime/v1/websocket?{query.format(key=stack.anon_key)}"
        async with websockets.connect(url) as opened:
            assert opened.subprotocol is None
            await opened.send("{")
            await opened.send(beats["vsn=2.0" in query])
            assert "phx_reply" in str(await opened.recv()), query


async def test_an_error_of_ours_ends_its_channel_with_phx_error_and_nothing_else(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_channel: Channel, message: Any) -> None:
        raise AssertionError(message.event)

    monkeypatch.setattr("isobase_services.realtime.session.channel.handle_broadcast", broken)
    for vsn in ("2.0.0", "1.0.0"):
        socket = await stack.connect(vsn=vsn)
        await socket.join("room", join_ref="7")
        await socket.join("other")
        await socket.send(TOPIC, "broadcast", HI)
        crash = await socket.event("phx_error")
        assert (crash.ref, crash.topic, crash.payload) == ("7", TOPIC, {"reason": "channel_crash"})
        assert socket.events("phx_close") == []
        ref = await socket.send("realtime:other", "phx_leave", {})
        assert (await socket.reply(ref)).payload["status"] == "ok"
        # Clients join again on it.
        assert (await socket.join("room")).payload["status"] == "ok"


async def test_a_join_that_fails_unexpectedly_is_answered(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_named: object) -> None:
        raise AssertionError

    await stack.sql("create policy r on realtime.messages for select using (true)")
    socket = await stack.connect()
    monkeypatch.setattr(stack.service.hub.changes, "subscribe", broken)
    for is_private in (False, True):
        refused = await socket.join("room", private=is_private)
        assert refused.payload == {"status": "error", "response": {"reason": "Unknown Error on Channel"}}
    monkeypatch.undo()
    assert (await socket.join("room")).payload["status"] == "ok"
    assert len(stack.service.hub.topics) == 1


async def test_replication_that_does_not_come_in_time_ends_the_channel_that_waits_for_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "REPLICATION_READY_TIMEOUT_S", 0.2)
    async with stack.owner.transaction():
        # A transaction that writes keeps a new slot waiting.
        await stack.sql("insert into public.board (body) values ('open')")
        patient, waiting = await stack.connect(), await stack.connect()
        await patient.join("room")
        await waiting.join("room", broadcast={"replication_ready": True})
        await ends_with(waiting, "Replication connection was not established in time")
        assert patient.events("phx_close") == []


async def test_a_channel_that_is_left_while_it_joins_with_a_replay_wants_nothing_any_more(stack: Stack) -> None:
    await stack.sql("create policy r on realtime.messages for select using (true)")
    socket = await stack.connect()
    for number in range(5):
        config = {"private": True, "broadcast": {"replay": {"since": 1}}}
        await socket.send(f"realtime:{number}", "phx_join", {"config": config})
        await socket.send(f"realtime:{number}", "phx_leave", {})
    # The tasks of the joins end before the channel of this one is joined: all wait for the same stream.
    assert (await socket.join("last", private=True, broadcast={"replay": {"since": 1}})).payload["status"] == "ok"
    ref = await socket.send("realtime:last", "phx_leave", {})
    await socket.reply(ref)
    async with asyncio.timeout(60):
        while stack.service.changes.listeners:
            await asyncio.sleep(0.01)


async def test_day_without_a_partition_gets_one_when_somebody_joins(stack: Stack) -> None:
    await stack.sql("create policy r on realtime.messages for select using (true)")
    today = await stack.owner.fetchval("select to_char(now() at time zone 'utc', '\"realtime.messages_\"YYYY_MM_DD')")
    await stack.sql(f"drop table {today}")
    socket = await stack.connect()
    assert (await socket.join("room", private=True)).payload["status"] == "ok"
    assert await stack.owner.fetchval("select to_regclass($1)", today) is not None


async def test_token_is_looked_at_again_after_five_minutes_or_when_it_ends(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert token_watch.CONFIRM_TOKEN_INTERVAL_S == 300.0
    monkeypatch.setattr(token_watch, "CONFIRM_TOKEN_INTERVAL_S", 0.1)
    ring = stack.platform.keys
    socket = await stack.connect()
    await socket.join("room", token=stack.token(ALICE))
    # What the verifier would say of a key that was taken away; the token's own end is far.
    monkeypatch.setattr(stack.service.hub, "verifier", type(stack.service.hub.verifier)(KeyRing("another secret" * 4)))
    assert ring is not None
    await ends_with(socket, ":signature_error")


def by_jwk(jwk: dict[str, Any], **claims: object) -> str:
    """A token signed by a pair of the project's key set."""
    now = int(time.time())
    payload = {"role": "authenticated", "sub": ALICE, "iat": now, "exp": now + 600, **claims}
    key = jwt.PyJWK(jwk)
    return jwt.encode(payload, key.key, algorithm=key.algorithm_name, headers={"kid": jwk["kid"]})


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_tokens_of_the_key_set_open_sockets_and_join(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    jwk, stranger = generate_jwk(algorithm), generate_jwk(algorithm)
    secret = stack.settings.jwt_secret.get_secret_value()
    monkeypatch.setattr(stack.service.hub, "verifier", type(stack.service.hub.verifier)(KeyRing(secret, [jwk])))
    socket = await stack.connect(apikey=by_jwk(jwk))
    assert (await socket.join("a")).payload["status"] == "ok"
    # A secret's token with a kid that nobody knows is the secret's all the same.
    hs = jwt.encode({"role": "anon", "exp": time.time() + 600.5}, secret, "HS256", headers={"kid": "unknown"})
    assert (await socket.join("b", token=hs)).payload["status"] == "ok"
    assert (await socket.join("c", token=by_jwk(jwk, exp=time.time() + 600.5))).payload["status"] == "ok"
    refused = await socket.join("d", token=by_jwk(stranger))
    advice = "check your JWT secret or JWKS configuration"
    signer = f'Failed to generate JWT signer for key ID (kid) "{stranger["kid"]}", {advice}'
    assert refused.payload["response"] == {"reason": f"JwtSignerError: {signer}"}
    await socket.join("room")
    await socket.send(TOPIC, "access_token", {"access_token": by_jwk(stranger)})
    await ends_with(socket, signer)


async def test_refusals_wait_in_order_and_only_so_many() -> None:
    answered: list[object] = []
    refusals = Refusals(0.2, lambda _join_ref, ref, _topic, _response: answered.append(ref))
    for number in range(1_003):
        refusals.add(None, number, "realtime:a", "{}")
    assert answered == [0, 1, 2]
    async with asyncio.timeout(60):
        while len(answered) < 1_003:
            await asyncio.sleep(0.01)
    assert answered == list(range(1_003))
    refusals.add(None, "late", "realtime:a", "{}")
    refusals.stop()
    await asyncio.sleep(0.3)
    assert "late" not in answered
