"""Random sequences of frames from a seed: two or three sockets of both versions, played to both servers act by act.

What makes upstream's channel crash is not among the frames (a presence event that is no text, a config that is no object),
nor a join without config, the API before 2022.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from tests.realtime.differential.playing import QUIET_S, Stage
from tests.realtime.differential.scenarios.broadcasts import user_broadcast
from tests.realtime.differential.sides import ALICE, token
from tests.realtime.differential.values import JsonValue

__all__ = ["Act", "acts_of", "play_together"]

ACTS_OF_SEQUENCE = 14
PATIENCE_S = 3.0
"""How long an act waits for the side from which fewer frames have come."""
TOKENS: Final = ("anon", "alice", "bob", "service", "expired", "malformed", "no role", "publishable", "null", "absent")
GOOD_TOKENS: Final = ("alice", "alice", "alice", "bob", "anon", "service", "absent")
_FLAGS: Final[tuple[JsonValue, ...]] = (True, True, False, "true", "false", 1, None)
_NO_CHANGES: Final[tuple[JsonValue, ...]] = ([], None, [None])
_CONTENTS: Final[tuple[JsonValue, ...]] = ({"n": 1}, {}, {"a": [1, {"b": None}]}, {"ü": "☂"}, [1], "text", 5, None)


@dataclass(slots=True, frozen=True)
class Act:
    """One thing that happens. ``kind``: connect, close, frame, http (a broadcast) or sql (``realtime.send``).

    Tokens are named and filled in by the side.
    """

    kind: str
    wire: str
    topic: str = ""
    event: str = ""
    payload: JsonValue = None
    join_ref: str | None = None
    ref: str | None = None
    binary: tuple[str, bytes, int, str] | None = None
    """Event, content, encoding and metadata of a binary broadcast."""
    token: str = "absent"
    is_private: bool = False
    """Whether a broadcast over HTTP or from SQL is for private channels."""
    answers: int = 0
    """How many frames the socket is sure to get."""


class _Writer:
    """Writes one sequence; it knows which channels its sockets should have joined, and errs on purpose."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.topics = (f"sequence{seed}", f"private_sequence{seed}", f"only_broadcast_sequence{seed}")
        self.versions: dict[str, str] = {}
        self.joined: dict[tuple[str, str], str] = {}
        self.ref = 0

    def write(self) -> list[Act]:
        acts = [self._connect(name) for name in "abc"[: self.random.choice((2, 2, 3))]]
        acts += [self._join(name, self.random.choice(self.topics[:2])) for name in self.versions]
        kinds = {
            self._broadcast: 5, self._binary: 3, self._presence: 5, self._any_join: 4, self._leave: 2, self._token: 2,
            self._heartbeat: 1, self._odd: 1, self._reconnect: 1, self._elsewhere: 2,
        }  # fmt: skip
        while len(acts) < ACTS_OF_SEQUENCE:
            (kind,) = self.random.choices(list(kinds), list(kinds.values()))
            acts += kind()
        return acts

    def _next_ref(self) -> str:
        self.ref += 1
        return str(self.ref)

    def _wire(self) -> str:
        return self.random.choice(list(self.versions))

    def _channel(self) -> tuple[str, str, str | None]:
        """A socket, a topic and a join_ref: nearly always of a channel that it joined."""
        joined = list(self.joined.items())
        if not joined or self.random.random() < 0.08:
            return self._wire(), self.random.choice(self.topics), "1"
        (wire, topic), join_ref = self.random.choice(joined)
        return wire, topic, self.random.choice((join_ref,) * 12 + (None, "999"))

    def _connect(self, name: str) -> Act:
        self.versions[name] = self.random.choice(("1.0.0", "2.0.0", "2.0.0"))
        return Act("connect", name, event=self.versions[name])

    def _reconnect(self) -> list[Act]:
        name = self._wire()
        version = self.versions[name]
        self.joined = {key: ref for key, ref in self.joined.items() if key[0] != name}
        topic = self.random.choice(self.topics)
        return [Act("close", name), Act("connect", name, event=version), self._join(name, topic)]

    def _any_join(self) -> list[Act]:
        return [self._join(self._wire(), self.random.choice(self.topics))]

    def _join(self, wire: str, topic: str) -> Act:
        pick = self.random.choice
        config: dict[str, JsonValue] = {}
        if self.random.random() < 0.8:
            config["broadcast"] = {name: pick(_FLAGS) for name in ("self", "ack") if self.random.random() < 0.7}
        # Always a key: one that the server makes up has another number once a difference was told to one side alone.
        presence: dict[str, JsonValue] = {"key": pick(("k1", "k2", f"of {wire}"))}
        if self.random.random() < 0.5:
            presence["enabled"] = pick(_FLAGS)
        config["presence"] = presence
        is_private = topic != self.topics[0]
        if is_private or self.random.random() < 0.3:
            config["private"] = pick((is_private,) * 8 + (not is_private, str(is_private).lower()))
        if self.random.random() < 0.2:
            config["postgres_changes"] = pick(_NO_CHANGES)
        ref = self._next_ref()
        self.joined[wire, topic] = ref
        named = pick(GOOD_TOKENS) if self.random.random() < 0.9 else pick(TOKENS)
        return Act("frame", wire, topic, "phx_join", {"config": config}, ref, ref, token=named, answers=1)

    def _broadcast(self) -> list[Act]:
        wire, topic, join_ref = self._channel()
        payload: dict[str, JsonValue] = {"type": "broadcast", "event": self.random.choice(("e", "e", "", "ü", 5))}
        if self.random.random() < 0.9:
            payload["payload"] = self.random.choice(_CONTENTS)
        if self.random.random() < 0.15:
            payload[self.random.choice(("meta", "more", "id"))] = {"id": "mine"}
        if self.random.random() < 0.05:
            del payload["event"]
        ref = self.random.choice((self._next_ref(),) * 9 + (None,))
        return [Act("frame", wire, topic, "broadcast", payload, join_ref, ref)]

    def _binary(self) -> list[Act]:
        wire, topic, join_ref = self._channel()
        if self.versions[wire] == "1.0.0":
            return self._broadcast()
        content, encoding = self.random.choice(((b'{"n":1}', 1), (b"{}", 1), (b"[1]", 1), (b"\0\xff", 0), (b"", 0)))
        metadata = self.random.choice(("", "", '{"id":"x"}', '{"a":[1]}', "{}"))
        binary = (self.random.choice(("e", "", "ü")), content, encoding, metadata)
        return [Act("frame", wire, topic, binary=binary, join_ref=join_ref, ref=self._next_ref())]

    def _presence(self) -> list[Act]:
        wire, topic, join_ref = self._channel()
        event: JsonValue = self.random.choice(("track",) * 6 + ("untrack", "untrack", "TRACK", "other"))
        payload: dict[str, JsonValue] = {"type": "presence", "event": event}
        if self.random.random() < 0.9:
            payload["payload"] = self.random.choice(_CONTENTS)
        return [Act("frame", wire, topic, "presence", payload, join_ref, self._next_ref())]

    def _leave(self) -> list[Act]:
        wire, topic, join_ref = self._channel()
        if self.joined.get((wire, topic)) == join_ref:
            del self.joined[wire, topic]
        return [Act("frame", wire, topic, "phx_leave", {}, join_ref, self._next_ref())]

    def _token(self) -> list[Act]:
        wire, topic, join_ref = self._channel()
        named = self.random.choice(TOKENS + GOOD_TOKENS)
        return [Act("frame", wire, topic, "access_token", {}, join_ref, self._next_ref(), token=named)]

    def _heartbeat(self) -> list[Act]:
        ref = self.random.choice((self._next_ref(), None))
        return [Act("frame", self._wire(), "phoenix", "heartbeat", {}, None, ref, answers=1)]

    def _odd(self) -> list[Act]:
        wire, topic, join_ref = self._channel()
        event = self.random.choice(("whatever", "system", "phx_reply", "phx_error", "phx_close", "postgres_changes"))
        payload: JsonValue = self.random.choice(_CONTENTS[:2])
        return [Act("frame", wire, topic, event, payload, join_ref, self._next_ref())]

    def _elsewhere(self) -> list[Act]:
        topic = self.random.choice(self.topics)
        is_private = self.random.choice((topic != self.topics[0],) * 4 + (topic == self.topics[0],))
        kind, named = self.random.choice(("http", "sql")), self.random.choice(GOOD_TOKENS)
        payload = self.random.choice(_CONTENTS)
        return [Act(kind, "", topic, self.random.choice(("e", "ü")), payload, token=named, is_private=is_private)]


