"""What the load generator writes and reads on the wire, with as little work per frame as Python allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "MARKER",
    "STAMP_DIGITS",
    "Version",
    "broadcast",
    "client_frame",
    "heartbeat",
    "join",
    "split_frames",
    "track",
]

Version: TypeAlias = Literal["1.0.0", "2.0.0", "simple", "none"]
"""The serialisation; ``simple`` is the simple face, ``none`` a bare hub that passes every frame on to all others."""

MARKER = b'"sent_us":'
"""Precedes the time of sending, in microseconds since 1970, in everything whose latency is measured."""
STAMP_DIGITS = 16
_TEXT, _BINARY = 0x81, 0x82
_PUSH = 3


def client_frame(payload: bytes, *, is_binary: bool = False) -> bytes:
    """A whole frame as a client sends it: masked, with the key 0, which leaves the bytes as they are."""
    size = len(payload)
    if size < 126:
        head = bytes((_BINARY if is_binary else _TEXT, 0x80 | size))
    elif size < 65_536:
        head = bytes((_BINARY if is_binary else _TEXT, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((_BINARY if is_binary else _TEXT, 0x80 | 127)) + size.to_bytes(8)
    return head + b"\0\0\0\0" + payload


def split_frames(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The whole server frames in ``data``: opcode, payload, and where the next one begins."""
    position, end = 0, len(data)
    while end - position >= 2:
        size, start = data[position + 1], position + 2
        if size == 126:
            size, start = int.from_bytes(data[start : start + 2]), start + 2
        elif size == 127:
            size, start = int.from_bytes(data[start : start + 8]), start + 8
        if start + size > end:
            return
        yield data[position] & 0x0F, data[start : start + size], start + size
        position = start + size


@dataclass(slots=True, frozen=True)
class _Message:
    version: Version
    topic: str
    event: str
    payload: str
    ref: str
    join_ref: str | None

    def frame(self) -> bytes:
        """The frame of this message."""
        topic, event, ref, join_ref = (json.dumps(one) for one in (self.topic, self.event, self.ref, self.join_ref))
        if self.version == "2.0.0":
            return client_frame(f"[{join_ref},{ref},{topic},{event},{self.payload}]".encode())
        text = f'{{"topic":{topic},"event":{event},"payload":{self.payload},"ref":{ref},"join_ref":{join_ref}}}'
        return client_frame(text.encode())


def join(version: Version, topic: str, config: str, token: str, ref: str) -> bytes:
    """``phx_join`` of ``topic`` with the JSON text ``config``; on the simple face a sign-in and a room."""
    if version == "simple":
        sign_in = client_frame(f'{{"action":"connect","token":{json.dumps(token)}}}'.encode())
        return sign_in + client_frame(f'{{"action":"joinRoom","roomId":{json.dumps(topic)}}}'.encode())
    payload = f'{{"config":{config},"access_token":{json.dumps(token)}}}'
    return _Message(version, f"realtime:{topic}", "phx_join", payload, ref, ref).frame()


def heartbeat(version: Version) -> bytes:
    """A heartbeat."""
    return _Message(version, "phoenix", "heartbeat", "{}", "heartbeat", None).frame()


def track(version: Version, topic: str, fields: str) -> bytes:
    """A presence message that tracks the JSON text ``fields``; the channel was joined with the reference 1."""
    payload = f'{{"type":"presence","event":"track","payload":{fields}}}'
    return _Message(version, f"realtime:{topic}", "presence", payload, "2", "1").frame()


def broadcast(version: Version, topic: str, now_us: int, filling: str) -> bytes:
    """A broadcast as the official client of that version sends it: binary on 2.0.0, text on 1.0.0."""
    content = f'{{{MARKER.decode()}{now_us:0{STAMP_DIGITS}d},"text":"{filling}"}}'
    match version:
        case "simple":
            return client_frame(f'{{"action":"sendMessage","roomId":{json.dumps(topic)},"message":{content}}}'.encode())
        case "none":
            return client_frame(content.encode())
        case "1.0.0":
            payload = f'{{"type":"broadcast","event":"tick","payload":{content}}}'
            return _Message(version, f"realtime:{topic}", "broadcast", payload, "2", "1").frame()
        case "2.0.0":
            names = [b"1", b"2", f"realtime:{topic}".encode(), b"tick", b""]
            head = bytes((_PUSH, *(len(name) for name in names), 1))
            return client_frame(head + b"".join(names) + content.encode(), is_binary=True)
