"""The socket itself: handshakes and refusals, both versions' frames, heartbeats, limits, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import socket as sockets
import time
from contextlib import suppress

import httpx
import pytest
import websockets

from isobase_services.realtime.edge.handshake import socket_facts
from tests.realtime.client import PATIENCE_S, Phoenix
from tests.realtime.conftest import ALICE, Stack, StackFactory, WallClock


async def refusal(stack: Stack, query: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(
            f"ws://127.0.0.1:{stack.port}/realtime/v1/websocket?{query}", additional_headers=headers or {}
        )
    response = refused.value.response
    return response.status_code, (response.body or b"").decode()


async def test_handshake_refuses_bad_keys_with_the_reason(stack: Stack) -> None:
    expired = stack.token(life_s=-10)
    forged = stack.token()[:-4] + "AAAA"
    roleless = stack.token(role=None)  # type: ignore[arg-type]
    assert await refusal(stack, "vsn=1.0.0") == (401, '{"error":"API key is missing"}')
    assert await refusal(stack, f"apikey={expired}") == (401, '{"error":"Token has expired"}')
    assert await refusal(stack, f"apikey={forged}") == (401, '{"error":"Failed to validate JWT signature"}')
    assert await refusal(stack, f"apikey={roleless}") == (
        401,
        '{"error":"Fields `role` and `exp` are required in JWT"}',
    )
    for key in ("nonsense", "sb_publishable_unknown", ""):
        assert await refusal(stack, f"apikey={key}") == (401, '{"error":"The token provided is not a valid JWT"}')


async def test_handshake_refuses_unknown_versions(stack: Stack) -> None:
    for vsn in ("3.0.0", "1.1.0", "2", "x", "2.0.0.0", ""):
        assert (await refusal(stack, f"apikey={stack.anon_key}&vsn={vsn}"))[0] == 403


async def test_opaque_keys_and_the_header_open_a_socket(stack: Stack) -> None:
    settings = stack.settings
    for key in (settings.publishable_key, settings.secret_key):
        opened = await stack.connect(apikey=key.get_secret_value())
        assert (await opened.join("a")).payload["status"] == "ok"
    url = f"ws://127.0.0.1:{stack.port}/realtime/v1/websocket?apikey=wrong"
    async with websockets.connect(url, additional_headers={"x-api-key": stack.anon_key}):
        pass


async def test_service_answers_at_its_own_path_when_it_runs_alone(stack: Stack) -> None:
    opened = await Phoenix.connect(stack.port, vsn="2.0.0", apikey=stack.anon_key, path="/socket/websocket")
    assert (await opened.join("a")).payload["status"] == "ok"
    await opened.close()


async def test_plain_requests_get_upstreams_answers(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=f"{stack.url}/realtime/v1", timeout=PATIENCE_S) as http:
        assert (await http.get("/websocket")).json() == {"error": "API key is missing"}
        assert (await http.get("/websocket", params={"apikey": stack.anon_key})).status_code == 400
        for method, path in (("GET", "/nothing"), ("GET", "/api/broadcast"), ("POST", "/websocket"), ("PUT", "/")):
            response = await http.request(method, path)
            assert (response.status_code, response.text) == (404, "Not Found")


async def test_heartbeats_are_answered_in_both_versions(stack: Stack) -> None:
    new, old = await stack.connect(), await stack.connect(vsn=None)
    await new.send_raw('[null,"7","phoenix","heartbeat",{}]')
    assert (await new.event("phx_reply")).raw == [None, "7", "phoenix", "phx_reply", {"status": "ok", "response": {}}]
    await old.send_raw('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":null}')
    assert (await old.event("phx_reply")).raw == {
        "topic": "phoenix",
        "event": "phx_reply",
        "payload": {"status": "ok", "response": {}},
        "ref": None,
    }


async def test_heartbeat_does_not_wait_for_joins_that_need_sql(stack: Stack) -> None:
    await stack.sql(
        "create policy p on realtime.messages for select using ((select pg_advisory_xact_lock_shared(7))::text is not null)"
    )
    await stack.sql("select pg_advisory_lock(7)")
    socket = await stack.connect()
    for number in range(5):
        await socket.send(f"realtime:private-{number}", "phx_join", {"config": {"private": True}})
    ref = await socket.send("phoenix", "heartbeat", {})
    await socket.reply(ref)
    assert [reply.topic for reply in socket.events("phx_reply")] == ["phoenix"]
    await stack.sql("select pg_advisory_unlock(7)")
    await socket.wait_for(lambda item: item.event == "phx_reply" and item.topic != "phoenix")


MALFORMED: list[str | bytes] = [
    "",
    "{",
    "[]",
    "null",
    '["1","2","realtime:a","phx_join"]',
    '["1","2",3,"phx_join",{}]',
    '["1","2","realtime:a","phx_join",[]]',
    '[{},"2","realtime:a","phx_join",{}]',
    '["1","2","realtime:a","broadcast",{"a":NaN}]',
    '["1","2","realtime:a","broadcast",{"a":1e999}]',
    "[" * 100_000,
    b"",
    b"\x03",
    b"\x03\xff\xff\xff\xff\xff\x01",
    b"\x00\x00\x00\x00\x00\x00\x00",
    b"\x03\x00\x00\x01\x01\x00\x01ae{not json",
    b"\x03\x00\x00\x01\x01\x00\x01ae\xff\xfe",
    b"\x03\x00\x00\x01\x01\x00\x07ae{}",
]


async def test_malformed_frames_are_dropped_and_the_socket_lives(stack: Stack) -> None:
    socket = await stack.connect()
    for number, frame in enumerate(MALFORMED):
        await socket.send_raw(frame)
        ref = await socket.send("phoenix", "heartbeat", {})
        await socket.reply(ref)
        assert len(socket.received) == number + 1, frame


async def test_event_on_a_topic_that_was_not_joined_is_unmatched(stack: Stack) -> None:
    socket = await stack.connect()
    for topic, event in (("realtime:a", "broadcast"), ("other:a", "phx_join"), ("phoenix", "phx_join")):
        ref = await socket.send(topic, event, {})
        reply = await socket.reply(ref)
        assert reply.payload == {"status": "error", "response": {"reason": "unmatched topic"}}
    ref = await socket.send("realtime:a", "phx_leave", {})
    assert (await socket.reply(ref)).payload == {"status": "ok", "response": {}}
    ref = await socket.send("realtime:", "phx_join", {})
    reason = (await socket.reply(ref)).payload["response"]["reason"]
    assert reason == "TopicNameRequired: You must provide a topic name"


async def test_join_takes_odd_payloads(stack: Stack) -> None:
    socket = await stack.connect()
    payloads: list[object] = [
        {},
        {"config": None},
        {"config": []},
        {"config": {"broadcast": "x", "presence": 3, "private": "maybe", "postgres_changes": {}}},
        {"config": {"broadcast": {"self": "true", "ack": "false"}, "presence": {"key": 7}}, "access_token": 4},
        {"access_token": "sb_publishable_whatever"},
    ]
    for number, payload in enumerate(payloads):
        ref = await socket.send(f"realtime:t{number}", "phx_join", payload)
        assert (await socket.reply(ref)).payload == {"status": "ok", "response": {"postgres_changes": []}}


async def test_rejoin_closes_the_old_channel_under_its_own_ref(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.join("a", join_ref="old")
    reply = await socket.join("a", join_ref="new")
    closed = await socket.event("phx_close")
    assert closed.raw == ["old", "old", "realtime:a", "phx_close", {}]
    assert reply.join_ref == "new"
    other = await stack.connect()
    await other.join("a")
    await other.send("realtime:a", "broadcast", {"type": "broadcast", "event": "e", "payload": {}})
    await socket.event("broadcast")
    await socket.nothing("broadcast")


async def test_leave_is_answered_and_then_closed(stack: Stack) -> None:
    new, old = await stack.connect(), await stack.connect(vsn="1.0.0")
    for socket in (new, old):
        await socket.join("a", join_ref="j")
        ref = await socket.send("realtime:a", "phx_leave", {}, join_ref="j")
        assert (await socket.reply(ref)).payload == {"status": "ok", "response": {}}
    assert (await new.event("phx_close")).raw == ["j", "j", "realtime:a", "phx_close", {}]
    assert (await old.event("phx_close")).raw == {
        "topic": "realtime:a",
        "event": "phx_close",
        "payload": {},
        "ref": "j",
    }


async def test_missing_or_stale_join_ref_still_works(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.join("a", join_ref="right", broadcast={"ack": True, "self": True})
    for join_ref in (None, "stale"):
        ref = await socket.send(
            "realtime:a", "broadcast", {"type": "broadcast", "event": "e", "payload": {}}, join_ref=join_ref
        )
        assert (await socket.reply(ref)).payload["status"] == "ok"


async def test_limits_refuse_sockets_channels_and_joins(start_stack: StackFactory) -> None:
    stack = await start_stack(max_sockets=1, max_channels_per_socket=2)
    socket = await stack.connect()
    idle = await stack.connect()
    for name in "ab":
        assert (await socket.join(name)).payload["status"] == "ok"
    too_many = {"reason": "ConnectionRateLimitReached: Too many connected users"}
    assert (await idle.join("a")).payload["response"] == too_many
    assert await refusal(stack, f"apikey={stack.anon_key}") == (429, '{"error":"Too many connected users"}')
    refused = await socket.join("c")
    assert refused.payload["response"] == {"reason": "ChannelRateLimitReached: Too many channels"}


async def test_storm_of_joins_closes_the_socket_with_1001(start_stack: StackFactory) -> None:
    stack = await start_stack(max_joins_per_s=1)
    socket = await stack.connect()
    for number in range(61):
        await socket.send(f"realtime:{number % 3}", "phx_join", {})
    assert await socket.closed() == 1001


async def test_oversized_frame_closes_the_socket_with_1009(stack: Stack) -> None:
    socket = await stack.connect()
    with suppress(websockets.ConnectionClosed):  # it may be refused before all of it was sent
        await socket.send_raw("x" * 5_000_001)
    assert await socket.closed() == 1009


async def test_silent_socket_is_closed(start_stack: StackFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_services.realtime.session.hub.SWEEP_INTERVAL_S", 0.1)
    stack = await start_stack(idle_timeout_s=60)
    silent, alive = await stack.connect(), await stack.connect()
    await alive.send("phoenix", "heartbeat", {}, ref="1")
    await alive.reply("1")
    # Both were last heard of long ago, then one is heard again before anything looks.
    for connection in stack.service.hub.connections:
        connection.received_at_s -= 50
    await alive.send("phoenix", "heartbeat", {}, ref="2")
    await alive.reply("2")
    for connection in stack.service.hub.connections:
        connection.received_at_s -= 20
    assert await silent.closed() == 1000
    ref = await alive.send("phoenix", "heartbeat", {})
    await alive.reply(ref)


async def test_drain_tells_every_channel_and_closes_with_1012(stack: Stack) -> None:
    new, old = await stack.connect(), await stack.connect(vsn=None)
    for socket in (new, old):
        await socket.join("a")
        await socket.join("b")
    started_s = time.perf_counter()
    await stack.service.drain(60.0)
    assert time.perf_counter() - started_s < 30.0
    for socket in (new, old):
        assert await socket.closed() == 1012
        messages = [(item.topic, item.payload["message"]) for item in socket.events("system")]
        assert messages == [(f"realtime:{name}", "Server requested disconnect") for name in "ab"]
    assert (await refusal(stack, f"apikey={stack.anon_key}"))[0] == 503


async def test_slow_reader_is_cut_off_and_delays_nobody(start_stack: StackFactory) -> None:
    stack = await start_stack(max_send_buffer_bytes=512 * 1024)
    sender, reader = await stack.connect(), await stack.connect()
    await sender.join("a")
    await reader.join("a")
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", stack.port))
    raw.setblocking(False)
    slow = await websockets.connect(
        f"ws://127.0.0.1:{stack.port}/realtime/v1/websocket?apikey={stack.anon_key}&vsn=2.0.0",
        sock=raw,
        compression=None,
        max_queue=1,
        max_size=None,
        ping_interval=None,
    )
    await slow.send('["1","1","realtime:a","phx_join",{"config":{}}]')
    await slow.recv()
    content = "x" * 50_000
    for number in range(200):
        payload = {"type": "broadcast", "event": "e", "payload": {"n": number, "x": content}}
        sent_s = time.perf_counter()
        await sender.send("realtime:a", "broadcast", payload)
        await reader.event("broadcast")
        assert time.perf_counter() - sent_s < 30.0
        if len(stack.service.hub.connections) == 2:
            break
    got = [item.payload["payload"]["n"] for item in reader.events("broadcast")]
    assert got == list(range(len(got)))
    with pytest.raises(websockets.ConnectionClosed) as closed:
        async with asyncio.timeout(60):
            while True:
                await slow.recv()
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1013
    assert len(stack.service.hub.connections) == 2


async def test_token_expiry_ends_the_channel(wall_clock: WallClock, stack: Stack) -> None:
    socket = await stack.connect()
    await socket.join("a", token=stack.token(ALICE, life_s=1), join_ref="j")
    await socket.join("b")
    wall_clock.now_s += 2
    system = await socket.event("system")
    assert system.payload["status"] == "error"
    assert system.payload["extension"] == "system"
    assert system.payload["channel"] == "a"
    assert system.payload["message"].startswith("Token has expired ")
    assert (await socket.event("phx_close")).raw == ["j", "j", "realtime:a", "phx_close", {}]
    ref = await socket.send("realtime:a", "broadcast", {})
    assert (await socket.reply(ref)).payload["status"] == "error"


async def test_join_is_refused_with_the_reason_of_its_token(stack: Stack) -> None:
    socket = await stack.connect()
    cases = {
        stack.token(ALICE, life_s=-100): r"InvalidJWTToken: Token has expired 1\d\d seconds ago",
        stack.token(ALICE)[:-4] + "AAAA": "JwtSignatureError: Failed to validate JWT signature",
        "nonsense": "MalformedJWT: The token provided is not a valid JWT",
        stack.token(role=None): "InvalidJWTToken: Fields `role` and `exp` are required in JWT",  # type: ignore[arg-type]
    }
    for token, expected in cases.items():
        reply = await socket.join("a", token=token)
        assert reply.payload["status"] == "error"
        assert re.fullmatch(expected, reply.payload["response"]["reason"])


async def test_new_token_replaces_the_old_and_a_bad_one_ends_the_channel(wall_clock: WallClock, stack: Stack) -> None:
    socket, other = await stack.connect(), await stack.connect()
    for each in (socket, other):
        await each.join("a", token=stack.token(ALICE, life_s=1))
    for ignored in (None, "sb_publishable_x", 7):
        await socket.send("realtime:a", "access_token", {"access_token": ignored})
    await socket.send("realtime:a", "access_token", {"access_token": stack.token(ALICE)})
    ref = await socket.send("phoenix", "heartbeat", {})
    await socket.reply(ref)
    wall_clock.now_s += 2
    # The old token has ended where it was not replaced.
    await other.event("phx_close")
    assert socket.events("system") == []
    await socket.send("realtime:a", "access_token", {"access_token": stack.token(ALICE)[:-4] + "AAAA"})
    assert (await socket.event("system")).payload["message"] == ":signature_error"
    await socket.event("phx_close")


async def test_frames_of_the_server_are_valid_json_with_odd_text(stack: Stack) -> None:
    socket = await stack.connect()
    name = 'é"\\\u2028\x7f'
    await socket.join(name, broadcast={"self": True})
    text = json.dumps(["1", "2", f"realtime:{name}", "broadcast", {"event": "\ud83d", "payload": {"a": "\ud83d"}}])
    await socket.send_raw(text)
    assert (await socket.event("broadcast")).payload == {"event": "\ud83d", "payload": {"a": "\ud83d"}}


@pytest.mark.parametrize("gives_sockets", [True, False], ids=["bare socket", "asgi"])
async def test_both_ways_to_serve_a_socket_are_one_to_the_client(
    start_stack: StackFactory, *, gives_sockets: bool
) -> None:
    stack = await start_stack(gives_sockets=gives_sockets)
    new, old = await stack.connect(), await stack.connect(vsn="1.0.0")
    for socket in (new, old):
        await socket.join("a", broadcast={"self": True})
    await new.send_binary("realtime:a", "e", b'{"n":1}')
    await old.send("realtime:a", "broadcast", {"type": "broadcast", "event": "e", "payload": {"n": 2}})
    for socket in (new, old):
        first, second = await socket.event("broadcast"), await socket.event("broadcast")
        assert [item.payload["payload"]["n"] for item in (first, second)] == [1, 2]
    await new.close()
    await stack.service.drain(2.0)
    assert await old.closed() == 1012
    assert not stack.service.hub.connections


def test_policies_read_the_headers_of_a_socket_but_not_what_makes_it_one() -> None:
    headers = [
        (b"user-agent", b"client"),
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-key", b"random"),
        (b"sec-websocket-version", b"13"),
        (b"x-forwarded-for", b"10.0.0.1"),
    ]
    scope = {"type": "websocket", "path": "/websocket", "headers": headers}
    facts = socket_facts(scope)
    assert json.loads(facts.headers_json) == {"user-agent": "client", "x-forwarded-for": "10.0.0.1"}
    other = socket_facts({**scope, "headers": [*headers[:3], (b"sec-websocket-key", b"another"), *headers[4:]]})
    assert other.headers_json is facts.headers_json
