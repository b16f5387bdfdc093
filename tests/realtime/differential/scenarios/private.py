"""Private channels: who may read, who may write, what is silent; replay."""

from __future__ import annotations

import time

from tests.realtime.differential.playing import Stage
from tests.realtime.differential.scenarios.registry import scenario
from tests.realtime.differential.values import JsonValue


def _join(topic: str, token: str, ref: str = "1", **config: JsonValue) -> JsonValue:
    return [ref, ref, topic, "phx_join", {"config": {"private": True, **config}, "access_token": token}]


def _broadcast(topic: str, event: str, ref: str = "2") -> JsonValue:
    return ["1", ref, topic, "broadcast", {"type": "broadcast", "event": event, "payload": {"e": event}}]


@scenario
async def private_readers_and_writers(stage: Stage) -> None:
    for name in ("alice", "bob", "anon", "service"):
        await stage.connect(name)
    acknowledged: JsonValue = {"ack": True, "self": True}
    await stage.say("alice", _join(stage.channel, stage.alice, broadcast=acknowledged))
    await stage.say("bob", _join(stage.channel, stage.bob, broadcast=acknowledged))
    await stage.say("anon", _join(stage.channel, stage.anon))
    await stage.say("service", _join(stage.channel, stage.service, broadcast=acknowledged))
    await stage.say("alice", _broadcast(stage.channel, "from alice"), expect={"alice": 2, "bob": 1, "service": 1})
    await stage.say("bob", _broadcast(stage.channel, "from bob"), expect=0)
    await stage.say("service", _broadcast(stage.channel, "from service"), expect={"alice": 1, "bob": 1, "service": 2})
    await stage.say(
        "bob", ["1", "3", stage.channel, "presence", {"type": "presence", "event": "track", "payload": {"a": 1}}]
    )
    await stage.say(
        "alice", ["1", "3", stage.channel, "presence", {"type": "presence", "event": "track", "payload": {"a": 1}}]
    )
    await stage.say("bob", ["1", "4", stage.channel, "access_token", {"access_token": stage.alice}], expect=0)
    await stage.say(
        "bob", _broadcast(stage.channel, "from bob as alice", "5"), expect={"alice": 1, "bob": 2, "service": 1}
    )
    await stage.say("alice", ["1", "6", stage.channel, "access_token", {"access_token": stage.anon}], expect=2)


@scenario
async def private_presence_begun_by_a_track(stage: Stage) -> None:
    await stage.connect("alice")
    await stage.connect("bob")
    await stage.say("alice", _join(stage.channel, stage.alice, presence={"key": "a"}))
    await stage.say("bob", _join(stage.channel, stage.bob, presence={"key": "b"}))
    for number in range(2):
        track: JsonValue = ["1", f"t{number}", stage.channel, "presence", {
            "type": "presence", "event": "track", "payload": {"n": number}
        }]  # fmt: skip
        await stage.say("alice", track, expect=2)
        await stage.say("bob", track)


@scenario
async def private_and_public_of_one_name(stage: Stage) -> None:
    await stage.connect("a")
    await stage.connect("b")
    await stage.say("a", _join(stage.channel, stage.alice))
    await stage.say("b", ["1", "1", stage.channel, "phx_join", {"config": {"private": False}}])
    await stage.say("a", _broadcast(stage.channel, "private"), expect=0)
    await stage.say("b", _broadcast(stage.channel, "public"), expect=0)
    await stage.request(
        "/broadcast",
        {"messages": [{"topic": stage.topic, "event": "http", "payload": {}, "private": True}]},
        headers={"authorization": f"Bearer {stage.alice}"},
        expect={"a": 1},
    )
    await stage.request(
        "/broadcast",
        {"messages": [{"topic": stage.topic, "event": "http", "payload": {}, "private": True}]},
        headers={"authorization": f"Bearer {stage.bob}"},
    )
    path = f"/broadcast/{stage.topic}/events/one?private=true"
    await stage.request(path, {}, headers={"authorization": f"Bearer {stage.alice}"}, expect={"a": 1})
    await stage.request(path, {}, headers={"authorization": f"Bearer {stage.bob}"})
    await stage.request(path, {})


@scenario
async def only_broadcast_is_allowed(stage: Stage) -> None:
    await stage.connect("a")
    await stage.connect("b")
    for name in ("a", "b"):
        await stage.say(name, _join(stage.channel, stage.alice, presence={"enabled": True, "key": name}))
    await stage.say("a", ["1", "2", stage.channel, "presence", {"type": "presence", "event": "track", "payload": {}}])
    await stage.say("a", _broadcast(stage.channel, "hi", "3"), expect={"b": 1})


@scenario
async def private_replay(stage: Stage) -> None:
    since = int(time.time() * 1000) - 60_000
    await stage.sql("delete from realtime.messages where topic = $1", stage.topic)
    for number in range(4):
        await stage.sql(
            "insert into realtime.messages (topic, extension, event, payload, private, inserted_at) "
            f"values ($1, 'broadcast', 'old', '{{\"n\": {number}}}', true, now() - interval '{20 - number} seconds')",
            stage.topic,
        )
    await stage.sql("select realtime.send_binary('\\x00ff'::bytea, 'raw', $1)", stage.topic)
    await stage.sql("select realtime.send('{}'::jsonb, 'public', $1, false)", stage.topic)

    async def replayed(
        name: str, replay: JsonValue, expect: int, *, private: bool = True, token: str | None = None
    ) -> None:
        await stage.connect(name, vsn="1.0.0" if name.startswith("old") else "2.0.0")
        payload: JsonValue = {
            "config": {"private": private, "broadcast": {"replay": replay}}, "access_token": token or stage.alice
        }  # fmt: skip
        frame: JsonValue = ["1", "1", stage.channel, "phx_join", payload]
        if name.startswith("old"):
            frame = {"topic": stage.channel, "event": "phx_join", "payload": payload, "ref": "1", "join_ref": "1"}
        await stage.say(name, frame, expect=expect)

    await replayed("all", {"since": since}, 6)
    await replayed("old all", {"since": since}, 5)
    await replayed("two", {"since": since, "limit": 2}, 3)
    await replayed("none", {"since": since + 10_000_000}, 1)
    await replayed("zero", {"since": since, "limit": 0}, 2)
    await replayed("many", {"since": since, "limit": 100}, 6)
    await replayed("text", {"since": str(since)}, 1)
    await replayed("wrong", {"since": "x"}, 1)
    await replayed("wrong limit", {"since": since, "limit": "x"}, 1)
    await replayed("no since", {"limit": 2}, 1)
    await replayed("empty", {}, 1)
    await replayed("negative", {"since": -5}, 1)
    await replayed("public", {"since": since}, 1, private=False)
    await replayed("stranger", {"since": since}, 1, token=stage.anon)


@scenario
async def private_replication_ready(stage: Stage) -> None:
    await stage.connect("a")
    await stage.say("a", _join(stage.channel, stage.alice, broadcast={"replication_ready": True}), expect=2)
    await stage.connect("b")
    await stage.say(
        "b", ["1", "1", stage.channel, "phx_join", {"config": {"broadcast": {"replication_ready": True}}}], expect=2
    )
