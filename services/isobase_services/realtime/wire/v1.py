"""Version 1.0.0: every message is a JSON object.

What the server sends always carries the key ``ref``, null where there is none: strict clients drop a frame without it.
``join_ref`` is read and never written. Source: contracts/realtime.md 1.2.
"""

from __future__ import annotations

from isobase_services.realtime.wire.frames import Frame, text_frame
from isobase_services.realtime.wire.messages import (
    ClientMessage,
    Message,
    Outgoing,
    Ref,
    TextBroadcast,
    dump,
    is_ref,
    parse_json,
    user_broadcast_object,
)

__all__ = ["PhoenixV1"]


class PhoenixV1:
    """The codec of ``vsn=1.0.0`` and of a handshake without ``vsn``."""

    def decode(self, message: Message) -> ClientMessage | None:
        """See ``Codec.decode``. Binary frames do not exist in this version."""
        if isinstance(message, bytes):
            return None
        try:
            value = parse_json(message)
        except ValueError:
            return None
        if not isinstance(value, dict):
            return None
        topic, event = value.get("topic"), value.get("event")
        join_ref, ref = value.get("join_ref"), value.get("ref")
        payload = value.get("payload")
        payload = {} if payload is None else payload
        if not (isinstance(topic, str) and isinstance(event, str) and isinstance(payload, dict)):
            return None
        if not (is_ref(join_ref) and is_ref(ref)):
            return None
        return ClientMessage(join_ref=join_ref, ref=ref, topic=topic, event=event, payload=payload)

    def reply(self, *, join_ref: Ref, ref: Ref, topic: str, status: str, response: str) -> Frame:
        """See ``Codec.reply``."""
        return _object(topic, "phx_reply", f'{{"status":"{status}","response":{response}}}', ref)

    def push(self, *, join_ref: Ref, topic: str, event: str, payload: str) -> Frame:
        """See ``Codec.push``."""
        return _object(topic, event, payload, None)

    def closing(self, *, join_ref: Ref, topic: str, event: str, payload: str) -> Frame:
        """See ``Codec.closing``."""
        return _object(topic, event, payload, join_ref)

    def fan_out(self, *, topic: str, event: str, payload: str) -> Frame:
        """See ``Codec.fan_out``."""
        return _object(topic, event, payload, None)

    def broadcast(self, *, topic: str, message: Outgoing) -> Frame | None:
        """See ``Codec.broadcast``."""
        if isinstance(message, TextBroadcast):
            return _object(topic, "broadcast", message.payload, None)
        if not message.is_json:
            return None
        return _object(topic, "broadcast", user_broadcast_object(message), None)


def _object(topic: str, event: str, payload: str, ref: Ref) -> Frame:
    return text_frame(f'{{"topic":{dump(topic)},"event":{dump(event)},"payload":{payload},"ref":{dump(ref)}}}')
