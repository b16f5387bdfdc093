"""Broadcasts between nodes: each goes to every peer, which hands it to its own members of the topic.

All topics share one channel of the bus. A node reads every broadcast of the project and looks the topic up, which costs less
than a subscription for each topic does (decision 0022). Whom a broadcast leaves out (its own sender), and who may send it,
is decided where it came from; who may receive it, where it arrives. Neighbours: ``cluster``, ``session.hub``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from isobase_services.realtime.cluster.cluster import Cluster
from isobase_services.realtime.core.topics import TopicKey
from isobase_services.realtime.wire.messages import Outgoing, TextBroadcast, UserBroadcast

__all__ = ["Broadcasts", "decode_broadcast", "encode_broadcast"]

CHANNEL = "broadcast"
_HEAD = struct.Struct(">BIIII")
IS_PRIVATE = 1
IS_TEXT = 2
IS_JSON = 4
HAS_IDENTIFIER = 8


class Broadcasts:
    """Sends this node's broadcasts to the peers, and hands theirs to ``deliver``."""

    def __init__(self, cluster: Cluster, deliver: Callable[[TopicKey, Outgoing], None]) -> None:
        self._cluster = cluster
        self._deliver = deliver
        cluster.subscribe(CHANNEL, self._receive)

    def send(self, key: TopicKey, message: Outgoing) -> None:
        """Pass a broadcast on, without waiting; nothing where no peer lives."""
        if self._cluster.has_peers:
            self._cluster.publish(CHANNEL, encode_broadcast(key, message))

    def _receive(self, _node_id: str, payload: bytes) -> None:
        self._deliver(*decode_broadcast(payload))


def encode_broadcast(key: TopicKey, message: Outgoing) -> bytes:
    """The bytes of a broadcast: flags, four lengths, topic, event, meta, identifier, payload."""
    flags = IS_PRIVATE if key.is_private else 0
    event = meta = ""
    match message:
        case TextBroadcast(payload=text):
            flags |= IS_TEXT
            content = _bytes(text)
        case UserBroadcast():
            flags |= IS_JSON if message.is_json else 0
            event, meta, content = message.event, message.meta, message.payload
    if message.identifier is not None:
        flags |= HAS_IDENTIFIER
    fields = [_bytes(field) for field in (key.name, event, meta, message.identifier or "")]
    return b"".join((_HEAD.pack(flags, *map(len, fields)), *fields, content))


def decode_broadcast(data: bytes) -> tuple[TopicKey, Outgoing]:
    """What ``encode_broadcast`` made. Raises ``ValueError`` and ``struct.error`` for anything else."""
    flags, *lengths = _HEAD.unpack_from(data)
    position = _HEAD.size
    fields: list[str] = []
    for length in lengths:
        fields.append(_text(data[position : position + length]))
        position += length
    topic, event, meta, given = fields
    key = TopicKey(topic, bool(flags & IS_PRIVATE))
    identifier = given if flags & HAS_IDENTIFIER else None
    content = data[position:]
    if flags & IS_TEXT:
        return key, TextBroadcast(_text(content), identifier=identifier)
    return key, UserBroadcast(event, content, is_json=bool(flags & IS_JSON), meta=meta, identifier=identifier)


# JSON can name lone surrogates, which a topic or an event may then hold.


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _text(data: bytes) -> str:
    return data.decode(errors="surrogatepass")
