"""The serialisation of the simple face: what the core sends, as JSON objects with an ``action``.

Only towards the client: what a client sends are actions (``actions``), not messages of channels. A frame for all members of a
topic is made once, as in the other codecs. Source: contracts/realtime.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from isobase_services.realtime.simple.topics import ROOM_EVENTS, address_of
from isobase_services.realtime.wire.frames import Frame, text_frame
from isobase_services.realtime.wire.messages import (
    ClientMessage,
    Message,
    Outgoing,
    Ref,
    TextBroadcast,
    dump,
    parse_json,
)

__all__ = ["SIMPLE", "SimpleJson", "people"]

_SUBSCRIBED = "postgres_changes"


class SimpleJson:
    """The codec of the simple face's sockets."""

    def decode(self, message: Message) -> ClientMessage | None:
        """See ``Codec.decode``. The face reads actions itself, so no frame is a message."""
        return None

    def reply(self, *, join_ref: Ref, ref: Ref, topic: str, status: str, response: str) -> Frame:
        """See ``Codec.reply``. The face answers its actions itself; this is for what nobody waits for any more."""
        name, value = address_of(topic)
        return text_frame(
            f'{{"action":"reply","ok":{dump(status == "ok")},{dump(name)}:{dump(value)},"response":{response}}}'
        )

    def push(self, *, join_ref: Ref, topic: str, event: str, payload: str) -> Frame:
        """See ``Codec.push``."""
        name, value = address_of(topic)
        if event == "broadcast":
            return _broadcast(name, value, TextBroadcast(payload)) or _frame({"action": event, name: value})
        content = _object(parse_json(payload))
        if event == "presence_state":
            return _frame({"action": "presence", name: value, "present": people(content)})
        if event != "system":
            return _frame({"action": event, name: value, "payload": content})
        if content.get("status") == "ok":
            action = "subscribed" if content.get("extension") == _SUBSCRIBED else "system"
            # Where the subscription begins and how much was replayed, for who asked for positions.
            extra = {key: content[key] for key in ("position", "replayed") if key in content}
            if action == "system":
                extra["message"] = content.get("message")
            return _frame({"action": action, name: value, **extra})
        is_refused = content.get("extension") == _SUBSCRIBED
        error = {
            "code": "subscription_failed" if is_refused else "channel_closed",
            "message": content.get("message"),
            "details": None,
            "hint": None,
            "request_id": None,
        }
        return _frame({"action": "error", "ok": False, name: value, "error": error})

    def closing(self, *, join_ref: Ref, topic: str, event: str, payload: str) -> Frame:
        """See ``Codec.closing``."""
        name, value = address_of(topic)
        return _frame({"action": "left", name: value})

    def fan_out(self, *, topic: str, event: str, payload: str) -> Frame:
        """See ``Codec.fan_out``."""
        name, value = address_of(topic)
        if event == "postgres_changes":
            _, _, change = payload.partition(',"data":')
            return text_frame(f'{{"action":"change",{dump(name)}:{dump(value)},"change":{change}')
        content = _object(parse_json(payload))
        if event == "presence_diff":
            joined, left = people(_object(content.get("joins"))), people(_object(content.get("leaves")))
            return _frame({"action": "presence", name: value, "joined": joined, "left": left})
        return _frame({"action": event, name: value, "payload": content})

    def broadcast(self, *, topic: str, message: Outgoing) -> Frame | None:
        """See ``Codec.broadcast``; None for raw bytes, which JSON cannot carry, and for what is no broadcast's topic."""
        name, value = address_of(topic)
        return None if name == "subscription" else _broadcast(name, value, message)


SIMPLE = SimpleJson()
"""One for all sockets: fan-out makes a frame once per codec."""


def _broadcast(name: str, value: str, message: Outgoing) -> Frame | None:
    try:
        if isinstance(message, TextBroadcast):
            whole = _object(parse_json(message.payload))
            event, payload = whole.get("event"), whole.get("payload")
        elif message.is_json:
            event, payload = message.event, parse_json(message.payload or b"null")
        else:
            return None
        if name == "roomId" and event in ROOM_EVENTS and isinstance(payload, dict):
            return _frame({**payload, "action": event, "roomId": value})
        return _frame({"action": "broadcast", name: value, "event": event, "payload": payload})
    except (ValueError, RecursionError):
        # PostgreSQL's JSON has numbers beyond a float's, and depth beyond ours: passed on as it is, unread.
        text = message.payload if isinstance(message, TextBroadcast) else message.payload.decode("utf-8", "replace")
        return text_frame(f'{{"action":"broadcast",{dump(name)}:{dump(value)},"content":{text}}}')


def people(keyed: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Presence as a list, one entry per tracked connection: ``key`` is the person, ``ref`` names the entry."""
    people: list[Mapping[str, object]] = []
    for key, entry in keyed.items():
        for meta in cast("list[object]", _object(entry).get("metas", [])):
            fields = dict(_object(meta))
            ref = fields.pop("phx_ref", None)
            replaced = fields.pop("phx_ref_prev", None)
            person: dict[str, object] = {"user": key, "ref": ref, **({"replaces": replaced} if replaced else {})}
            people.append({**person, "status": fields})
    return people


def _frame(members: Mapping[str, object]) -> Frame:
    return text_frame(dump(members))


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
