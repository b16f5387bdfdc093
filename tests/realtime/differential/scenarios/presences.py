"""Presence: state, differences, updates, ends."""

from __future__ import annotations

from tests.realtime.differential.playing import Stage
from tests.realtime.differential.scenarios.registry import scenario
from tests.realtime.differential.values import JsonValue


def _track(topic: str, payload: JsonValue, ref: str, event: str = "track", join_ref: str | None = "1") -> JsonValue:
    return [join_ref, ref, topic, "presence", {"type": "presence", "event": event, "payload": payload}]


async def _join(stage: Stage, name: str, key: str, *, enabled: bool = True, expect: int = 2) -> None:
    await stage.connect(name, vsn="1.0.0" if name.startswith("old") else "2.0.0")
    payload: JsonValue = {"config": {"presence": {"key": key, "enabled": enabled}}}
    if name.startswith("old"):
        frame: JsonValue = {
            "topic": stage.channel,
            "event": "phx_join",
            "payload": payload,
            "ref": "1",
            "join_ref": "1",
        }
        await stage.say(name, frame, expect=expect)
    else:
        await stage.say(name, ["1", "1", stage.channel, "phx_join", payload], expect=expect)


@scenario
async def presence_of_two(stage: Stage) -> None:
    await _join(stage, "a", "alice")
    await stage.say("a", _track(stage.channel, {"n": 1}, "2"), expect=2)
    await _join(stage, "b", "bob")
    await _join(stage, "old", "carol")
    everybody = {"a": 1, "b": 2, "old": 1}
    await stage.say("b", _track(stage.channel, {"n": 2}, "3"), expect=everybody)
    await stage.say("b", _track(stage.channel, {"n": 3}, "4"), expect=everybody)
    await stage.say("b", _track(stage.channel, {"n": 3}, "5"), expect={"b": 1})
    await stage.say("b", _track(stage.channel, {}, "6", "UNTRACK"), expect=everybody)
    await stage.say("b", _track(stage.channel, {}, "7", "untrack"), expect={"b": 1})
    await stage.close("a", expect={"b": 1, "old": 1})


@scenario
async def presence_of_one_key_twice(stage: Stage) -> None:
    await _join(stage, "a", "same")
    await _join(stage, "b", "same")
    await stage.say("a", _track(stage.channel, {"from": "a"}, "2"), expect={"a": 2, "b": 1})
    await stage.say("b", _track(stage.channel, {"from": "b"}, "2"), expect={"a": 1, "b": 2})
    await _join(stage, "c", "other")
    await stage.say("a", ["1", "3", stage.channel, "phx_leave", {}], expect={"a": 2, "b": 1, "c": 1})
    await stage.say(
        "b", ["9", "9", stage.channel, "phx_join", {"config": {"presence": {"key": "new"}}}], expect={"b": 2, "c": 1}
    )


@scenario
async def presence_events_that_are_none(stage: Stage) -> None:
    await _join(stage, "a", "alice")
    payloads: tuple[JsonValue, ...] = ([1], "text", 5)
    for number, payload in enumerate(payloads):
        await stage.say("a", _track(stage.channel, payload, f"p{number}"))
    await _join(stage, "b", "bob")
    await stage.say("b", _track(stage.channel, {"a": 1}, "e1", "unknown"), expect=1)
    await stage.say("b", ["1", "e2", stage.channel, "presence", {"event": "track", "payload": {"a": 1}}], expect=1)
    await stage.say("b", ["1", "e3", stage.channel, "presence", {"type": "presence", "event": "track"}], expect=1)
    await stage.say(
        "b", ["1", "e4", stage.channel, "presence", {"type": "other", "event": "track", "payload": {}}], expect=1
    )


@scenario
async def presence_without_payload(stage: Stage) -> None:
    await _join(stage, "a", "alice")
    await stage.say("a", ["1", "2", stage.channel, "presence", {"type": "presence", "event": "track"}], expect=2)
    await stage.say(
        "a", ["1", "3", stage.channel, "presence", {"type": "presence", "event": "track", "payload": None}], expect=1
    )
    await stage.say("a", ["1", "4", stage.channel, "presence", {"type": "presence"}], expect=1)
    await stage.say("a", ["1", "5", stage.channel, "presence", {}], expect=1)


@scenario
async def presence_not_enabled(stage: Stage) -> None:
    await _join(stage, "a", "alice")
    await _join(stage, "b", "bob", enabled=False, expect=1)
    await stage.say("a", _track(stage.channel, {"n": 1}, "2"), expect={"a": 2, "b": 1})
    await stage.say("b", _track(stage.channel, {"n": 2}, "2"), expect={"a": 1, "b": 2})
    await stage.say("b", _track(stage.channel, {"n": 2}, "3", "untrack"), expect={"a": 1, "b": 2})


@scenario
async def presence_of_nobodys_key(stage: Stage) -> None:
    await _join(stage, "a", "")
    await stage.say("a", _track(stage.channel, {"n": 1, "phx_ref": "mine"}, "2", join_ref=None), expect=2)
    await stage.say("a", _track(stage.channel, {"big": "x" * 1000}, "3"), expect=2)


@scenario
async def too_many_presence_calls(stage: Stage) -> None:
    await _join(stage, "a", "alice")
    for number in range(5):
        await stage.say("a", _track(stage.channel, {"n": number}, f"{number}"), expect=2)
    await stage.say("a", _track(stage.channel, {"n": 6}, "6"), expect=2)
