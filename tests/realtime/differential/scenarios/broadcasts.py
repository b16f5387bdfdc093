"""Broadcast: over sockets of both versions, binary, over HTTP, from SQL; acknowledgements, self, sizes."""

from __future__ import annotations

from tests.realtime.differential.playing import Stage
from tests.realtime.differential.scenarios.registry import scenario
from tests.realtime.differential.values import JsonValue


def user_broadcast(
    topic: str, event: str, content: bytes, *, ref: str = "", join_ref: str = "", encoding: int = 1, metadata: str = ""
) -> bytes:
    """A type 3 frame: a broadcast as binary."""
    parts = [part.encode() for part in (join_ref, ref, topic, event, metadata)]
    return bytes([3, *map(len, parts), encoding]) + b"".join(parts) + content


async def _joined(stage: Stage, *names: str, private: bool = False, **broadcast: JsonValue) -> None:
    for name in names:
        await stage.connect(name, vsn="1.0.0" if name.startswith("old") else "2.0.0")
        payload: JsonValue = {"config": {"broadcast": dict(broadcast), "private": private}, "access_token": stage.alice}
        if name.startswith("old"):
            frame: JsonValue = {
                "topic": stage.channel, "event": "phx_join", "payload": payload, "ref": "1", "join_ref": "1"
            }  # fmt: skip
            await stage.say(name, frame)
        else:
            await stage.say(name, ["1", "1", stage.channel, "phx_join", payload])


@scenario
async def texts_between_versions(stage: Stage) -> None:
    await _joined(stage, "a", "b", "old")
    await stage.say(
        "a",
        ["1", "2", stage.channel, "broadcast", {"type": "broadcast", "event": "hi", "payload": {"n": 1}}],
        expect={"b": 1, "old": 1},
    )
    old: JsonValue = {
        "topic": stage.channel, "event": "broadcast", "ref": "2",
        "payload": {"type": "broadcast", "event": "hi", "payload": {"n": 2}},
    }  # fmt: skip
    await stage.say("old", old, expect={"a": 1, "b": 1})
    more: JsonValue = {
        "topic": stage.channel, "event": "broadcast", "ref": "3",
        "payload": {"type": "broadcast", "event": "hi", "payload": {"n": 3}, "extra": [1, None], "meta": {"id": "mine"}},
    }  # fmt: skip
    await stage.say("old", more, expect={"a": 1, "b": 1})
    payloads: tuple[JsonValue, ...] = (
        {"type": "broadcast", "event": "hi"},
        {"type": "broadcast", "payload": {"n": 1}},
        {"event": "hi", "payload": {"n": 1}},
        {"type": "other", "event": "hi", "payload": {"n": 1}},
        {"type": "broadcast", "event": "", "payload": {"n": 1}},
        {"type": "broadcast", "event": "hi", "payload": None},
        {"type": "broadcast", "event": "hi", "payload": [1]},
        {"type": "broadcast", "event": "hi", "payload": "text"},
        {"type": "broadcast", "event": 5, "payload": {}},
        {"type": "broadcast", "event": "ünïcode ☂", "payload": {"ü": "☂\u0000"}},
        {},
    )
    for number, payload in enumerate(payloads):
        await stage.say("a", ["1", f"p{number}", stage.channel, "broadcast", payload], expect={"b": 1})


@scenario
async def binaries(stage: Stage) -> None:
    await _joined(stage, "a", "b", "old", ack=True)
    await stage.say(
        "a", user_broadcast(stage.channel, "hi", b'{"n":1}', ref="2", join_ref="1"), expect={"a": 1, "b": 1, "old": 1}
    )
    await stage.say(
        "a",
        user_broadcast(stage.channel, "raw", b"\x00\x01\xff", ref="3", join_ref="1", encoding=0),
        expect={"a": 1, "b": 1},
    )
    await stage.say("a", user_broadcast(stage.channel, "noref", b"{}"), expect={"b": 1})
    await stage.say("a", user_broadcast(stage.channel, "bad json", b"{", ref="4", join_ref="1"), expect={"a": 1})
    await stage.say("a", user_broadcast(stage.channel, "no object", b"[1]", ref="5", join_ref="1"), expect={"a": 1})
    await stage.say("a", user_broadcast(stage.channel, "", b"{}", ref="6", join_ref="1"), expect={"a": 1, "b": 1})
    await stage.say(
        "a", user_broadcast(stage.channel, "meta", b"{}", ref="7", join_ref="1", metadata='{"id":"x"}'), expect={"b": 1}
    )
    await stage.say(
        "a", user_broadcast(stage.channel, "meta", b"{}", ref="8", join_ref="1", metadata="no json"), expect={"b": 1}
    )
    await stage.say(
        "a", user_broadcast(stage.channel, "empty", b"", ref="9", join_ref="1", encoding=0), expect={"b": 1}
    )
    await stage.say("a", user_broadcast("realtime:elsewhere", "e", b"{}", ref="10", join_ref="1"), expect={"a": 1})


