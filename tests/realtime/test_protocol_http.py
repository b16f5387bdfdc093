"""Broadcasts over HTTP, request by request (contract 1.12), and tokens of every kind of key (1.1). One server for all."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from isobase_services.realtime.edge.openapi import OPENAPI
from tests.realtime.client import PATIENCE_S
from tests.realtime.conftest import Stack, StackFactory
from tests.realtime.scenarios import UUID

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD: dict[str, Any] = {"topic": "room-1", "event": "e", "payload": {"a": 1}}
BLANK, INVALID = ["can't be blank"], ["is invalid"]
TOO_LARGE = ["Payload size exceeds tenant limit"]


def client(stack: Stack, token: str | None = None) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {token}"} if token else {"apikey": stack.anon_key}
    return httpx.AsyncClient(base_url=f"{stack.url}/realtime/v1", headers=headers, timeout=PATIENCE_S)


BATCHES: list[tuple[Any, Any]] = [
    ([], {"messages": BLANK}),
    ({}, {"messages": BLANK}),
    ({"messages": None}, {"messages": INVALID}),
    ({"messages": [None]}, {"messages": INVALID}),
    ({"messages": {"0": GOOD}}, {"messages": INVALID}),
    ({"messages": [{}]}, {"messages": [{"topic": BLANK, "payload": BLANK, "event": BLANK}]}),
    ({"messages": [{**GOOD, "topic": " \t"}]}, {"messages": [{"topic": BLANK}]}),
    ({"messages": [{**GOOD, "payload": None}, GOOD]}, {"messages": [{"payload": BLANK}, {}]}),
    ({"messages": [{**GOOD, "payload": "x"}]}, {"messages": [{"payload": INVALID}]}),
    ({"messages": [{**GOOD, "private": "maybe"}]}, {"messages": [{"private": INVALID}]}),
    ({"messages": [{**GOOD, "private": 1}]}, {"messages": [{"private": INVALID}]}),
    ({"messages": [{**GOOD, "payload": {"x": "x" * 2_000}}]}, {"messages": [{"payload": TOO_LARGE}]}),
]


async def test_a_batch_with_anything_wrong_sends_nothing(shared_stack: Stack) -> None:
    socket = await shared_stack.connect()
    await socket.join("room-1")
    async with client(shared_stack) as http:
        for body, errors in BATCHES:
            response = await http.post("/api/broadcast", json=body)
            assert (response.status_code, response.json()) == (422, {"errors": errors}), body
        for content in (
            b"{",
            b"\xff",
            b'{"messages":[{"topic":"a","event":"b","payload":{"n":1e400}}]}',
            b"[" * 50_000,
        ):
            response = await http.post("/api/broadcast", content=content)
            assert (response.status_code, response.text) == (400, "Bad Request")
        assert (await http.post("/api/broadcast")).json() == {"errors": {"messages": BLANK}}
        ok = await http.post("/api/broadcast", json={"messages": [GOOD]})
    assert (ok.status_code, ok.content) == (202, b"")
    assert (await socket.event("broadcast")).payload == {"type": "broadcast", "event": "e", "payload": {"a": 1}}
    assert len(socket.events("broadcast")) == 1


async def test_private_messages_of_a_batch_are_sent_where_policies_allow_and_skipped_elsewhere(
    shared_stack: Stack,
) -> None:
    reader = await shared_stack.connect()
    for topic in ("room-2", "room-3"):
        await reader.join(topic, token=shared_stack.token("r", reads="broadcast"), private=True)
    writer = shared_stack.token("w", writes="broadcast")
    async with client(shared_stack, writer) as http:
        messages = [
            {**GOOD, "topic": topic, "private": private, "event": f"{topic} {private}"}
            for topic in ("elsewhere", "room-2", "room-3")
            for private in (True, "true", "1", False)
        ]
        assert (await http.post("/api/broadcast", json={"messages": messages})).status_code == 202
    async with client(shared_stack) as http:
        mute = {**GOOD, "topic": "room-2", "private": True, "event": "not allowed"}
        assert (await http.post("/api/broadcast", json={"messages": [mute]})).status_code == 202
    async with client(shared_stack, writer) as http:
        last = {**GOOD, "topic": "room-3", "private": True, "event": "last"}
        assert (await http.post("/api/broadcast", json={"messages": [last]})).status_code == 202
    await reader.wait_for(lambda item: item.event == "broadcast" and item.payload["event"] == "last")
    got = [item.payload["event"] for item in reader.events("broadcast")]
    assert got == [f"{topic} {private}" for topic in ("room-2", "room-3") for private in (True, "true", "1")] + ["last"]


async def test_a_single_message_that_is_denied_is_403_and_one_whose_policy_raises_422(shared_stack: Stack) -> None:
    async with client(shared_stack, shared_stack.token("r", reads="broadcast")) as http:
        path = "/api/broadcast/room-4/events/e"
        denied = await http.post(path, params={"private": "true"}, json={})
        assert (denied.status_code, denied.json()) == (403, {"message": "Unauthorized"})
        # Anything but the text true is public.
        for value in ("True", "1", "yes", ""):
            assert (await http.post(path, params={"private": value}, json={})).status_code == 202
    async with client(shared_stack, shared_stack.token("r", role="nobody_knows")) as http:
        raised = await http.post(path, params={"private": "true"}, json={})
        assert (raised.status_code, raised.json()) == (422, {"message": "RLS policy error"})


async def test_a_single_message_has_a_type_that_is_known(shared_stack: Stack) -> None:
    socket = await shared_stack.connect()
    await socket.join("room-5")
    unknown = {"error": "Unsupported Media Type. Use application/json or application/octet-stream"}
    async with client(shared_stack) as http:
        path = "/api/broadcast/room-5/events/e"
        for kind in ("text/plain", "application/xml", "json", "application/json-patch+json"):
            response = await http.post(path, content=b"{}", headers={"content-type": kind})
            assert (response.status_code, response.json()) == (415, unknown), kind
        for kind in ("application/json; charset=utf-8", "Application/JSON"):
            assert (await http.post(path, content=b'{"t":1}', headers={"content-type": kind})).status_code == 202
        # Clients once said nothing of what they sent.
        assert (await http.post(path, content=b'{"t":1}')).status_code == 202
        for _ in range(3):
            assert (await socket.event("broadcast")).payload["payload"] == {"t": 1}
        raw = await http.post(path, content=b"", headers={"content-type": "application/octet-stream"})
        assert raw.status_code == 202
        assert (await socket.event("broadcast")).payload["payload"] == b""
        large = await http.post(path, json={"x": "x" * 2_000})
        assert (large.status_code, large.json()) == (422, {"errors": {"payload": TOO_LARGE}})


async def test_every_answer_says_how_much_of_the_rate_is_used(shared_stack: Stack) -> None:
    async with (
        client(shared_stack) as http,
        httpx.AsyncClient(base_url=f"{shared_stack.url}/realtime/v1", timeout=PATIENCE_S) as nobody,
    ):
        for answer in (
            await http.post("/api/broadcast", json={"messages": [GOOD]}),
            await http.post("/api/broadcast", json={}),
            await http.post("/api/broadcast/room/events/e", content=b"", headers={"content-type": "a/b"}),
            await nobody.post("/api/broadcast", json={}),
            await nobody.get("/api/ping"),
        ):
            assert answer.headers["x-rate-limit"] == "100000"
            rolling, left = (int(answer.headers[name]) for name in ("x-rate-rolling", "x-rate-limit-remaining"))
            assert rolling + left == 100_000
        assert (answer.status_code, answer.json()) == (200, {"message": "Success"})


async def test_odd_names_travel_in_the_path(shared_stack: Stack) -> None:
    socket = await shared_stack.connect(vsn=None)
    names = ["räum", "a/b", "a b", "events", "%41", "x" * 300, "\U0001f600", "..", "a?b#c"]
    async with client(shared_stack) as http:
        for name in names:
            assert (await socket.join(f"odd {name}")).payload["status"] == "ok"
            quoted = "".join(f"%{byte:02X}" for byte in name.encode())
            response = await http.post(f"/api/broadcast/odd%20{quoted}/events/{quoted}", json={"n": name})
            assert response.status_code == 202, name
            got = await socket.event("broadcast")
            assert (got.topic, got.payload["event"]) == (f"realtime:odd {name}", name)
        for path in (
            "/api/broadcast//events/e",
            "/api/broadcast/a/events/",
            "/api/broadcast/a/events",
            "/api/broadcast/",
        ):
            assert (await http.post(path, json={})).status_code == 404, path


@pytest.mark.asyncio(loop_scope="function")
async def test_a_batch_beyond_the_rate_is_refused_whole_and_then_everything(
    start_stack: StackFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = await start_stack(max_events_per_s=2)
    # However long the requests take, they fall into the minute over which the rates are counted.
    now_s = time.monotonic()
    for rate in (stack.service.hub.events, stack.service.hub.requests):
        monkeypatch.setattr(rate, "_clock", lambda: now_s)
    socket = await stack.connect()
    await socket.join("room-1")
    async with client(stack) as http:
        many = await http.post("/api/broadcast", json={"messages": [GOOD] * 3})
        text = "Too many messages to broadcast, please reduce the batch size"
        assert (many.status_code, many.json()) == (429, {"message": text})
        assert (many.headers["x-rate-limit"], many.headers["x-rate-limit-remaining"]) == ("2", "2")
        accepted = 0
        while (last := await http.post("/api/broadcast", json={"messages": [GOOD]})).status_code == 202:
            accepted += 1
        assert (last.status_code, last.json()) == (429, {"message": text})
        # Each message counts, and each delivery of it.
        assert 30 <= accepted < 60
        single = "/api/broadcast/room-1/events/e"
        while (last := await http.post(single, json={})).status_code == 202:
            pass
        exceeded = {"message": "You have exceeded your rate limit"}
        assert (last.status_code, last.json()) == (429, exceeded)
        one = await http.post("/api/broadcast", json={"messages": [GOOD]})
        assert (one.status_code, one.json()) == (429, exceeded)
        # Requests are counted too, whatever they bring; what is wrong with one is not looked at any more.
        while (last := await http.post("/api/broadcast", json={})).status_code == 422:
            pass
        assert (last.status_code, last.json()) == (429, {"message": "Too many requests"})
        assert (last.headers["x-rate-rolling"], last.headers["x-rate-limit-remaining"]) == ("2", "0")


async def test_sql_senders_are_told_apart_by_version_and_kind(shared_stack: Stack) -> None:
    new, old = await shared_stack.connect(), await shared_stack.connect(vsn=None)
    for socket in (new, old):
        await socket.join("room-6", broadcast={"replication_ready": True})
        await socket.event("system")
    await shared_stack.sql("select realtime.send('{\"a\": 1}'::jsonb, 'made', 'room-6', false)")
    await shared_stack.sql("select realtime.send('{\"id\": 7}'::jsonb, 'given', 'room-6', false)")
    await shared_stack.sql("select realtime.send_binary('\\x00ff'::bytea, 'raw', 'room-6', false)")
    await shared_stack.sql("select realtime.send('{\"a\": 2}'::jsonb, 'private', 'room-6')")
    large = "select realtime.send(jsonb_build_object('x', repeat('x', 2000)), 'too large', 'room-6', false)"
    await shared_stack.sql(large)
    await shared_stack.sql(
        "insert into realtime.messages (topic, extension, event, payload, private)"
        " values ('room-6', 'presence', 'no', '{}', false), ('room-6', 'broadcast', 'plain', '[1]', false)"
    )
    for socket in (new, old):
        await socket.wait_for(lambda item: item.event == "broadcast" and item.payload["event"] == "plain")
        events = {item.payload["event"]: item for item in socket.events("broadcast")}
        assert list(events) == (["made", "given", "raw", "plain"] if socket is new else ["made", "given", "plain"])
        made = events["made"].payload
        assert made == {
            "type": "broadcast",
            "event": "made",
            "payload": {"a": 1, "id": UUID},
            "meta": {"id": made["payload"]["id"]},
        }
        assert events["given"].payload["payload"] == {"id": 7}
        assert events["given"].payload["meta"] == {"id": UUID}
        assert events["plain"].payload["payload"] == [1]
        # As upstream: what comes from SQL reaches 2.0.0 as a binary frame, 1.0.0 as text.
        assert all((item.binary is not None) == (socket is new) for item in events.values())
    raw = new.events("broadcast")[2]
    assert (raw.payload["payload"], raw.payload["meta"]) == (b"\x00\xff", {"id": UUID})
    assert json.dumps(old.events("broadcast")[0].raw["ref"]) == "null"


async def test_what_is_described_is_served_with_the_examples_of_the_description(shared_stack: Stack) -> None:
    paths, schemas = OPENAPI["paths"], OPENAPI["schemas"]
    assert paths.items() <= shared_stack.service.openapi["paths"].items()
    example = schemas["Broadcasts"]["example"]
    socket = await shared_stack.connect()
    await socket.join("room-1")
    for path, item in paths.items():
        if not path.startswith("/realtime/v1/"):
            continue  # the rooms' are tried by their own tests
        url = path.removeprefix("/realtime/v1").replace("{topic}", "room-1").replace("{event}", "message")
        content = item["post"]["requestBody"]["content"]["application/json"]
        async with client(shared_stack) as http:
            answer = await http.post(url, json=content.get("example", example))
        described = item["post"]["responses"][str(answer.status_code)]
        assert set(described["headers"]) <= set(answer.headers)
        assert (await socket.event("broadcast")).payload["payload"] == {"text": "hello"}
