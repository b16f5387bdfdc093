"""The Phoenix protocol on the wire, both versions: frames to text or bytes and back. No I/O.

1.0.0 writes an object, 2.0.0 an array ``[join_ref, ref, topic, event, payload]``; in 2.0.0 broadcasts are sent and come
in as binary frames (types 3 and 4), whose payload may be raw bytes. What comes in is read for what it is, whichever
version was asked for.

Source: supabase/realtime's serializer and realtime-js ``lib/serializer.ts`` for the layout of the binary frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from pydantic_core import PydanticSerializationError, from_json, to_json

__all__ = ["VSN_1", "VSN_2", "Frame", "WireError", "decode", "encode", "is_bytes"]

VSN_1 = "1.0.0"
VSN_2 = "2.0.0"
USER_BROADCAST_PUSH = 3
USER_BROADCAST = 4
RAW, JSON = 0, 1
MAX_FIELD_BYTES = 255
HEADER_FIELDS = ("topic", "event", "metadata")


class WireError(ValueError):
    """What came in is no frame of the protocol, or what was to go out cannot be one."""


@dataclass(slots=True)
class Frame:
    """One message of the protocol, in either direction."""

    topic: str
    event: str
    payload: dict[str, Any] = field(default_factory=dict)
    ref: str | None = None
    join_ref: str | None = None


def is_bytes(value: object) -> bool:
    """Tell whether a broadcast's payload is raw bytes."""
    return isinstance(value, bytes | bytearray | memoryview)


def encode(frame: Frame, vsn: str) -> str | bytes:
    """Write a frame for the wire.

    Raises ``WireError`` where the payload cannot be written: raw bytes in 1.0.0, a value that JSON has no form for, a
    topic or event of more than 255 bytes in a binary frame.
    """
    payload = frame.payload
    if frame.event == "broadcast" and isinstance(payload.get("event"), str):
        if vsn == VSN_2:
            return _encode_broadcast(frame)
        if is_bytes(payload.get("payload")):
            raise WireError("bytes can be broadcast with vsn='2.0.0' only")
    body: object
    if vsn == VSN_2:
        body = [frame.join_ref, frame.ref, frame.topic, frame.event, payload]
    else:
        body = {
            "event": frame.event,
            "payload": payload,
            "topic": frame.topic,
            "ref": frame.ref,
            "join_ref": frame.join_ref,
        }
    return _json(body).decode()


def _json(value: object) -> bytes:
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError as error:
        raise WireError(f"the payload cannot be written as JSON: {error}") from error


def _encode_broadcast(frame: Frame) -> bytes:
    user_payload = frame.payload.get("payload")
    raw = is_bytes(user_payload)
    fields = [
        (text or "").encode() for text in (frame.join_ref, frame.ref, frame.topic, frame.payload["event"], "")
    ]  # the last one: metadata, which clients have none of
    if any(len(each) > MAX_FIELD_BYTES for each in fields):
        raise WireError(f"topic and event of a broadcast have at most {MAX_FIELD_BYTES} bytes")
    head = bytes([USER_BROADCAST_PUSH, *map(len, fields), RAW if raw else JSON])
    body = bytes(cast("bytes", user_payload)) if raw else _json({} if user_payload is None else user_payload)
    return head + b"".join(fields) + body


def decode(message: str | bytes) -> Frame:
    """Read one message of the server. Raises ``WireError`` for what is no frame."""
    if isinstance(message, str) or message[:1] in (b"{", b"["):
        return _decode_text(message)
    return _decode_broadcast(bytes(message))


def _decode_text(message: str | bytes) -> Frame:
    try:
        body = from_json(message)
    except ValueError as error:
        raise WireError(f"not JSON: {error}") from error
    match body:
        case [join_ref, ref, str(topic), str(event), payload]:
            pass
        case {"topic": str(topic), "event": str(event)}:
            join_ref, ref, payload = body.get("join_ref"), body.get("ref"), body.get("payload")
        case _:
            raise WireError("neither an object with topic and event nor an array of five")
    if not isinstance(payload, dict):
        payload = {} if payload is None else {"response": payload}
    return Frame(topic, event, payload, _reference(ref), _reference(join_ref))


def _reference(value: object) -> str | None:
    return None if value is None else str(value)


def _decode_broadcast(message: bytes) -> Frame:
    if len(message) < 5 or message[0] != USER_BROADCAST:
        raise WireError("a binary frame of a type that servers do not send")
    encoding, at, parts = message[4], 5, {}
    for name, length in zip(HEADER_FIELDS, message[1:4], strict=True):
        parts[name] = message[at : at + length]
        at += length
    if at > len(message):
        raise WireError("a binary frame that ends in its header")
    body = message[at:]
    try:
        payload: dict[str, Any] = {
            "type": "broadcast",
            "event": parts["event"].decode(),
            "payload": from_json(body) if encoding == JSON else body,
        }
        if parts["metadata"]:
            payload["meta"] = from_json(parts["metadata"])
        return Frame(parts["topic"].decode(), "broadcast", payload)
    except ValueError as error:
        raise WireError(f"a binary frame that cannot be read: {error}") from error