@scenario
async def binaries_that_are_none(stage: Stage) -> None:
    for number, frame in enumerate(
        (b"", b"\x03", b"\x03\xff\xff\xff\xff\xff\x01", b"\x04\x00\x00\x00\x00", b"\x07abc")
    ):
        name = f"n{number}"
        await stage.connect(name)
        await stage.say(name, frame, expect=0)
        await stage.say(name, [None, "1", "phoenix", "heartbeat", {}])


@scenario
async def acknowledged_and_to_oneself(stage: Stage) -> None:
    await _joined(stage, "a", ack=True, self=True)
    await _joined(stage, "b", ack=False, self=True)
    await _joined(stage, "c", ack="true", self="true")
    for name in ("a", "b", "c"):
        await stage.say(
            name,
            ["1", "5", stage.channel, "broadcast", {"type": "broadcast", "event": name, "payload": {}}],
            expect={"a": 1 + (name == "a"), "b": 1, "c": 1 + (name == "c")},
        )
    await stage.say(
        "a", [None, "6", stage.channel, "broadcast", {"type": "broadcast", "event": "no join ref", "payload": {}}],
        expect={"a": 2, "b": 1, "c": 1},
    )  # fmt: skip
    await stage.say(
        "a", ["99", "7", stage.channel, "broadcast", {"type": "broadcast", "event": "stale", "payload": {}}],
        expect={"a": 2, "b": 1, "c": 1},
    )  # fmt: skip
    await stage.say(
        "a", ["1", None, stage.channel, "broadcast", {"type": "broadcast", "event": "no ref", "payload": {}}],
        expect={"a": 1, "b": 1, "c": 1},
    )  # fmt: skip


@scenario
async def sizes(stage: Stage) -> None:
    await _joined(stage, "a", ack=True)
    await _joined(stage, "b")
    for number, size in enumerate((2_900_000, 3_000_600)):
        big = "x" * size
        await stage.say(
            "a",
            [
                "1",
                f"{number}",
                stage.channel,
                "broadcast",
                {"type": "broadcast", "event": "big", "payload": {"b": big}},
            ],
            expect={"a": 1, "b": 1 - number},
        )
        await stage.say(
            "a",
            user_broadcast(stage.channel, "big", b'{"b":"' + big.encode() + b'"}', ref=f"b{number}", join_ref="1"),
            expect={"a": 1, "b": 1 - number},
        )


@scenario
async def over_http(stage: Stage) -> None:
    await _joined(stage, "a", "old")
    good: JsonValue = {"topic": stage.topic, "event": "hi", "payload": {"n": 1}}
    both = {"a": 1, "old": 1}
    await stage.request("/broadcast", {"messages": [good]}, expect=both)
    await stage.request("/broadcast", {"messages": [good, good]}, expect={"a": 2, "old": 2})
    await stage.request(
        "/broadcast",
        {"messages": [{"topic": stage.topic, "event": "hi", "payload": {}, "private": False}]},
        expect=both,
    )
    bodies: tuple[JsonValue, ...] = (
        {"messages": []},
        {},
        {"messages": None},
        {"messages": "x"},
        {"messages": ["x"]},
        {"messages": [{}]},
        {"messages": [good, {"topic": stage.topic}]},
        {"messages": [{"topic": "", "event": "", "payload": {}}]},
        {"messages": [{"topic": stage.topic, "event": "hi", "payload": "text"}]},
        {"messages": [{"topic": stage.topic, "event": "hi", "payload": [1]}]},
        {"messages": [{"topic": stage.topic, "event": "hi", "payload": None}]},
        {"messages": [{"topic": 5, "event": 6, "payload": {}}]},
        {"messages": [{"topic": stage.topic, "event": "hi", "payload": {}, "private": "x"}]},
        [],
        "x",
    )
    for body in bodies:
        await stage.request("/broadcast", body)
    await stage.request("/broadcast", b"{")
    await stage.request("/broadcast", {"messages": [good]}, headers={"apikey": "<none>"})
    await stage.request("/broadcast", {"messages": [good]}, headers={"apikey": "nonsense"})
    await stage.request(
        "/broadcast",
        {"messages": [good]},
        headers={"apikey": "<none>", "authorization": f"Bearer {stage.alice}"},
        expect=both,
    )
    await stage.request("/broadcast", {"messages": [good]}, headers={"authorization": "Bearer nonsense"})
    await stage.request("/broadcast", {"messages": [good]}, headers={"content-type": "text/plain"})
    await stage.request("/broadcast", method="GET")


