"""Broadcasts: over sockets of both versions, over HTTP, and from SQL."""

from __future__ import annotations

import httpx

from tests.realtime.client import PATIENCE_S
from tests.realtime.conftest import Stack, StackFactory

TOPIC = "realtime:room"
HI = {"type": "broadcast", "event": "hi", "payload": {"a": 1}}


async def test_text_push_reaches_both_versions_and_keeps_extra_keys(stack: Stack) -> None:
    sender, new, old = await stack.connect(vsn=None), await stack.connect(), await stack.connect(vsn=None)
    for socket in (sender, new, old):
        await socket.join("room")
    await sender.send(TOPIC, "broadcast", {**HI, "extra": [1, None]})
    assert (await new.event("broadcast")).raw == [None, None, TOPIC, "broadcast", {**HI, "extra": [1, None]}]
    assert (await old.event("broadcast")).raw == {
        "topic": TOPIC,
        "event": "broadcast",
        "payload": {**HI, "extra": [1, None]},
        "ref": None,
    }
    await sender.nothing("broadcast", 0.1)


async def test_binary_json_push_reaches_v2_as_type_4_and_v1_as_text(stack: Stack) -> None:
    sender, new, old = await stack.connect(), await stack.connect(), await stack.connect(vsn=None)
    for socket in (sender, new, old):
        await socket.join("room", broadcast={"ack": True})
    await sender.send_binary(TOPIC, "hi", b'{"a": 1}', join_ref="1", ref="9")
    assert (await sender.reply("9")).payload == {"status": "ok", "response": {}}
    got = await new.event("broadcast")
    assert got.binary == b"\x04" + bytes([len(TOPIC), 2, 0, 1]) + TOPIC.encode() + b"hi" + b'{"a": 1}'
    assert (await old.event("broadcast")).raw == {"topic": TOPIC, "event": "broadcast", "payload": HI, "ref": None}


async def test_raw_binary_reaches_v2_alone(stack: Stack) -> None:
    sender, new, old = await stack.connect(), await stack.connect(), await stack.connect(vsn=None)
    for socket in (sender, new, old):
        await socket.join("room")
    await sender.send_binary(TOPIC, "blob", b"\x00\xff\x01", encoding=0)
    got = await new.event("broadcast")
    assert got.binary is not None
    assert got.binary.endswith(b"\x00\xff\x01")
    assert got.binary[4] == 0
    await old.nothing("broadcast", 0.2)


async def test_self_reaches_the_sending_channel_and_its_absence_no_other_socket(stack: Stack) -> None:
    first, second = await stack.connect(), await stack.connect()
    await first.join("room", broadcast={"self": True})
    await second.join("room")
    await first.send(TOPIC, "broadcast", HI)
    await first.event("broadcast")
    await second.event("broadcast")
    await second.send(TOPIC, "broadcast", HI)
    await first.event("broadcast")
    await second.nothing("broadcast", 0.1)


