"""Replay of broadcasts: what a private channel sends of realtime.messages to who joins it (contract 1.6 and 1.8)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from isobase_services.realtime.core.replay import ReplayRefused, plan_replay
from tests.realtime.client import PATIENCE_S, Phoenix, Received
from tests.realtime.conftest import ALICE, CLAIMS_DECIDE, Stack

HOUR_MS = 3_600_000
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def store(
    stack: Stack, topic: str, event: str, *, age: str = "1 minute", payload: str | None = None, **columns: Any
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


async def join(
    socket: Phoenix, stack: Stack, topic: str, replay: Any, reads: str = "broadcast presence", **config: Any
) -> Received:
    broadcast = {"replay": replay, **config.pop("broadcast", {})}
    token = stack.token(ALICE, reads=reads)
    return await socket.join(topic, token=token, broadcast=broadcast, **{"private": True, **config})


async def witness_of(stack: Stack, topic: str) -> Phoenix:
    """A member that got the messages live."""
    witness = await stack.connect()
    token = stack.token(ALICE, reads="broadcast")
    await witness.join(topic, token=token, private=True, broadcast={"replication_ready": True})
    await witness.event("system")
    return witness


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_newest_messages_come_oldest_first_marked_and_before_the_presence_state(
    shared_stack: Stack, vsn: str
) -> None:
    stack, topic = shared_stack, f"room-newest-{vsn}"
    wanted = [await store(stack, topic, name, age=age) for name, age in (("b", "2 minutes"), ("c", "1 minute"))]
    await store(stack, topic, "a", age="3 minutes")  # beyond the limit
    await store(stack, topic, "old", age="2 hours")
    await store(stack, topic, "public", private=False)
    await store(stack, "elsewhere", "elsewhere")
    await store(stack, topic, "presence", extension="presence")
    socket = await stack.connect(vsn=vsn)
    reply = await join(socket, stack, topic, {"since": ago_ms(), "limit": 2}, presence={"enabled": True})
    assert reply.payload["status"] == "ok"
    state = await socket.event("presence_state")
    # What is beyond the limit was sent a moment ago as well: it may still come from the log, behind the replay.
    here = socket.received[: socket.received.index(state) + 1]
    first, second = (item for item in here if item.event == "broadcast")
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
    assert [item for item in here if item.event != "system"] == [reply, first, second, state]


async def test_raw_bytes_are_replayed_as_binary_frames_and_skipped_on_version_1(shared_stack: Stack) -> None:
    stack, topic = shared_stack, "room-raw"
    identifier = await store(stack, topic, "raw", binary=b"\x00\xff")
    await store(stack, topic, "text", age="1 second")
    new, old = await stack.connect(), await stack.connect(vsn=None)
    for socket in (new, old):
        await join(socket, stack, topic, {"since": ago_ms()})
        await socket.wait_for(lambda item: item.event == "broadcast" and item.payload["event"] == "text")
    raw = new.events("broadcast")[0]
    assert raw.binary is not None
    assert raw.payload["payload"] == b"\x00\xff"
    assert raw.payload["meta"] == {"id": identifier, "replayed": True}
    assert len(old.events("broadcast")) == 1


async def test_live_copy_of_a_replayed_message_is_not_sent_again_to_that_channel_alone(shared_stack: Stack) -> None:
    stack, topic = shared_stack, "room-live"
    witness, socket = await witness_of(stack, topic), await stack.connect()
    await stack.sql("select realtime.send('{\"n\": 1}'::jsonb, 'one', $1)", topic)
    got = await witness.event("broadcast")
    await join(socket, stack, topic, {"since": ago_ms()})
    replayed = await socket.event("broadcast")
    assert replayed.payload["meta"] == {"id": got.payload["meta"]["id"], "replayed": True}
    # A copy by HTTP with the id of a stored message is a copy too.
    copy = {"topic": topic, "event": "copy", "payload": {}, "private": True, "id": got.payload["meta"]["id"]}
    other = {**copy, "event": "other", "id": "x"}
    async with httpx.AsyncClient(base_url=f"{stack.url}/realtime/v1", timeout=PATIENCE_S) as http:
        headers = {"apikey": stack.settings.service_role_token}
        response = await http.post("/api/broadcast", json={"messages": [copy, other]}, headers=headers)
        assert response.status_code == 202
    assert (await witness.event("broadcast")).payload["event"] == "copy"
    assert (await socket.event("broadcast")).payload == {
        "type": "broadcast",
        "event": "other",
        "payload": {},
        "meta": {"id": "x"},
    }


async def test_no_message_is_lost_or_doubled_between_replay_and_live(shared_stack: Stack) -> None:
    stack, topic = shared_stack, "room-between"
    witness = await witness_of(stack, topic)
    since = ago_ms(1000)
    is_over = asyncio.Event()

    async def send_on() -> int:
        """Send while sockets join, within what a replay may hold."""
        for number in range(25):
            if is_over.is_set() and number >= 10:
                return number
            await stack.sql("select realtime.send(jsonb_build_object('n', $1::int), 'n', $2)", number, topic)
        return 25

    sending = asyncio.create_task(send_on())
    sockets: list[Phoenix] = []
    for _ in range(4):
        socket = await stack.connect()
        await join(socket, stack, topic, {"since": since})
        sockets.append(socket)
    is_over.set()
    count = await sending
    for socket in (witness, *sockets):
        await socket.wait_for(lambda item: item.event == "broadcast" and item.payload["payload"]["n"] == count - 1)
        assert [item.payload["payload"]["n"] for item in socket.events("broadcast")] == list(range(count))


@pytest.mark.asyncio(loop_scope="function")
async def test_message_sent_right_after_the_first_join_with_a_replay_arrives(stack: Stack) -> None:
    """Nobody listened before, so no stream ran: the join is answered once it does."""
    await stack.owner.execute(CLAIMS_DECIDE)
    await stack.sql("select realtime.send('{\"n\": 0}'::jsonb, 'before', 'room-first')")
    socket = await stack.connect()
    assert (await join(socket, stack, "room-first", {"since": ago_ms()})).payload["status"] == "ok"
    await stack.sql("select realtime.send('{\"n\": 1}'::jsonb, 'after', 'room-first')")
    await socket.wait_for(lambda item: item.event == "broadcast" and item.payload["event"] == "after")
    assert [item.payload["event"] for item in socket.events("broadcast")] == ["before", "after"]
    # The same server, with a table that cannot be read.
    await stack.sql("alter table realtime.messages rename column event to gone")
    reply = await join(socket, stack, "room-second", {"since": 1})
    reason = "UnableToReplayMessages: Realtime was unable to replay messages"
    assert reply.payload == {"status": "error", "response": {"reason": reason}}


INVALID = "UnableToReplayMessages: Replay params are not valid"
PUBLIC = "UnableToReplayMessages: Replay is not allowed for public channels"
DENIED = "Unauthorized: You do not have permissions to read from this Channel topic: room-refused"


async def test_replay_that_cannot_be_is_refused_with_upstreams_reasons(shared_stack: Stack) -> None:
    socket = await shared_stack.connect()
    both, presence = "broadcast presence", "presence"
    cases: list[tuple[Any, dict[str, Any], str, str]] = [
        ({"since": ago_ms()}, {"private": False}, both, PUBLIC),
        (None, {"private": False}, both, PUBLIC),
        ({}, {}, both, INVALID),
        ({"since": "1"}, {}, both, INVALID),
        ({"since": 1.5}, {}, both, INVALID),
        ({"since": True}, {}, both, INVALID),
        ({"since": 1, "limit": "2"}, {}, both, INVALID),
        ({"since": 10**18}, {}, both, INVALID),
        # Who reads presence alone may join, but has no broadcasts to be sent again.
        ({"since": 1}, {"presence": {"enabled": True}}, presence, DENIED),
    ]
    for replay, config, reads, reason in cases:
        reply = await join(socket, shared_stack, "room-refused", replay, reads, **config)
        assert reply.payload == {"status": "error", "response": {"reason": reason}}, replay
    # What is no object at all is no wish.
    assert (await join(socket, shared_stack, "room-refused", "yes")).payload["status"] == "ok"


async def test_replay_from_before_the_first_year_is_of_everything(shared_stack: Stack) -> None:
    await store(shared_stack, "room-ever", "one")
    socket = await shared_stack.connect()
    await join(socket, shared_stack, "room-ever", {"since": -(10**17), "limit": -3})
    assert (await socket.event("broadcast")).payload["event"] == "one"


@pytest.mark.parametrize(("limit", "expected"), [(None, 25), (0, 1), (-1, 1), (1, 1), (25, 25), (26, 25), (10**30, 25)])
async def test_limit_is_clamped(limit: int | None, expected: int) -> None:
    assert plan_replay({"since": 0, "limit": limit}).limit == expected


@pytest.mark.parametrize("since", [None, "0", 0.0, True, [], 253_402_300_800_000])
async def test_moment_must_be_an_integer_that_is_a_date(since: object) -> None:
    with pytest.raises(ReplayRefused, match="Replay params are not valid"):
        plan_replay({"since": since})


async def test_messages_of_one_transaction_are_replayed_in_the_order_they_were_sent(shared_stack: Stack) -> None:
    stack, topic = shared_stack, "room-one-transaction"
    await stack.sql(
        "select count(realtime.send(jsonb_build_object('n', n), 'n', $1, true)) from generate_series(1, 12) as n", topic
    )
    socket = await stack.connect()
    await join(socket, stack, topic, {"since": ago_ms(), "limit": 10}, presence={"enabled": True})
    await socket.event("presence_state")
    replayed = [item.payload for item in socket.events("broadcast") if item.payload["meta"].get("replayed")]
    assert [payload["payload"]["n"] for payload in replayed] == list(range(3, 13))
