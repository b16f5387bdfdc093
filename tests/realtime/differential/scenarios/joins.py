"""Handshakes, joins, leaves, heartbeats, frames that are none, tokens."""

from __future__ import annotations

from tests.realtime.differential.playing import Stage
from tests.realtime.differential.scenarios.registry import scenario
from tests.realtime.differential.sides import ALICE, token
from tests.realtime.differential.values import JsonValue


@scenario
async def handshakes(stage: Stage) -> None:
    await stage.connect(key="<none>")
    await stage.connect(key="")
    await stage.connect(key="no token")
    await stage.connect(key="a.b.c")
    await stage.connect(key=token(ALICE, life_s=-100))
    await stage.connect(key=token(ALICE, role=None))
    await stage.connect(key=token(ALICE, exp=None))
    await stage.connect(key=f"{stage.anon[:-4]}AAAA")
    await stage.connect(vsn="3.0.0")
    await stage.connect(vsn="0.9.0")
    await stage.connect("header", key="no token", headers={"x-api-key": stage.anon})
    for vsn in (None, "1.0.0", "1.0.1", "2.0.0", "2.0.7"):
        name = f"v{vsn}"
        await stage.connect(name, vsn=vsn)
        if vsn is not None and vsn.startswith("2"):
            await stage.say(name, [None, "7", "phoenix", "heartbeat", {}])
        else:
            await stage.say(name, {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "7"})