def acts_of(seed: int) -> list[Act]:
    """The sequence of a seed."""
    return _Writer(seed).write()


async def play_together(stages: Sequence[Stage], acts: Sequence[Act]) -> None:
    """Do the acts on both sides. An act ends when as much has come on the one as on the other, and nothing more comes."""
    versions: dict[str, str] = {}
    for act in acts:
        if act.kind == "connect":
            versions[act.wire] = act.event
        elif act.kind == "frame" and any(stage.arrived()[act.wire][1] is not None for stage in stages):
            # The server closed it; that was noted.
            continue
        results = await asyncio.gather(*(_done(stage, act, versions) for stage in stages))
        await _settled(stages, act)
        for stage, result in zip(stages, results, strict=True):
            stage.note(
                f"{act.wire} says {_frame(stage, act, '2.0.0')!r}" if act.kind == "frame" else f"{act!r}", result
            )


async def _done(stage: Stage, act: Act, versions: dict[str, str]) -> dict[str, JsonValue]:
    match act.kind:
        case "connect":
            await stage.connect(act.wire, vsn=act.event)
        case "close":
            await stage.close(act.wire)
        case "http":
            token = _token(stage, act.token) if act.token != "absent" else None
            path = f"/broadcast/{act.topic}/events/{quote(act.event)}?private={str(act.is_private).lower()}"
            headers = {"authorization": f"Bearer {token}"} if token is not None else None
            return await stage.answer_of(path, act.payload, headers=headers)
        case "sql":
            statement = "select realtime.send($1::jsonb, $2, $3, $4)"
            await stage.run(statement, json.dumps(act.payload), act.event, act.topic, act.is_private)
        case _:
            await stage.send(act.wire, _frame(stage, act, versions[act.wire]))
    return {}


