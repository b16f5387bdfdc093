"""Version 2.0.0: text messages are JSON arrays, user broadcasts may be binary.

Of the binary types only 3 (from clients) and 4 (to clients) are used: realtime-js knows no other. Lengths in their heads are
one byte each, so a field has at most ``MAX_FIELD_BYTES``. Source: contracts/realtime.md 1.2 and 1.3.
"""

from __future__ import annotations

import orjson

from isobase_services.realtime.wire.frames import Frame, binary_frame, text_frame
from isobase_services.realtime.wire.messages import (
    ClientMessage,
    Message,
    Outgoing,
    Ref,
    TextBroadcast,
    UserBroadcast,
    dump,
    is_ref,
    parse_json,
    user_broadcast_object,
)

__all__ = ["MAX_FIELD_BYTES", "PhoenixV2"]

MAX_FIELD_BYTES = 255
USER_BROADCAST_PUSH = 3
USER_BROADCAST = 4
ENCODING_RAW = 0
ENCODING_JSON = 1
PUSH_HEAD_BYTES = 7


class PhoenixV2:
    """The codec of ``vsn=2.0.0``."""

    def decode(self, message: Message) -> ClientMessage | None:
        """See ``Codec.decode``."""
        if isinstance(message, bytes):
            return _decode_push(message)
        try:
            value = parse_json(message)
        except ValueError:
            return None
        if not isinstance(value, list) or len(value) < 5:
            return None
        join_ref, ref, topic, event, payload = value[:5]
        payload = {} if payload is None else payload
        if not (isinstance(topic, str) and isinstance(event, str) and isinstance(payload, dict)):
            return None
        if not (is_ref(join_ref) and is_ref(ref)):
            return None
        return ClientMessage(join_ref=join_ref, ref=ref, topic=topic, event=event, payload=payload)

    def reply(self, *, join_ref: Ref, ref: Ref, topic: str, status: str, response: str) -> Frame:
        """See ``Codec.reply``."""
        return _array(join_ref, ref, topic, "phx_reply", f'{{"status":"{status}","response":{response}}}')

    def push(self, *, join_ref: Ref, topic: str, event: str, payload: str) -> Frame:
        """See ``Codec.push``."""
        return _array(join_ref, None, topic, event, payload)

    def closing(self, *, join_ref: Ref, topic: str, event: str, payload: str) -> Frame:
        """See ``Codec.closing``."""
        return _array(join_ref, join_ref, topic, event, payload)

    def fan_out(self, *, topic: str, event: str, payload: str) -> Frame:
        """See ``Codec.fan_out``."""
        return _array(None, None, topic, event, payload)

    def broadcast(self, *, topic: str, message: Outgoing) -> Frame | None:
        """See ``Codec.broadcast``: text stays text, a user broadcast becomes binary type 4 where its head has room."""
        if isinstance(message, TextBroadcast):
            return _array(None, None, topic, "broadcast", message.payload)
        fields = [topic.encode(), message.event.encode(), message.meta.encode()]
        if any(len(part) > MAX_FIELD_BYTES for part in fields):
            if not message.is_json:
                return None
            return _array(None, None, topic, "broadcast", user_broadcast_object(message))
        encoding = ENCODING_JSON if message.is_json else ENCODING_RAW
        head = bytes((USER_BROADCAST, *(len(part) for part in fields), encoding))
        return binary_frame(head, *fields, message.payload)


def _array(join_ref: Ref, ref: Ref, topic: str, event: str, payload: str) -> Frame:
    return text_frame(f"[{dump(join_ref)},{dump(ref)},{dump(topic)},{dump(event)},{payload}]")


def _decode_push(frame: bytes) -> ClientMessage | None:
    """Read binary type 3: ``3, five lengths, encoding``, the five strings, then the payload."""
    if len(frame) < PUSH_HEAD_BYTES or frame[0] != USER_BROADCAST_PUSH or frame[6] not in (ENCODING_RAW, ENCODING_JSON):
        return None
    fields: list[str] = []
    position = PUSH_HEAD_BYTES
    for length in frame[1:6]:
        part = frame[position : position + length]
        position += length
        if len(part) != length:
            return None
        try:
            fields.append(part.decode())
        except UnicodeDecodeError:
            return None
    join_ref, ref, topic, event, _metadata = fields
    is_json = frame[6] == ENCODING_JSON
    payload = frame[position:]
    if is_json and not _is_json(payload):
        return None
    broadcast = UserBroadcast(event=event, payload=payload, is_json=is_json)
    return ClientMessage(
        join_ref=join_ref or None, ref=ref or None, topic=topic, event="broadcast", broadcast=broadcast
    )


def _is_json(payload: bytes) -> bool:
    """True for JSON text. A sender's invalid JSON would otherwise break the text frames of every 1.0.0 socket."""
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        # It is stricter than RFC 8259 in places, as with lone surrogates that are escaped.
        try:
            parse_json(payload)
        except ValueError:
            return False
    return True
