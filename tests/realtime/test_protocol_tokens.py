"""The Phoenix face, frame by frame, where tokens and policies decide (contract 1.4 to 1.9 and 1.13), in both versions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.realtime.conftest import Stack
from tests.realtime.scenarios import (
    HI,
    ROOM,
    TOPIC,
    Down,
    Step,
    Up,
    changes,
    closed,
    diff,
    ended,
    fan_out,
    join,
    joined,
    play,
    presence,
    present,
    refused,
    reply,
    system,
    up,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = "broadcast presence"
DENIED = f"Unauthorized: You do not have permissions to read from this Channel topic: {ROOM}"


def private(token: str, *, socket: str = "a", ref: str = "1", **config: Any) -> Up:
    return join({"private": True, **config}, access_token=token, socket=socket, ref=ref)


def expired(stack: Stack) -> Sequence[Step]:
    """Seconds are counted from the token's end."""
    old = stack.token("x", life_s=-100)
    exp = int(time.time()) - 100
    texts = [f"InvalidJWTToken: Token has expired {int(time.time()) - exp + late} seconds ago" for late in range(120)]

    class OneOf(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return other in texts

        __hash__ = str.__hash__

        def replace(self, *_: object) -> str:
            return self  # it names no room, and a copy would be of one text alone

    return [join(access_token=old), refused(OneOf(texts[0]))]


def claims_missing(stack: Stack) -> Sequence[Step]:
    roleless = stack.token("x", role=None)  # type: ignore[arg-type]
    forged = stack.token("x")[:-6] + "AAAAAA"
    return [
        join(access_token=roleless),
        refused("InvalidJWTToken: Fields `role` and `exp` are required in JWT"),
        join(access_token=forged),
        refused("JwtSignatureError: Failed to validate JWT signature"),
    ]


def newer_token_wins(stack: Stack) -> Sequence[Step]:
    """``user_token`` is an older name and wins; the join's token beats the key; white space and escapes are cleaned."""
    good = stack.token("x")
    return [
        join(user_token=good, access_token="nonsense"),
        joined(),
        up("phx_leave", {}),
        reply("2"),
        closed(),
        join(access_token=f" {good[:20]}\n{good[20:]}%20"),
        joined(),
    ]


def reader_alone(stack: Stack) -> Sequence[Step]:
    """Who may not write is silently ignored, even with ack; presence that is denied is an error."""
    writer = stack.token("w", reads=BOTH, writes=BOTH)
    reader = stack.token("r", reads=BOTH)
    return [
        private(writer, broadcast={"ack": True}),
        joined(),
        private(reader, socket="b", broadcast={"ack": True, "self": True}),
        joined(socket="b"),
        up("broadcast", HI, socket="b"),
        up("broadcast", HI, socket="b", ref="3"),
        presence("track", {"n": 1}, socket="b", ref="4"),
        reply("4", "error", socket="b"),
        up("broadcast", HI),
        reply("2"),
        *fan_out("broadcast", HI, "b"),
    ]


def presence_alone(stack: Stack) -> Sequence[Step]:
    """Who reads presence alone joins and sees it, and no broadcast; who reads broadcasts alone sees no presence."""
    writer = stack.token("w", reads=BOTH, writes=BOTH)
    shown, hidden = stack.token("p", reads="presence"), stack.token("b", reads="broadcast")
    return [
        private(writer, presence={"key": "w"}),
        joined(),
        private(shown, socket="b", presence={"enabled": True}),
        joined(socket="b"),
        Down(["1", None, TOPIC, "presence_state", {}], "b"),
        private(hidden, socket="c", presence={"enabled": True}),
        joined(socket="c"),
        up("broadcast", HI),
        *fan_out("broadcast", HI, "c"),
        presence("track", {"n": 1}, ref="3"),
        reply("3"),
        *diff(present("w", {"n": 1}), None, "a", "b"),
    ]


def presence_only_without_asking(stack: Stack) -> Sequence[Step]:
    """Presence is not asked about unless the join enables it, so its reader alone may not join without."""
    token = stack.token("p", reads="presence")
    return [private(token), refused(DENIED), private(token, presence={"enabled": True}), joined(), STATE]


STATE = Down(["1", None, TOPIC, "presence_state", {}])


def namespaces(stack: Stack) -> Sequence[Step]:
    """A private and a public channel of one name share neither broadcasts nor presence."""
    writer = stack.token("w", reads=BOTH, writes=BOTH)
    return [
        private(writer, presence={"key": "w"}, broadcast={"self": True}),
        joined(),
        join({"presence": {"enabled": True}}, socket="b"),
        joined(socket="b"),
        Down(["1", None, TOPIC, "presence_state", {}], "b"),
        up("broadcast", HI),
        *fan_out("broadcast", HI, "a"),
        presence("track", {"n": 1}, ref="3"),
        reply("3"),
        *diff(present("w", {"n": 1}), None, "a"),
        up("broadcast", {**HI, "event": "public"}, socket="b"),
    ]


def right_lost(stack: Stack) -> Sequence[Step]:
    """A token that takes a right to read ends the channel; one that gives none at all does too."""
    steps: list[Step] = []
    lost = f"You no longer have permission to read from this Channel topic: {ROOM}"
    none = f"You do not have permissions to read from this Channel topic: {ROOM}"
    for number, (before, after, message) in enumerate(
        ((BOTH, "broadcast", lost), (BOTH, "presence", lost), ("broadcast", "", none))
    ):
        ref = str(number)
        steps += [
            private(stack.token("x", reads=before), ref=ref, presence={"enabled": True}),
            joined(ref=ref),
            *([Down([ref, None, TOPIC, "presence_state", {}])] if before == BOTH else []),
            up("access_token", {"access_token": stack.token("x", reads=after)}, join_ref=ref),
            *ended(message, ref=ref),
        ]
    return steps


def right_gained(stack: Stack) -> Sequence[Step]:
    """A token that gives a right starts delivery; the rights to write are asked for again."""
    few, many = stack.token("x", reads="presence"), stack.token("x", reads=BOTH, writes="broadcast")
    return [
        private(few, presence={"enabled": True}, broadcast={"ack": True, "self": True}),
        joined(),
        STATE,
        up("broadcast", HI),
        up("access_token", {"access_token": many}),
        up("broadcast", {**HI, "event": "now"}, ref="3"),
        *fan_out("broadcast", {**HI, "event": "now"}),
        reply("3"),
        presence("track", {"n": 1}, ref="4"),
        reply("4", "error"),
    ]


def unreadable(stack: Stack) -> Sequence[Step]:
    """Nobody without a policy, the anon key among them, joins a private channel."""
    return [
        join({"private": True}),
        refused(DENIED),
        private(stack.token("x")),
        refused(DENIED),
        private(stack.token("x", reads=BOTH), broadcast={"replay": {"since": "x"}}),
        refused("UnableToReplayMessages: Replay params are not valid"),
    ]


def equal_token(stack: Stack) -> Sequence[Step]:
    """A token that is the same as before changes nothing, not even the subscription to row changes."""
    token = stack.token("x")
    config, echo = changes({"event": "*", "schema": "public", "table": "board"})
    return [
        join(config, access_token=token),
        joined(echo),
        system("Subscribed to PostgreSQL"),
        up("access_token", {"access_token": token}),
        up("access_token", {"access_token": stack.token("y")}),
        system("Subscribed to PostgreSQL"),
    ]


def messages_while_joining(stack: Stack) -> Sequence[Step]:
    """What arrives while policies are asked is done after the join, in order."""
    token = stack.token("x", reads=BOTH, writes=BOTH)
    return [
        private(token, broadcast={"ack": True, "self": True}),
        up("broadcast", HI),
        up("anything", {}),
        up("broadcast", {**HI, "event": "second"}, ref="3"),
        up("phx_leave", {}, ref="4", socket="b"),
        reply("4", socket="b"),
        joined(),
        *fan_out("broadcast", HI),
        reply("2"),
        *fan_out("broadcast", {**HI, "event": "second"}),
        reply("3"),
    ]


def left_while_joining(stack: Stack) -> Sequence[Step]:
    """A channel that is left before its policies have answered is closed and never joined."""
    token = stack.token("x", reads=BOTH)
    return [private(token), up("phx_leave", {}), reply("2"), closed(), private(token, ref="5"), joined(ref="5")]


WITH_TOKENS: list[Callable[[Stack], Sequence[Step]]] = [
    expired,
    claims_missing,
    newer_token_wins,
    reader_alone,
    presence_alone,
    presence_only_without_asking,
    namespaces,
    right_lost,
    right_gained,
    unreadable,
    equal_token,
    messages_while_joining,
    left_while_joining,
]


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
@pytest.mark.parametrize("scenario", WITH_TOKENS, ids=lambda scenario: scenario.__name__)
async def test_tokens_and_policies_decide_as_the_contract_says(
    shared_stack: Stack, scenario: Callable[[Stack], Sequence[Step]], vsn: str
) -> None:
    await play(shared_stack, vsn, scenario(shared_stack))