def _frame(stage: Stage, act: Act, version: str) -> JsonValue | bytes:
    topic = f"realtime:{act.topic}" if act.topic != "phoenix" else act.topic
    if act.binary is not None:
        event, content, encoding, metadata = act.binary
        return user_broadcast(
            topic, event, content, ref=act.ref or "", join_ref=act.join_ref or "", encoding=encoding, metadata=metadata
        )
    payload = act.payload
    if act.token != "absent" and isinstance(payload, dict):
        payload = {**payload, "access_token": _token(stage, act.token)}
    if version == "2.0.0":
        return [act.join_ref, act.ref, topic, act.event, payload]
    return {"topic": topic, "event": act.event, "payload": payload, "ref": act.ref, "join_ref": act.join_ref}


def _token(stage: Stage, named: str) -> str | None:
    return {
        "anon": stage.anon,
        "alice": stage.alice,
        "bob": stage.bob,
        "service": stage.service,
        "expired": token(ALICE, life_s=-50),
        "malformed": "x.y.z",
        "no role": token(ALICE, role=None),
        "publishable": "sb_publishable_x",
        "null": None,
    }[named]


async def _settled(stages: Sequence[Stage], act: Act) -> None:
    clock = asyncio.get_running_loop()
    since_s, seen = clock.time(), [stage.arrived() for stage in stages]
    while True:
        await asyncio.sleep(0.02)
        now = [stage.arrived() for stage in stages]
        if now != seen:
            since_s, seen = clock.time(), now
        is_even = now[0] == now[1] and (act.answers == 0 or now[0][act.wire][0] >= act.answers)
        if clock.time() - since_s > (QUIET_S if is_even else PATIENCE_S):
            return