@scenario
async def heartbeats(stage: Stage) -> None:
    await stage.connect("one", vsn="1.0.0")
    await stage.connect("two")
    await stage.say("one", {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": None})
    await stage.say("one", {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": 3})
    await stage.say("one", {"topic": "phoenix", "event": "other", "payload": {}, "ref": "4"})
    await stage.say("two", [None, None, "phoenix", "heartbeat", {}])
    await stage.say("two", ["9", "5", "phoenix", "heartbeat", {"x": 1}])
    await stage.say("two", [None, "6", "phoenix", "unknown", {}])


@scenario
async def frames_that_are_none(stage: Stage) -> None:
    for vsn in ("1.0.0", "2.0.0"):
        name = f"v{vsn[0]}"
        await stage.connect(name, vsn=vsn)
        for number, frame in enumerate(("{", "[]", "null", "1", '"x"', "{}", "[1,2,3,4]", '{"topic":"phoenix"}', "")):
            await stage.say(name, frame, expect=0)
            if vsn == "1.0.0":
                await stage.say(name, {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": f"h{number}"})
            else:
                await stage.say(name, [None, f"h{number}", "phoenix", "heartbeat", {}])


JOINS: tuple[tuple[str, JsonValue], ...] = (
    ("nothing", {"config": {}}),
    ("broadcast", {"config": {"broadcast": {"self": True, "ack": True}}}),
    ("presence", {"config": {"presence": {"key": "me", "enabled": True}}}),
    ("presence text", {"config": {"presence": {"key": "", "enabled": "true"}}}),
    ("presence off", {"config": {"presence": {"key": "me", "enabled": False}}}),
    ("changes null", {"config": {"postgres_changes": None}}),
    ("changes of null", {"config": {"postgres_changes": [None]}}),
    ("changes text", {"config": {"postgres_changes": "x"}}),
    ("broadcast number", {"config": {"broadcast": 5}}),
    ("presence number", {"config": {"presence": 5}}),
    ("private text", {"config": {"private": "false"}, "more": [1]}),
    ("private nonsense", {"config": {"private": "maybe"}}),
    ("self nonsense", {"config": {"broadcast": {"self": "maybe", "ack": 1}}}),
    ("key number", {"config": {"presence": {"key": 5, "enabled": True}}}),
    ("key null", {"config": {"presence": {"key": None, "enabled": True}}}),
    ("config null", {"config": None}),
    ("config text", {"config": "x"}),
    ("publishable", {"config": {}, "access_token": "sb_publishable_x"}),
    ("user token", {"config": {}, "user_token": "expired"}),
    ("token null", {"config": {}, "access_token": None}),
)


@scenario
async def plain_joins(stage: Stage) -> None:
    for vsn in ("1.0.0", "2.0.0"):
        await stage.connect(vsn, vsn=vsn)
        cases = [(f"{stage.channel} {vsn} {name}", payload) for name, payload in JOINS]
        cases += [(topic, {"config": {}}) for topic in ("realtime:", "other:topic", "realtime", "")]
        for number, (topic, payload) in enumerate(cases):
            ref = f"{number}"
            old: JsonValue = {"topic": topic, "event": "phx_join", "payload": payload, "ref": ref, "join_ref": ref}
            await stage.say(vsn, old if vsn == "1.0.0" else [ref, ref, topic, "phx_join", payload])


@scenario
async def refused_tokens_at_joins(stage: Stage) -> None:
    await stage.connect()
    tokens: dict[str, JsonValue] = {
        "expired": token(ALICE, life_s=-50),
        "no role": token(ALICE, role=None),
        "no exp": token(ALICE, exp=None),
        "malformed": "x.y.z",
        "not one": "hello",
        "empty": "",
        "signature": f"{stage.alice[:-4]}AAAA",
    }
    for number, (name, value) in enumerate(tokens.items()):
        ref = f"r{number}"
        await stage.say(
            "a", [ref, ref, f"{stage.channel}:{name}", "phx_join", {"config": {}, "access_token": value}], expect=1
        )


@scenario
async def joining_twice_and_leaving(stage: Stage) -> None:
    await stage.connect()
    await stage.say("a", ["1", "1", stage.channel, "phx_join", {"config": {}}])
    await stage.say("a", ["2", "2", stage.channel, "phx_join", {"config": {}}], expect=2)
    await stage.say(
        "a", ["1", "3", stage.channel, "broadcast", {"type": "broadcast", "event": "e", "payload": {}}], expect=0
    )
    await stage.say("a", ["2", "4", stage.channel, "phx_leave", {}], expect=2)
    await stage.say("a", ["2", "5", stage.channel, "phx_leave", {}])
    await stage.say("a", ["2", "6", stage.channel, "broadcast", {"type": "broadcast", "event": "e", "payload": {}}])
    await stage.say("a", ["7", "7", stage.channel, "phx_join", {"config": {}}])
    await stage.say("a", [None, "8", stage.channel, "phx_leave", {}], expect=1)
    await stage.connect("b", vsn="1.0.0")
    join: JsonValue = {"topic": stage.channel, "event": "phx_join", "payload": {"config": {}}, "ref": "1"}
    await stage.say("b", join)
    await stage.say("b", join, expect=2)
    await stage.say("b", {"topic": stage.channel, "event": "phx_leave", "payload": {}, "ref": "9"}, expect=2)


@scenario
async def unknown_events(stage: Stage) -> None:
    await stage.connect()
    await stage.say("a", [None, "0", stage.channel, "broadcast", {}])
    await stage.say("a", [None, "0", "nowhere", "x", {}])
    await stage.say("a", ["1", "1", stage.channel, "phx_join", {"config": {}}])
    await stage.say("a", ["1", "2", stage.channel, "whatever", {"a": 1}], expect=0)
    await stage.say("a", ["1", "3", stage.channel, "phx_error", {}], expect=0)
    await stage.say("a", ["1", "4", stage.channel, "phx_close", {}], expect=0)
    await stage.say("a", ["1", "5", stage.channel, "presence", {}], expect=0)
    await stage.say("a", ["1", "6", stage.channel, "system", {}], expect=0)
    await stage.say("a", ["1", "7", stage.channel, "phx_leave", {}], expect=2)


@scenario
async def access_tokens(stage: Stage) -> None:
    await stage.connect()
    await stage.say("a", ["1", "1", stage.channel, "phx_join", {"config": {}, "access_token": stage.alice}])
    for number, value in enumerate((stage.alice, None, "sb_publishable_1", stage.bob, token(ALICE, life_s=7000))):
        await stage.say("a", ["1", f"t{number}", stage.channel, "access_token", {"access_token": value}], expect=0)
    await stage.say("a", ["1", "x", stage.channel, "access_token", {}], expect=0)
    await stage.say(
        "a", ["1", "y", stage.channel, "access_token", {"access_token": token(ALICE, life_s=-30)}], expect=2
    )
    bad = {
        "no role": token(ALICE, role=None),
        "malformed": "x.y.z",
        "not one": "hello",
        "signature": f"{stage.alice[:-4]}AAAA",
    }
    for name, value in bad.items():
        topic = f"{stage.channel}:{name}"
        await stage.say("a", [name, name, topic, "phx_join", {"config": {}, "access_token": stage.alice}])
        await stage.say("a", [name, "z", topic, "access_token", {"access_token": value}], expect=2)


@scenario
async def tokens_that_expire(stage: Stage) -> None:
    await stage.connect()
    await stage.say("a", ["1", "1", stage.channel, "phx_join", {"config": {}, "access_token": token(ALICE, life_s=3)}])
    await stage.wait("the token expires", {"a": 2})