@scenario
async def one_over_http(stage: Stage) -> None:
    await _joined(stage, "a", "old")
    path = f"/broadcast/{stage.topic}/events"
    both = {"a": 1, "old": 1}
    await stage.request(f"{path}/hi", {"n": 1}, expect=both)
    await stage.request(f"{path}/hi?private=false&apikey=x&vsn=2.0.0", {"n": 1}, expect=both)
    await stage.request(f"{path}/with%20space", {"n": 1}, expect=both)
    await stage.request(
        f"{path}/raw", b"\x00\xff", headers={"content-type": "application/octet-stream"}, expect={"a": 1}
    )
    await stage.request(f"{path}/list", [1])
    await stage.request(f"{path}/text", "text")
    await stage.request(f"{path}/number", 5)
    await stage.request(f"{path}/null", None)
    await stage.request(f"{path}/broken", b"{")
    await stage.request(f"{path}/empty", b"")
    await stage.request(f"{path}/hi", b"x", headers={"content-type": "text/plain"})
    await stage.request(f"{path}/hi", b"{}", headers={"content-type": "<none>"})
    await stage.request(f"{path}/hi?private=true", {"n": 1})
    await stage.request(f"{path}/hi?private=maybe", {"n": 1})
    await stage.request(f"{path}/hi", {"n": 1}, headers={"apikey": "<none>"})
    await stage.request(f"{path}/", {"n": 1})


@scenario
async def private_from_sql(stage: Stage) -> None:
    await _joined(stage, "a", "old", private=True)
    await stage.sql("select realtime.send('{\"n\": 1}'::jsonb, 'hi', $1, true)", stage.topic, expect={"a": 1, "old": 1})
    await stage.sql(
        'select realtime.send(\'{"n": 1, "id": "mine"}\'::jsonb, \'hi\', $1)', stage.topic, expect={"a": 1, "old": 1}
    )
    await stage.sql("select realtime.send_binary('\\x00ff'::bytea, 'raw', $1)", stage.topic, expect={"a": 1})
    await stage.sql("select realtime.send('[1]'::jsonb, 'list', $1, true)", stage.topic)
    await stage.sql("select realtime.send('{\"n\": 1}'::jsonb, 'public', $1, false)", stage.topic)
    await stage.sql(
        "insert into realtime.messages (topic, extension, event, payload, private)"
        " values ($1, 'broadcast', 'row', '{\"r\": 1}', true)",
        stage.topic, expect={"a": 1, "old": 1},
    )  # fmt: skip
    await stage.sql(
        "insert into realtime.messages (topic, extension, event, payload, private)"
        " values ($1, 'presence', 'row', '{\"r\": 1}', true)",
        stage.topic,
    )  # fmt: skip


@scenario
async def public_from_sql(stage: Stage) -> None:
    await _joined(stage, "a")
    await stage.sql("select realtime.send('{\"n\": 1}'::jsonb, 'hi', $1, false)", stage.topic, expect={"a": 1})
    await stage.sql("select realtime.send('{\"n\": 1}'::jsonb, 'hi', $1, true)", stage.topic)
    await stage.sql("select realtime.send(null, 'none', $1, false)", stage.topic)
    await stage.sql("select realtime.send('{}'::jsonb, null, $1, false)", stage.topic)
