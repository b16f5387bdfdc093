"""What the simple face's codec makes of frames that no other test sees."""

from __future__ import annotations

import json

from isobase_services.realtime.simple.codec import SIMPLE
from isobase_services.realtime.wire.frames import Frame
from isobase_services.realtime.wire.messages import TextBroadcast, UserBroadcast

ROOM = "realtime:room:den"


def read(frame: Frame | None) -> object:
    assert frame is not None
    assert frame.is_text
    return json.loads(frame.payload)


def test_content_that_python_cannot_read_is_passed_on_unread() -> None:
    huge, deep = "9" * 5000, "[" * 100_000 + "]" * 100_000
    for content in (huge, deep):
        payload = f'{{"type":"broadcast","event":"message","payload":{{"seq":1,"message":{content}}}}}'
        frame = SIMPLE.broadcast(topic=ROOM, message=TextBroadcast(payload))
        assert frame is not None
        assert frame.payload.decode() == f'{{"action":"broadcast","roomId":"den","content":{payload}}}'


def test_a_payload_cannot_pretend_to_be_another_action_or_room() -> None:
    payload = b'{"action":"left","roomId":"other","seq":1}'
    frame = SIMPLE.broadcast(topic=ROOM, message=UserBroadcast("typing", payload, is_json=True))
    assert read(frame) == {"action": "typing", "roomId": "den", "seq": 1}


def test_raw_bytes_and_broadcasts_to_a_subscription_are_not_carried() -> None:
    raw = UserBroadcast("e", b"\x00", is_json=False)
    assert SIMPLE.broadcast(topic="realtime:news", message=raw) is None
    text = TextBroadcast('{"type":"broadcast","event":"e","payload":{}}')
    assert SIMPLE.broadcast(topic="realtime:isobase:changes:1f", message=text) is None
    assert SIMPLE.decode('{"action":"ping"}') is None


def test_an_event_of_a_room_whose_payload_is_no_object_is_a_broadcast() -> None:
    text = TextBroadcast('{"type":"broadcast","event":"message","payload":5}')
    assert read(SIMPLE.broadcast(topic=ROOM, message=text)) == {
        "action": "broadcast",
        "roomId": "den",
        "event": "message",
        "payload": 5,
    }


def test_a_replayed_broadcast_and_a_system_message_have_an_action() -> None:
    frame = SIMPLE.push(
        join_ref="1",
        topic=ROOM,
        event="broadcast",
        payload='{"type":"broadcast","event":"wave","payload":{},"meta":{"id":"x","replayed":true}}',
    )
    assert read(frame) == {"action": "broadcast", "roomId": "den", "event": "wave", "payload": {}}
    system = '{"extension":"system","status":"error","message":"gone","channel":"room:den"}'
    assert read(SIMPLE.push(join_ref="1", topic=ROOM, event="system", payload=system)) == {
        "action": "error",
        "ok": False,
        "roomId": "den",
        "error": {"code": "channel_closed", "message": "gone", "details": None, "hint": None, "request_id": None},
    }
    assert read(SIMPLE.closing(join_ref="1", topic=ROOM, event="phx_close", payload="{}")) == {
        "action": "left",
        "roomId": "den",
    }
