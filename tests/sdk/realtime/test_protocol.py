"""The protocol without a socket: frames, filters, delays, positions, addresses, what a join asks for."""

from __future__ import annotations

import contextlib
import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isobase.realtime import PostgresChangesCallback, PostgresChangesFilter, RealtimePostgresChangesListenEvent, delays
from isobase.realtime.filters import filter_text
from isobase.realtime.joining import bind, default_options, error_of, join_payload
from isobase.realtime.message import ReplyPostgresChanges
from isobase.realtime.positions import Positions
from isobase.realtime.transformers import http_endpoint_url, socket_url, with_parameters, without_secrets
from isobase.realtime.wire import Frame, WireError, decode, encode

JOIN = Frame("realtime:a", "phx_join", {"config": {}}, "1", "1")


def test_frames_of_both_versions_are_read_for_what_they_are() -> None:
    first = encode(JOIN, "1.0.0")
    second = encode(JOIN, "2.0.0")
    assert json.loads(first) == {
        "event": "phx_join",
        "payload": {"config": {}},
        "topic": "realtime:a",
        "ref": "1",
        "join_ref": "1",
    }
    assert json.loads(second) == ["1", "1", "realtime:a", "phx_join", {"config": {}}]
    assert decode(first) == decode(second) == JOIN


def test_a_broadcast_of_the_second_version_is_a_binary_frame() -> None:
    payload = {"type": "broadcast", "event": "é", "payload": {"n": 1}}
    assert encode(Frame("realtime:a", "broadcast", payload, "12", "3"), "2.0.0") == (
        b'\x03\x01\x02\x0a\x02\x00\x01312realtime:a\xc3\xa9{"n":1}'
    )
    meta = b'{"id":"x"}'
    heard = decode(b"\x04\x0a\x01" + bytes([len(meta)]) + b"\x01realtime:ae" + meta + b'{"n":1}')
    assert heard.payload == {"type": "broadcast", "event": "e", "payload": {"n": 1}, "meta": {"id": "x"}}


@pytest.mark.parametrize(
    "message",
    [
        "",
        "no",
        "[]",
        "[1,2,3]",
        '{"topic":"a"}',
        '{"topic":1,"event":"e"}',
        b"",
        b"\x04",
        b"\x09abcdef",
        b"\x04\xff\xff\xff\x01a",
    ],
)
def test_what_is_no_frame_is_refused(message: str | bytes) -> None:
    with pytest.raises(WireError):
        decode(message)


@settings(deadline=None)
@given(st.text() | st.binary())
def test_nothing_that_comes_in_raises_anything_else(message: str | bytes) -> None:
    with contextlib.suppress(WireError):
        decode(message)


@pytest.mark.parametrize(
    "payload, vsn",
    [
        pytest.param({"event": "e", "payload": b"raw"}, "1.0.0", id="bytes"),
        pytest.param({"event": "e", "payload": object()}, "1.0.0", id="no JSON"),
        pytest.param({"event": "e" * 256, "payload": {}}, "2.0.0", id="a long name"),
    ],
)
def test_what_cannot_be_sent_is_refused(payload: dict[str, Any], vsn: str) -> None:
    with pytest.raises(WireError):
        encode(Frame("realtime:a", "broadcast", payload), vsn)


def test_dates_and_the_like_are_written_as_json_has_them() -> None:
    frame = Frame(
        "t", "broadcast", {"event": "e", "payload": {"at": datetime(2026, 1, 1, tzinfo=UTC), "n": float("nan")}}
    )
    assert json.loads(encode(frame, "1.0.0"))["payload"]["payload"] == {"at": "2026-01-01T00:00:00Z", "n": None}


@pytest.mark.parametrize(
    "built, text",
    [
        (PostgresChangesFilter().eq("a", 1).neq("b", "x"), "a=eq.1,b=neq.x"),
        (PostgresChangesFilter().gt("a", 1.5).gte("a", 1).lt("a", 9).lte("a", 8), "a=gt.1.5,a=gte.1,a=lt.9,a=lte.8"),
        (PostgresChangesFilter().in_("a", ["x", "x", "y,z"]), 'a=in.(x,"y,z")'),
        (PostgresChangesFilter().like("a", "%x%").ilike("a", " y"), 'a=like.%x%,a=ilike." y"'),
        (PostgresChangesFilter().match("a", "^x(y)").imatch("a", 'q"\\'), 'a=match."^x(y)",a=imatch."q\\"\\\\"'),
        (PostgresChangesFilter().is_("a", None).is_("b", True).is_("c", "unknown"), "a=is.null,b=is.true,c=is.unknown"),
        (PostgresChangesFilter().is_distinct("a", None).not_("b", "in", [1, 2]), "a=isdistinct.null,b=not.in.(1,2)"),
    ],
)
def test_filters_are_written_as_the_server_reads_them(built: PostgresChangesFilter, text: str) -> None:
    assert str(built) == built.build() == filter_text(built) == text
    assert filter_text([text, built]) == f"{text},{text}"


def test_a_filter_of_no_value_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        PostgresChangesFilter().in_("a", [])


def test_delays_grow_up_to_their_end_and_differ() -> None:
    random.seed(1)
    rejoins = [delays.rejoin_delay(attempt) for attempt in range(1, 8)]
    assert all(low * 0.75 <= delay <= low * 1.25 for delay, low in zip(rejoins, [1, 2, 5, 10, 10, 10, 10], strict=True))
    assert len(set(rejoins[3:])) == 4
    assert all(delays.reconnect_delay(attempt, 1.0) <= 37.5 for attempt in (1, 10, 10_000))
    assert [delays.connect_delay(attempt, 0.5) for attempt in (1, 2, 3, 4, 100)] == [0.5, 1, 2, 4, 60]
    assert 0 <= delays.first_delay(1.0) <= 0.25


