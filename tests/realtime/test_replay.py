"""Replay of broadcasts: what a private channel sends of realtime.messages to who joins it (contract 1.6 and 1.8)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from isobase_services.realtime.core.replay import ReplayRefused, plan_replay
from tests.realtime.client import Phoenix, Received
from tests.realtime.conftest import ALICE, BOB, Stack

TOPIC = "realtime:room"
HOUR_MS = 3_600_000


async def prepared(stack: Stack) -> None:
    """Whoever is signed in reads everything but Bob, who reads presence only."""
    await stack.sql(
        "create policy r on realtime.messages for select to authenticated"
        f" using (auth.uid() <> '{BOB}' or extension = 'presence')"
    )


async def store(
    stack: Stack, event: str, *, age: str = "1 minute", payload: str | None = None, topic: str = "room", **columns: Any
) -> str:
    """Insert a message; returns its id."""
    rows = await stack.sql(
        "insert into realtime.messages (topic, extension, event, payload, binary_payload, private, inserted_at)"
        " values ($1, $2, $3, $4, $5, $6, (now() at time zone 'utc') - $7::text::interval) returning id::text",
        topic,
        columns.get("extension", "broadcast"),
        event,
        payload if "binary" in columns else payload or '{"of":"sql"}',
        columns.get("binary"),
        columns.get("private", True),
        age,
    )
    return str(rows[0]["id"])


def ago_ms(milliseconds: int = HOUR_MS) -> int:
    return int(time.time() * 1000) - milliseconds


async def join(socket: Phoenix, stack: Stack, replay: Any, user: str = ALICE, **config: Any) -> Received:
    broadcast = {"replay": replay, **config.pop("broadcast", {})}
    return await socket.join("room", token=stack.token(user), broadcast=broadcast, **{"private": True, **config})


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_newest_messages_come_oldest_first_marked_and_before_the_presence_state(stack: Stack, vsn: str) -> None:
    await prepared(stack)
    wanted = [await store(stack, name, age=age) for name, age in (("b", "2 minutes"), ("c", "1 minute"))]
    await store(stack, "a", age="3 minutes")  # beyond the limit
    await store(stack, "old", age="2 hours")
    await store(stack, "public", private=False)
    await store(stack, "elsewhere", topic="other")
    await store(stack, "presence", extension="presence")
    socket = await stack.connect(vsn=vsn)
    reply = await join(socket, stack, {"since": ago_ms(), "limit": 2}, presence={"enabled": True})
    assert reply.payload["status"] == "ok"
    state = await socket.event("presence_state")
    first, second = socket.events("broadcast")
    for got, identifier, event in zip((first, second), wanted, "bc", strict=True):
        assert got.payload == {
            "type": "broadcast",
            "event": event,
            "payload": {"of": "sql"},
            "meta": {"id": identifier, "replayed": True},
        }
        assert got.ref is None
        if socket.is_v2:
            assert got.raw[0] == reply.join_ref
    order = [item for item in socket.received if item.topic == TOPIC and item.event != "system"]
    assert order == [reply, first, second, state]


async def test_raw_bytes_are_replayed_as_binary_frames_and_skipped_on_version_1(stack: Stack) -> None:
    await prepared(stack)
    identifier = await store(stack, "raw", binary=b"\x00\xff")
    await store(stack, "text", age="1 second")
    new, old = await stack.connect(), await stack.connect(vsn=None)
    for socket in (new, old):
        await join(socket, stack, {"since": ago_ms()})
        await socket.wait_for(lambda item: item.event == "broadcast" and item.payload["event"] == "text")
    raw = new.events("broadcast")[0]
    assert raw.binary is not None
    assert raw.payload["payload"] == b"\x00\xff"
    assert raw.payload["meta"] == {"id": identifier, "replayed": True}
    assert len(old.events("broadcast")) == 1


async def test_live_copy_of_a_replayed_message_is_not_sent_again_to_that_channel_alone(stack: Stack) -> None:
    await prepared(stack)
    witness, socket = await stack.connect(), await stack.connect()
    await witness.join("room", token=stack.token(ALICE), private=True, broadcast={"replication_ready": True})
    await witness.event("system", timeout_s=20.0)
    hub = stack.service.hub
    await stack.sql("select realtime.send('{\"n\": 1}'::jsonb, 'one', 'room')")
    got = await witness.event("broadcast")
    await join(socket, stack, {"since": ago_ms()})
    replayed = await socket.event("broadcast")
    assert replayed.payload["meta"] == {"id": got.payload["meta"]["id"], "replayed": True}
    channel = next(iter(c for c in hub.connections if TOPIC in c.channels and c.channels[TOPIC].replayed_ids))
    assert channel.channels[TOPIC].replayed_ids == {got.payload["meta"]["id"]}
    # A copy by HTTP with the id of a stored message is a copy too.
    message = {"topic": "room", "event": "copy", "payload": {}, "private": True, "id": got.payload["meta"]["id"]}
    await post(stack, [message, {**message, "event": "other", "id": "x"}])
    assert (await witness.event("broadcast")).payload["event"] == "copy"
    assert (await socket.event("broadcast")).payload == {
        "type": "broadcast",
        "event": "other",
        "payload": {},
        "meta": {"id": "x"},
    }


async def post(stack: Stack, messages: list[dict[str, Any]]) -> None:
    async with httpx.AsyncClient(base_url=f"{stack.url}/realtime/v1") as http:
        headers = {"apikey": stack.settings.service_role_token}
        response = await http.post("/api/broadcast", json={"messages": messages}, headers=headers)
        assert response.status_code == 202


async def test_no_message_is_lost_or_doubled_between_replay_and_live(stack: Stack) -> None:
    await prepared(stack)
    witness = await stack.connect()
    await witness.join("room", token=stack.token(ALICE), private=True, broadcast={"replication_ready": True})
    await witness.event("system", timeout_s=20.0)
    since = ago_ms(1000)
    is_over = asyncio.Event()

    async def send_on() -> int:
        number = 0
        while not is_over.is_set() or number < 10:
            await stack.sql("select realtime.send(jsonb_build_object('n', $1::int), 'n', 'room')", number)
            number += 1
            if number >= 24:
                break
        return number

    sending = asyncio.create_task(send_on())
    sockets: list[Phoenix] = []
    for _ in range(4):
        socket = await stack.connect()
        await join(socket, stack, {"since": since})
        sockets.append(socket)
    is_over.set()
    count = await sending
    for socket in (witness, *sockets):
        await socket.wait_for(
            lambda item: item.event == "broadcast" and item.payload["payload"]["n"] == count - 1, 20.0
        )
        numbers = [item.payload["payload"]["n"] for item in socket.events("broadcast")]
        assert numbers == list(range(count))


INVALID = "UnableToReplayMessages: Replay params are not valid"
PUBLIC = "UnableToReplayMessages: Replay is not allowed for public channels"


async def test_replay_that_cannot_be_is_refused_with_upstreams_reasons(stack: Stack) -> None:
    await prepared(stack)
    socket = await stack.connect()
    denied = "Unauthorized: You do not have permissions to read from this Channel topic: room"
    cases: list[tuple[Any, dict[str, Any], str, str]] = [
        ({"since": ago_ms()}, {"private": False}, ALICE, PUBLIC),
        (None, {"private": False}, ALICE, PUBLIC),
        ({}, {}, ALICE, INVALID),
        ({"since": "1"}, {}, ALICE, INVALID),
        ({"since": 1.5}, {}, ALICE, INVALID),
        ({"since": True}, {}, ALICE, INVALID),
        ({"since": 1, "limit": "2"}, {}, ALICE, INVALID),
        ({"since": 10**18}, {}, ALICE, INVALID),
        # Who reads presence alone may join, but has no broadcasts to be sent again.
        ({"since": 1}, {"presence": {"enabled": True}}, BOB, denied),
    ]
    for replay, config, user, reason in cases:
        reply = await join(socket, stack, replay, user, **config)
        assert reply.payload == {"status": "error", "response": {"reason": reason}}, replay
    # What is no object at all is no wish.
    assert (await join(socket, stack, "yes")).payload["status"] == "ok"


async def test_replay_from_before_the_first_year_is_of_everything(stack: Stack) -> None:
    await prepared(stack)
    await store(stack, "one")
    socket = await stack.connect()
    await join(socket, stack, {"since": -(10**17), "limit": -3})
    assert (await socket.event("broadcast")).payload["event"] == "one"


async def test_table_that_cannot_be_read_refuses_the_join(stack: Stack) -> None:
    await prepared(stack)
    await stack.sql("alter table realtime.messages rename column event to gone")
    socket = await stack.connect()
    reply = await join(socket, stack, {"since": 1})
    reason = "UnableToReplayMessages: Realtime was unable to replay messages"
    assert reply.payload == {"status": "error", "response": {"reason": reason}}


@pytest.mark.parametrize(("limit", "expected"), [(None, 25), (0, 1), (-1, 1), (1, 1), (25, 25), (26, 25), (10**30, 25)])
def test_limit_is_clamped(limit: int | None, expected: int) -> None:
    assert plan_replay({"since": 0, "limit": limit}).limit == expected


@pytest.mark.parametrize("since", [None, "0", 0.0, True, [], 253_402_300_800_000])
def test_moment_must_be_an_integer_that_is_a_date(since: object) -> None:
    with pytest.raises(ReplayRefused, match="Replay params are not valid"):
        plan_replay({"since": since})
