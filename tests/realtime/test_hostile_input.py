"""What no client should send: no socket that upstream would keep dies of it, and no other socket notices.

The fuzz is seeded: a failure names its seed. Whatever is sent, the server must log no error of its own.
``make fuzz-realtime`` plays more seeds (ISOBASE_FUZZ_SEEDS, ISOBASE_FUZZ_FIRST_SEED).
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
import string
from collections.abc import Callable
from typing import Any

import pytest

from tests.realtime.client import Phoenix
from tests.realtime.conftest import ALICE, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 1_000
FIRST_SEED = int(os.environ.get("ISOBASE_FUZZ_FIRST_SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("ISOBASE_FUZZ_SEEDS", "3")))
TOPICS = [
    *(f"realtime:fuzz-{number}" for number in range(6)),
    *(
        "realtime:room-f",
        "realtime:",
        "realtime",
        "phoenix",
        "",
        "realtime:\ud800",
        "realtime:\x00",
        "realtime:" + "t" * 999,
    ),
    "realtime:" + "t" * 2_000,
]
EVENTS = [
    *("phx_join", "phx_join", "phx_leave", "heartbeat", "broadcast", "broadcast", "presence", "access_token"),
    *("phx_reply", "phx_close", "phx_error", "system", "postgres_changes", "", "\x00", "\udfff", "e" * 300),
]


def nested(depth: int) -> Any:
    value: Any = 1
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


def anything(chance: random.Random, depth: int = 0) -> Any:
    """A JSON value, more often odd than not."""
    simple: list[Callable[[], Any]] = [
        lambda: chance.choice([None, True, False, 0, -1, 1.5, 1e308, 10**30, -(2**63), 5e-324]),
        lambda: chance.choice(
            ["", "a", "true", "\ud800", "\x00", "\u2028", "sb_x", "x" * 3_000, ALICE, "*", "\U0001f600"]
        ),
        lambda: "".join(chance.choices(string.printable, k=chance.randrange(20))),
        lambda: nested(chance.choice([3, 50, 200])),
    ]
    if depth < 3 and chance.random() < 0.4:
        if chance.random() < 0.5:
            return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
        names = ["event", "payload", "type", "key", "schema", "table", "filter", "id", "", "\ud800", "since", "limit"]
        return {chance.choice(names): anything(chance, depth + 1) for _ in range(chance.randrange(4))}
    return chance.choice(simple)()


def payload(chance: random.Random, event: str, tokens: list[str]) -> Any:
    """A payload that may mean something, with parts that cannot."""

    def odd(value: Any) -> Any:
        return anything(chance) if chance.random() < 0.25 else value

    match event:
        case "phx_join" if chance.random() < 0.9:
            entry = {
                "event": odd(chance.choice(["*", "INSERT", "nothing"])),
                "schema": odd("public"),
                "table": odd(chance.choice(["board", "notes", "gone", "*"])),
                "filter": odd(chance.choice(["rank=gt.1", "rank=in.(1,2)", "rank=zz", "=", "body=match.("])),
            }
            config = {
                "broadcast": odd(
                    {"ack": odd(True), "self": odd(True), "replay": odd({"since": odd(1), "limit": odd(3)})}
                ),
                "presence": odd({"enabled": odd(True), "key": odd("k")}),
                "postgres_changes": odd([entry] * chance.randrange(3)),
                "private": odd(chance.random() < 0.2),
            }
            if chance.random() < 0.5:
                config["broadcast"] = {}
            return {"config": odd(config), "access_token": odd(chance.choice(tokens))}
        case "broadcast":
            return odd({"type": "broadcast", "event": odd("e"), "payload": odd({"a": odd(1)})})
        case "presence":
            return odd({"type": "presence", "event": odd("track"), "payload": odd({"a": odd(1)})})
        case "access_token":
            return odd({"access_token": odd(chance.choice(tokens))})
        case _:
            return anything(chance)


def frame(chance: random.Random, tokens: list[str], *, is_v2: bool) -> str | bytes:
    """A frame: well-formed, broken, or binary."""
    event, topic = chance.choice(EVENTS), chance.choice(TOPICS)
    ref: Any = chance.choice(["1", None, 5, "\ud800", "r" * 300, {}, True])
    join_ref: Any = chance.choice(["1", None, 7, [], "old"])
    content = payload(chance, event, tokens)
    parts = [join_ref, ref, topic, event, content]
    if chance.random() < 0.1:
        parts[chance.randrange(5)] = anything(chance)
    value: Any = parts if is_v2 else dict(zip(("join_ref", "ref", "topic", "event", "payload"), parts, strict=True))
    kind = chance.random()
    if kind < 0.1:
        fields = [anything(chance) for _ in range(5)]
        texts = [str(item).encode("utf-8", "surrogatepass")[: chance.randrange(256)] for item in fields]
        sizes = [len(text) if chance.random() < 0.8 else chance.randrange(256) for text in texts]
        head = bytes([chance.choice([3, 3, 3, 0, 1, 4, 255]), *sizes, chance.choice([0, 1, 1, 9])])
        return head + b"".join(texts) + chance.choice([b"", b"{}", b"{", b"\xff\xfe", b"null", b'{"a":1e999}'])
    text = json.dumps(value)
    if kind < 0.2:
        at = chance.randrange(len(text))
        return (
            text[:at]
            + chance.choice(["", "NaN", "\\", '"', "}", "1e999", "\x00", "]" * 9])
            + text[at + chance.randrange(3) :]
        )
    if kind < 0.22:
        return text.replace('"payload"', '"payload": {}, "payload"', 1)
    return text


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_is_sent_every_socket_lives_and_nobody_else_notices(
    shared_stack: Stack, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    chance = random.Random(seed)
    tokens = [
        shared_stack.token(ALICE, reads="broadcast presence", writes="broadcast"),
        shared_stack.token("not a uuid", reads="presence"),
        shared_stack.token(role="nobody_knows"),
        shared_stack.token(life_s=-5),
        "nonsense",
        "sb_publishable_x",
        "a.b.c",
        "",
    ]
    watcher, sender = await shared_stack.connect(), await shared_stack.connect(vsn=None)
    for socket in (watcher, sender):
        await socket.join(f"watched-{seed}")
    sockets: list[Phoenix] = []
    with caplog.at_level(logging.WARNING, "isobase.realtime"):
        for vsn in ("2.0.0", "1.0.0"):
            socket = await shared_stack.connect(vsn=vsn)
            sockets.append(socket)
            for number in range(FRAMES):
                await socket.send_raw(frame(chance, tokens, is_v2=socket.is_v2))
                if number % 50 == 0:
                    await asyncio.sleep(0)
        for number, socket in enumerate((*sockets, watcher, sender)):
            ref = await socket.send("phoenix", "heartbeat", {}, ref=f"alive {number}")
            assert (await socket.reply(ref)).payload["status"] == "ok"
        hi = {"type": "broadcast", "event": "still here", "payload": {}}
        await sender.send(f"realtime:watched-{seed}", "broadcast", hi)
        assert (await watcher.event("broadcast")).payload == hi
        # Joins that ask policies end before the log is looked at.
        await asyncio.sleep(0.2)
    for socket in (*sockets, watcher, sender):
        await socket.close()
    errors = [item for item in caplog.records if item.levelno >= logging.ERROR and item.name.startswith("isobase")]
    assert errors == [], (seed, [record.getMessage() for record in errors], errors and errors[0].exc_text)


async def test_frames_just_below_the_limit_are_read_and_answered(shared_stack: Stack) -> None:
    socket = await shared_stack.connect()
    await socket.join("large", broadcast={"ack": True})
    large = {"type": "broadcast", "event": "e", "payload": {"x": "x" * 4_900_000}}
    ref = await socket.send("realtime:large", "broadcast", large)
    assert (await socket.reply(ref)).payload["response"] == {"reason": "payload_size_exceeded"}
    await socket.send_raw("[" + "0," * 2_000_000 + "0]")
    await socket.send_raw(json.dumps([None, "9", "phoenix", "heartbeat", {"x": "\ud800" * 100_000}]))
    assert (await socket.reply("9")).payload["status"] == "ok"


async def test_nesting_that_can_be_read_but_not_written_is_dropped(shared_stack: Stack) -> None:
    socket = await shared_stack.connect()
    await socket.join("deep", broadcast={"ack": True, "self": True})
    for depth in (*range(900, 1_000, 9), 5_000, 50_000):
        for event in ("broadcast", "presence", "access_token", "phx_join"):
            text = "[" * depth + "]" * depth
            topic = "realtime:deep" if event != "phx_join" else f"realtime:deep-{depth}"
            body = f'{{"config":{{"postgres_changes":[{{"x":{text}}}]}}}}' if event == "phx_join" else f'{{"a":{text}}}'
            await socket.send_raw(f'["1","2","{topic}","{event}",{body}]')
    ref = await socket.send("realtime:deep", "broadcast", {"type": "broadcast", "event": "e", "payload": {}})
    assert (await socket.reply(ref)).payload["status"] == "ok"


async def test_a_leave_storm_and_thousands_of_topics_leave_nothing_behind(shared_stack: Stack) -> None:
    socket = await shared_stack.connect()
    before = len(shared_stack.service.hub.topics)
    for number in range(3_000):
        await socket.send(f"realtime:many-{number}", "phx_join", {})
        if number % 3:
            await socket.send(f"realtime:many-{number}", "phx_leave", {})
    ref = await socket.send("phoenix", "heartbeat", {})
    await socket.reply(ref)
    (connection,) = [item for item in shared_stack.service.hub.connections if "realtime:many-0" in item.channels]
    assert len(connection.channels) == 100
    # Every join is answered, also the thousands that are refused.
    async with asyncio.timeout(60):
        while len([item for item in socket.events("phx_reply") if "many-" in item.topic]) < 5_000:
            await asyncio.sleep(0.05)
    full = {"reason": "ChannelRateLimitReached: Too many channels"}
    assert len([item for item in socket.events("phx_reply") if item.payload["response"] == full]) > 800
    await socket.close()
    async with asyncio.timeout(60):
        while len(shared_stack.service.hub.topics) > before:
            await asyncio.sleep(0.02)


async def test_leaving_while_parameters_and_policies_are_checked_costs_no_database_connection(
    shared_stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    token = shared_stack.token(ALICE, reads="broadcast", writes="broadcast")
    entry = {"event": "*", "schema": "public", "table": "board"}
    for is_private in (False, True):
        sockets = [await shared_stack.connect() for _ in range(4)]
        for number in range(200):
            socket = sockets[number % 4]
            topic = f"realtime:room-left-{number % 20}"
            changes = [{**entry, "filter": f"rank=gt.{number}"}]
            await socket.send(
                topic,
                "phx_join",
                {"config": {"private": is_private, "postgres_changes": changes}, "access_token": token},
            )
            await asyncio.sleep(0.0005 * (number % 10))
            if number % 2:
                await socket.send(topic, "phx_leave", {})
        for socket in sockets:
            await socket.close()
    # What a lost connection leaves behind is reported when it is collected.
    await asyncio.sleep(0.3)
    gc.collect()
    assert [item.getMessage() for item in caplog.records if item.levelno >= logging.ERROR] == []