def test_a_position_is_asked_for_and_then_gone_on_from() -> None:
    positions = Positions()
    assert positions.join_options({}, replay=True) == {"position": True}
    positions.joined()
    assert positions.subscribed("p0") is None
    assert positions.is_new({"position": "p1"}, [1])
    assert positions.join_options({}, replay=True) == {"position": True, "since": "p1"}
    assert positions.is_new({"position": "p2"}, [1])  # of the join before
    assert not positions.is_new({"position": "p2"}, [1])  # of the replay
    assert positions.is_new({"position": "p3"}, [1])
    positions.joined()
    assert positions.subscribed("p3") is None
    gap = positions.refused("PositionTooOld: gone")
    assert gap is not None
    assert gap.reason.value == "too_old"
    assert positions.join_options({}, replay=True) == {"position": True}


def test_joins_that_the_server_has_not_come_to_yet_replay_nothing_that_was_delivered() -> None:
    positions = Positions()
    positions.join_options({}, replay=True)
    positions.joined()
    positions.subscribed("p0")
    assert positions.join_options({}, replay=True) == {"position": True, "since": "p0"}  # the second join
    assert positions.is_new({"position": "p1"}, [1])  # of the first
    third = positions.join_options({}, replay=True)  # before the second was replied to
    assert third == {"position": True, "since": "p1"}
    assert not positions.is_new({"position": "p1"}, [1])  # replayed by the second
    assert positions.subscribed("p1") is None  # of the second
    assert positions.is_new({"position": "p2"}, [1])  # of the second, live
    positions.joined()  # the third
    assert not positions.is_new({"position": "p2"}, [1])  # replayed by the third
    assert positions.subscribed("p2") is None
    assert positions.is_new({"position": "p3"}, [1])
    assert positions.last == "p3"


def test_a_server_without_positions_leaves_a_gap_at_every_later_join_only() -> None:
    positions = Positions()
    positions.join_options({}, replay=True)
    positions.joined()
    assert positions.is_new({}, [1])
    assert positions.subscribed(None) is None
    assert positions.subscribed(None) is None  # after a new token
    positions.join_options({}, replay=True)
    positions.joined()
    gap = positions.subscribed(None)
    assert gap is not None
    assert gap.reason.value == "not_replayed"


def listener(event: str = "*", **binding: Any) -> PostgresChangesCallback:
    fields = {"table": None, "schema": None, "filter": None, **binding}
    return PostgresChangesCallback(lambda _: None, RealtimePostgresChangesListenEvent(event), **fields)


def test_equal_listeners_are_asked_for_once_and_share_the_id() -> None:
    listeners = [listener(table="a"), listener("INSERT", table="a"), listener(table="a", filter="")]
    payload = join_payload(default_options(), listeners, presence=False, token="t", positions={"position": True})
    assert payload["config"]["postgres_changes"] == [
        {"event": "*", "schema": "public", "table": "a"},
        {"event": "INSERT", "schema": "public", "table": "a"},
    ]
    assert payload["config"]["postgres_changes_options"] == {"position": True}
    rows = [
        {"id": 7, "event": "*", "schema": "public", "table": "a"},
        {"id": 8, "event": "INSERT", "schema": "public", "table": "a"},
    ]
    assert bind(listeners, ReplyPostgresChanges.model_validate({"postgres_changes": rows}))
    assert [each.id for each in listeners] == [7, 8, 7]
    assert not bind(listeners, ReplyPostgresChanges.model_validate({"postgres_changes": rows[::-1]}))
    assert not bind(listeners, ReplyPostgresChanges.model_validate({"postgres_changes": []}))


def test_a_channel_without_row_changes_asks_for_no_positions() -> None:
    payload = join_payload(default_options(), [], presence=True, token=None, positions=None)
    assert payload == {
        "config": {
            "broadcast": {"ack": False, "self": False},
            "presence": {"key": "", "enabled": True},
            "private": False,
            "postgres_changes": [],
        }
    }


def test_a_refusal_is_told_as_the_payload_it_came_with() -> None:
    assert str(error_of({"reason": "Unauthorized: no"})) == '{"reason": "Unauthorized: no"}'
    assert type(error_of({"reason": "Unauthorized: no"})).__name__ == "AuthorizationError"
    assert type(error_of({"reason": "x"})) is Exception


@pytest.mark.parametrize(
    "url, http",
    [
        ("ws://h/realtime/v1", "http://h/realtime/v1"),
        ("wss://h/socket/websocket/", "https://h"),
        ("https://h/realtime/v1/websocket", "https://h/realtime/v1"),
    ],
)
def test_addresses_of_the_http_endpoints(url: str, http: str) -> None:
    assert http_endpoint_url(url) == http


def test_addresses_of_the_socket() -> None:
    url = with_parameters(socket_url("HTTPS://h/realtime/v1"), {}, apikey="a&b")
    assert url == "wss://h/realtime/v1/websocket?apikey=a%26b"
    assert with_parameters(url, {"x": 1}, vsn="1.0.0").endswith("?x=1&apikey=a%26b&vsn=1.0.0")
    assert without_secrets(url) == "wss://h/realtime/v1/websocket?apikey=***"
