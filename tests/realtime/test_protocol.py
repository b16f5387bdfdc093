"""The Phoenix face, frame by frame, in both versions (contract 1.2 to 1.9 and 1.13). One server plays all scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from isobase_services.realtime.changes.request import change_id
from tests.realtime.conftest import Stack
from tests.realtime.scenarios import (
    HI,
    PHX_REF,
    TOPIC,
    UUID,
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


# -- what needs no token of its own -----------------------------------------------------------------------------------

EVERYTHING, ECHO = changes(
    {"event": "*", "schema": "public", "table": "notes"},
    {"event": "INSERT", "schema": "public", "table": "notes", "filter": "rank=gt.1", "extra": [None]},
    {"event": "*", "schema": "public", "table": "notes"},
)

NO_CHANGES: list[Any] = [None, [], [None], [None, None], {}, "x", 5]
NO_TOKENS: list[Any] = [None, "sb_secret_x", 5, [], {}, True]

SCENARIOS: dict[str, Sequence[Step]] = {
    "a_heartbeat_is_answered_under_whatever_ref_it_has": [
        step
        for ref in ("1", None, 7, 1.5, "")
        for step in (
            Up([None, ref, "phoenix", "heartbeat", {}]),
            Down([None, ref, "phoenix", "phx_reply", {"status": "ok", "response": {}}]),
        )
    ],
    "an_event_on_a_topic_that_was_not_joined_is_unmatched": [
        step
        for event in ("broadcast", "presence", "access_token", "anything")
        for step in (
            up(event, HI, join_ref=None),
            reply("2", "error", {"reason": "unmatched topic"}, join_ref=None),
        )
    ],
    "another_event_on_the_topic_phoenix_is_unmatched": [
        Up([None, "1", "phoenix", "other", {}]),
        Down([None, "1", "phoenix", "phx_reply", {"status": "error", "response": {"reason": "unmatched topic"}}]),
    ],
    "a_topic_without_the_prefix_cannot_be_joined": [
        Up(["1", "1", "other:a", "phx_join", {}]),
        Down([None, "1", "other:a", "phx_reply", {"status": "error", "response": {"reason": "unmatched topic"}}]),
    ],
    "a_topic_needs_a_name": [
        join(topic="realtime:"),
        refused("TopicNameRequired: You must provide a topic name", topic="realtime:"),
    ],
    "a_leave_is_answered_and_then_closed": [join(), joined(), up("phx_leave", {}), reply("2"), closed()],
    "a_leave_of_what_was_not_joined_is_answered_alone": [
        up("phx_leave", {}, join_ref=None),
        reply("2", join_ref=None),
    ],
    "a_second_join_closes_the_first_under_its_own_ref": [
        join(),
        joined(),
        join(ref="2"),
        closed(ref="1"),
        joined(ref="2"),
        up("phx_leave", {}, ref="3", join_ref="2"),
        reply("3", join_ref="2"),
        closed(ref="2"),
    ],
    "a_join_without_refs_is_closed_without_refs": [
        Up([None, None, TOPIC, "phx_join", {}]),
        Down([None, None, TOPIC, "phx_reply", {"status": "ok", "response": {"postgres_changes": []}}]),
        Up([None, None, TOPIC, "phx_leave", {}]),
        Down([None, None, TOPIC, "phx_reply", {"status": "ok", "response": {}}]),
        Down([None, None, TOPIC, "phx_close", {}]),
    ],
    "messages_but_leaves_with_a_missing_or_stale_join_ref_are_handled_and_answered": [
        join({"broadcast": {"ack": True}, "presence": {"key": "k"}}),
        joined(),
        up("broadcast", HI, join_ref=None),
        reply("2"),
        up("broadcast", HI, join_ref="0", ref="3"),
        reply("3"),
        presence("track", {"n": 1}, join_ref=None, ref="4"),
        reply("4"),
        *diff(present("k", {"n": 1})),
        presence("untrack", join_ref="old", ref="5"),
        reply("5"),
        *diff(None, present("k", {"n": 1})),
        # A leave without the join's own ref is for an earlier channel of the topic.
        up("phx_leave", {}, join_ref=None, ref="6"),
        up("phx_leave", {}, join_ref="0", ref="7"),
        up("phx_leave", {}, ref="8"),
        reply("8"),
        closed(),
    ],
    "an_unknown_event_gets_no_answer": [join(), joined(), up("anything", {"a": 1}), up("system", {}, ref="3")],
    "entries_of_row_changes_are_echoed_verbatim_in_order_with_equal_ids_for_equal_entries": [
        join(EVERYTHING),
        joined(ECHO),
        system("Subscribed to PostgreSQL"),
    ],
    "row_changes_that_are_null_are_none": [
        step
        for number, value in enumerate(NO_CHANGES)
        for step in (
            join({"postgres_changes": value}, topic=f"{TOPIC}:{number}"),
            joined(topic=f"{TOPIC}:{number}"),
        )
    ],
    "a_bad_filter_is_told_by_system_and_the_channel_lives": [
        join({"postgres_changes": [{"event": "*", "schema": "public", "table": "nothing"}]}),
        joined(
            [
                {
                    "event": "*",
                    "schema": "public",
                    "table": "nothing",
                    "id": change_id({"event": "*", "schema": "public", "table": "nothing"}),
                }
            ]
        ),
        system(
            "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given"
            " connect parameters: [event: *, schema: public, table: nothing, filters: [], select: nil]",
            status="error",
        ),
        up("phx_leave", {}),
        reply("2"),
        closed(),
    ],
    "an_odd_payload_joins_with_what_could_be_read": [
        step
        for number, payload in enumerate(
            (
                {},
                {"config": None},
                {"config": "x"},
                {"config": {"broadcast": [], "presence": 5, "private": "maybe"}},
                {"config": {"broadcast": {"ack": "yes", "self": 1}}, "access_token": 5, "user_token": []},
                {"config": {"presence": {"key": {"a": 1}, "enabled": "no"}}, "more": True},
            )
        )
        for step in (
            Up(["1", "1", f"{TOPIC}:{number}", "phx_join", payload]),
            joined(topic=f"{TOPIC}:{number}"),
        )
    ],
    "flags_may_be_texts": [
        join({"broadcast": {"ack": "TRUE", "self": "true"}, "presence": {"enabled": "False"}, "private": "false"}),
        joined(),
        up("broadcast", HI),
        *fan_out("broadcast", HI),
        reply("2"),
    ],
    "opaque_tokens_of_a_join_are_ignored": [
        join(access_token="sb_publishable_x"),
        joined(),
        up("phx_leave", {}),
        reply("2"),
        closed(),
        join(user_token="sb_secret_y"),
        joined(),
    ],
    "a_join_without_a_database_token_is_refused_by_its_words": [
        join(access_token="nonsense"),
        refused("MalformedJWT: The token provided is not a valid JWT"),
        join(access_token=""),
        refused("MalformedJWT: The token provided is not a valid JWT"),
    ],
    "a_replay_is_not_for_public_channels": [
        join({"broadcast": {"replay": {"since": 1}}}),
        refused("UnableToReplayMessages: Replay is not allowed for public channels"),
    ],
    "a_channel_that_waits_for_replication_is_told_of_it": [
        join({"broadcast": {"replication_ready": True}}),
        joined(),
        system("Replication connection established", extension="system"),
    ],
    # -- broadcast
    "a_broadcast_reaches_the_others_without_refs_and_is_not_acknowledged": [
        join(),
        joined(),
        join(socket="b"),
        joined(socket="b"),
        up("broadcast", HI),
        *fan_out("broadcast", HI, "b"),
    ],
    "self_brings_it_back_before_the_acknowledgement": [
        join({"broadcast": {"self": True, "ack": True}}),
        joined(),
        join(socket="b"),
        joined(socket="b"),
        up("broadcast", HI),
        *fan_out("broadcast", HI, "a", "b"),
        reply("2"),
    ],
    "without_self_other_sockets_of_the_same_user_still_get_it": [
        join({"broadcast": {"self": False}}),
        joined(),
        join({"broadcast": {"self": False}}, socket="b"),
        joined(socket="b"),
        up("broadcast", HI),
        *fan_out("broadcast", HI, "b"),
        up("broadcast", HI, socket="b"),
        *fan_out("broadcast", HI, "a"),
    ],
    "members_that_nobody_knows_pass_through_a_broadcast": [
        join(),
        joined(),
        join(socket="b"),
        joined(socket="b"),
        up("broadcast", {"more": [None, {"x": "\u2028\u00e9\U0001f600"}]}),
        *fan_out("broadcast", {"more": [None, {"x": "\u2028\u00e9\U0001f600"}]}, "b"),
    ],
    "an_oversized_broadcast_is_not_sent_and_says_so_with_ack_alone": [
        join({"broadcast": {"ack": True}}),
        joined(),
        join(socket="b"),
        joined(socket="b"),
        up("broadcast", {**HI, "payload": {"x": "x" * 2_000}}),
        reply("2", "error", {"reason": "payload_size_exceeded"}),
        up("broadcast", {**HI, "payload": {"x": "x" * 2_000}}, socket="b"),
    ],
    "odd_topics_carry_broadcasts": [
        step
        for number, name in enumerate(("a:b:c", "räum", "\U0001f600", "x y/z?&=%", "*", "x" * 230, "x" * 900, '"\\\n'))
        for step in (
            join(topic=f"{TOPIC}{name}"),
            joined(topic=f"{TOPIC}{name}"),
            join(topic=f"{TOPIC}{name}", socket="b"),
            joined(topic=f"{TOPIC}{name}", socket="b"),
            Up(["1", str(number), f"{TOPIC}{name}", "broadcast", HI]),
            Down([None, None, f"{TOPIC}{name}", "broadcast", HI], "b"),
        )
    ],
    # -- presence
    "an_enabled_channel_is_sent_the_state_even_when_nobody_is_there": [
        join({"presence": {"enabled": True}}),
        joined(),
        Down(["1", None, TOPIC, "presence_state", {}]),
    ],
    "a_channel_without_presence_gets_no_state_but_the_differences_of_others": [
        join(),
        joined(),
        join({"presence": {"key": "b"}}, socket="b"),
        joined(socket="b"),
        presence("track", {"n": 1}, socket="b"),
        reply("2", socket="b"),
        *diff(present("b", {"n": 1}), None, "a", "b"),
    ],
    "an_update_leaves_with_the_old_meta_and_joins_with_the_new_in_one_difference": [
        join({"presence": {"enabled": True, "key": "k"}}),
        joined(),
        Down(["1", None, TOPIC, "presence_state", {}]),
        presence("track", {"n": 1}),
        reply("2"),
        *diff(present("k", {"n": 1})),
        presence("TRACK", {"n": 2}, ref="3"),
        reply("3"),
        *diff(present("k", {"n": 2, "phx_ref_prev": PHX_REF}), present("k", {"n": 1})),
        presence("Track", {"n": 2}, ref="4"),
        reply("4"),
        presence("unTrack", ref="5"),
        reply("5"),
        *diff(None, present("k", {"n": 2, "phx_ref_prev": PHX_REF})),
    ],
    "a_state_shows_every_meta_of_a_key": [
        join({"presence": {"key": "k"}}),
        joined(),
        presence("track", {"n": 1}),
        reply("2"),
        *diff(present("k", {"n": 1})),
        join({"presence": {"key": "k"}}, socket="b"),
        joined(socket="b"),
        presence("track", {"n": 2}, socket="b"),
        reply("2", socket="b"),
        *diff(present("k", {"n": 2}), None, "a", "b"),
        join({"presence": {"enabled": True}}, socket="c"),
        joined(socket="c"),
        Down(["1", None, TOPIC, "presence_state", present("k", {"n": 1}, {"n": 2})], "c"),
        up("phx_leave", {}, ref="3", socket="b"),
        reply("3", socket="b"),
        closed(socket="b"),
        *diff(None, present("k", {"n": 2}), "a", "c"),
    ],
    "a_number_is_a_presence_key": [
        join({"presence": {"key": 12}}),
        joined(),
        presence("track", {}),
        reply("2"),
        *diff(present("12", {})),
    ],
    "a_presence_message_that_says_nothing_is_answered": [
        join(),
        joined(),
        up("presence", {}),
        reply("2"),
        presence("dance", {}, ref="3"),
        reply("3", "error"),
        presence("track", [1], ref="4"),
        reply("4", "error", {"reason": "Presence track payload must be a map"}),
        presence("track", "x", ref="5"),
        reply("5", "error", {"reason": "Presence track payload must be a map"}),
    ],
    "the_sixth_call_of_presence_ends_the_channel": [
        join(),
        joined(),
        *(step for number in range(5) for step in (presence("untrack", ref=str(number)), reply(str(number)))),
        presence("untrack"),
        *ended("Client presence rate limit exceeded"),
    ],
    "what_is_tracked_may_not_be_larger_than_a_broadcast": [
        join(),
        joined(),
        presence("track", {"x": "x" * 2_000}),
        *ended("Track message size exceeded"),
    ],
    # -- tokens
    "tokens_that_are_none_are_ignored": [
        join(),
        joined(),
        *(up("access_token", {"access_token": token}) for token in NO_TOKENS),
        up("access_token", {}),
        up("access_token", {"other": 1}),
    ],
    "a_token_that_does_not_verify_ends_the_channel": [
        join(ref="9"),
        joined(ref="9"),
        up("access_token", {"access_token": "x"}, join_ref="9"),
        *ended("The token provided is not a valid JWT", ref="9"),
        join(ref="10"),
        joined(ref="10"),
        up("access_token", {"access_token": ""}, join_ref="10"),
        *ended("The token provided is not a valid JWT", ref="10"),
    ],
}


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_scenario_gets_the_frames_of_the_contract(shared_stack: Stack, name: str, vsn: str) -> None:
    await play(shared_stack, vsn, SCENARIOS[name])


async def test_the_key_of_presence_is_made_up_where_none_is_given(shared_stack: Stack) -> None:
    made_up = await shared_stack.connect()
    for number, given in enumerate(("", None, {"a": 1})):
        await made_up.join(f"made-up-{number}", presence={"key": given})
        await made_up.send(f"realtime:made-up-{number}", "presence", {"event": "track", "payload": {}})
        (key,) = (await made_up.event("presence_diff")).payload["joins"]
        assert key == UUID