async def test_ack_is_sent_only_when_asked_for(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.join("room")
    await socket.send(TOPIC, "broadcast", HI)
    await socket.nothing("phx_reply", 0.1)


async def test_oversized_payload_is_not_sent_and_its_ack_is_an_error_object(start_stack: StackFactory) -> None:
    stack = await start_stack(max_payload_bytes=1000)
    sender, other = await stack.connect(), await stack.connect()
    await sender.join("room", broadcast={"ack": True})
    await other.join("room")
    ref = await sender.send(TOPIC, "broadcast", {**HI, "payload": {"x": "x" * 1000}})
    reply = (await sender.reply(ref)).payload
    assert reply == {"status": "error", "response": {"reason": "payload_size_exceeded"}}
    await other.nothing("broadcast", 0.1)


async def test_order_of_one_sender_is_kept(stack: Stack) -> None:
    sender, other = await stack.connect(), await stack.connect(vsn=None)
    await sender.join("room")
    await other.join("room")
    for number in range(300):
        await sender.send(TOPIC, "broadcast", {**HI, "payload": {"n": number}})
    await other.wait_for(lambda item: item.event == "broadcast" and item.payload["payload"]["n"] == 299)
    assert [item.payload["payload"]["n"] for item in other.events("broadcast")] == list(range(300))


async def test_sustained_excess_of_messages_ends_the_channel(start_stack: StackFactory) -> None:
    stack = await start_stack(max_events_per_s=1)
    socket = await stack.connect()
    await socket.join("room")
    for _ in range(70):
        await socket.send(TOPIC, "broadcast", HI)
    assert (await socket.event("system")).payload["message"] == "Too many messages per second"
    await socket.event("phx_close")
    async with httpx.AsyncClient(
        base_url=f"{stack.url}/realtime/v1", headers={"apikey": stack.anon_key}, timeout=PATIENCE_S
    ) as http:
        body = {"messages": [{"topic": "room", "event": "e", "payload": {}}]}
        response = await http.post("/api/broadcast", json=body)
        assert (response.status_code, response.json()) == (429, {"message": "You have exceeded your rate limit"})
        assert response.headers["x-rate-limit"] == "1"


async def test_http_batch_is_sent_to_everybody(stack: Stack) -> None:
    new, old = await stack.connect(), await stack.connect(vsn=None)
    for socket in (new, old):
        await socket.join("room")
    messages = [{"topic": "room", "event": f"e{number}", "payload": {"n": number}} for number in range(3)]
    async with httpx.AsyncClient(base_url=f"{stack.url}/realtime/v1", timeout=PATIENCE_S) as http:
        for headers in (
            {"authorization": f"Bearer {stack.token()}"},
            {"apikey": stack.anon_key},
            {"apikey": stack.settings.publishable_key.get_secret_value()},
        ):
            response = await http.post(
                "/api/broadcast?apikey=x&vsn=2.0.0", json={"messages": messages}, headers=headers
            )
            assert (response.status_code, response.content) == (202, b"")
            for socket in (new, old):
                for message in messages:
                    got = await socket.event("broadcast")
                    assert got.payload == {
                        "type": "broadcast",
                        "event": message["event"],
                        "payload": message["payload"],
                    }


async def test_http_batch_is_refused_whole_with_an_error_per_message(stack: Stack) -> None:
    socket = await stack.connect()
    await socket.join("room")
    good = {"topic": "room", "event": "e", "payload": {}}
    cases: list[tuple[object, object]] = [
        ({}, {"messages": ["can't be blank"]}),
        ({"messages": []}, {"messages": ["can't be blank"]}),
        ({"messages": "x"}, {"messages": ["is invalid"]}),
        ({"messages": [good, {**good, "event": ""}]}, {"messages": [{}, {"event": ["can't be blank"]}]}),
        (
            {"messages": [{"topic": "a", "event": 7, "payload": []}]},
            {"messages": [{"event": ["is invalid"], "payload": ["is invalid"]}]},
        ),
    ]
    async with httpx.AsyncClient(
        base_url=f"{stack.url}/realtime/v1", headers={"apikey": stack.anon_key}, timeout=PATIENCE_S
    ) as http:
        for body, errors in cases:
            response = await http.post("/api/broadcast", json=body)
            assert (response.status_code, response.json()) == (422, {"errors": errors})
        broken = await http.post("/api/broadcast", content=b"{")
        assert (broken.status_code, broken.text) == (400, "Bad Request")
        huge = await http.post("/api/broadcast", content=b"x" * 8_000_001)
        assert huge.status_code == 413
    await socket.nothing("broadcast", 0.1)


async def test_http_needs_a_token_that_verifies(stack: Stack) -> None:
    body = {"messages": [{"topic": "room", "event": "e", "payload": {}}]}
    async with httpx.AsyncClient(base_url=f"{stack.url}/realtime/v1", timeout=PATIENCE_S) as http:
        for headers in ({}, {"apikey": "nonsense"}, {"authorization": f"Bearer {stack.token(life_s=-5)}"}):
            response = await http.post("/api/broadcast", json=body, headers=headers)
            assert (response.status_code, response.json()) == (401, {"message": "Unauthorized"})


async def test_http_single_message_in_both_forms(stack: Stack) -> None:
    new, old = await stack.connect(), await stack.connect(vsn=None)
    for socket in (new, old):
        await socket.join("room:1")
    async with httpx.AsyncClient(
        base_url=f"{stack.url}/realtime/v1", headers={"apikey": stack.anon_key}, timeout=PATIENCE_S
    ) as http:
        path = "/api/broadcast/room%3A1/events/my%20event"
        response = await http.post(path, json={"a": 1})
        assert (response.status_code, response.content) == (202, b"")
        for socket in (new, old):
            got = await socket.event("broadcast")
            assert got.payload == {"type": "broadcast", "event": "my event", "payload": {"a": 1}}
        raw = await http.post(path, content=b"\x00\xff", headers={"content-type": "application/octet-stream"})
        assert raw.status_code == 202
        assert (await new.event("broadcast")).payload["payload"] == b"\x00\xff"
        assert (await http.post(path, content=b"<x/>", headers={"content-type": "text/xml"})).status_code == 415
        broken = await http.post(path, content=b"{", headers={"content-type": "application/json"})
        assert broken.status_code == 400
        odd = await http.post("/api/broadcast/room%3A1/events/a%2Fb", json=[1])
        assert odd.status_code == 202
        payload = (await old.event("broadcast")).payload
        assert payload == {"type": "broadcast", "event": "a/b", "payload": {"_json": [1]}}
        assert (await http.post("/api/broadcast/room/other/e", json={})).status_code == 404
        preflight = await http.options(
            path, headers={"origin": "https://app.example.com", "access-control-request-method": "POST"}
        )
        assert preflight.headers["access-control-allow-origin"] == "*"
    await old.nothing("broadcast", 0.1)


async def test_message_sent_from_sql_arrives_with_its_id(stack: Stack) -> None:
    new, old = await stack.connect(), await stack.connect(vsn=None)
    for socket in (new, old):
        await socket.join("room", broadcast={"replication_ready": True})
        system = await socket.event("system")
        assert system.payload == {
            "extension": "system",
            "status": "ok",
            "message": "Replication connection established",
            "channel": "room",
        }
    await stack.sql("select realtime.send('{\"a\": 1}'::jsonb, 'hi', 'room', false)")
    for socket in (new, old):
        payload = (await socket.event("broadcast")).payload
        identifier = payload["meta"]["id"]
        assert payload == {
            "type": "broadcast",
            "event": "hi",
            "payload": {"a": 1, "id": identifier},
            "meta": {"id": identifier},
        }
    await stack.sql("select realtime.send_binary('\\x00ff'::bytea, 'blob', 'room', false)")
    assert (await new.event("broadcast")).payload["payload"] == b"\x00\xff"
    await stack.sql("select realtime.send('{}'::jsonb, 'hi', 'room', true)")
    await old.nothing("broadcast")
