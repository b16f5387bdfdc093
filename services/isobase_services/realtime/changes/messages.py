"""Broadcasts sent from SQL: each new row of ``realtime.messages`` becomes a broadcast of its topic.

Pure. Source: contracts/realtime.md 1.8 and 1.12: delivered with ``meta.id``.
"""

from __future__ import annotations

from collections.abc import Mapping

from isobase_services.realtime.core.topics import TopicKey
from isobase_services.realtime.wire.messages import Outgoing, TextBroadcast, UserBroadcast, dump

__all__ = ["broadcast_of_row"]


def broadcast_of_row(row: Mapping[str, str | None]) -> tuple[TopicKey, Outgoing] | None:
    """The topic and broadcast of a row (column name -> the log's text); None for rows that are no broadcast."""
    topic, event, identifier = row.get("topic"), row.get("event"), row.get("id")
    if row.get("extension") != "broadcast" or not topic or event is None or identifier is None:
        return None
    key = TopicKey(topic, is_private=row.get("private") == "t")
    meta = dump({"id": identifier})
    binary, payload = row.get("binary_payload"), row.get("payload")
    if binary is not None:
        return key, UserBroadcast(event, bytes.fromhex(binary.removeprefix("\\x")), is_json=False, meta=meta)
    if payload is None:
        return None
    text = f'{{"type":"broadcast","event":{dump(event)},"payload":{payload},"meta":{meta}}}'
    return key, TextBroadcast(text)
