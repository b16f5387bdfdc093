"""Broadcasts sent from SQL: each new row of ``realtime.messages`` becomes a broadcast of its topic.

Pure. Source: contracts/realtime.md 1.8 and 1.12: delivered with ``meta.id``.
"""

from __future__ import annotations

from collections.abc import Mapping

from isobase_services.realtime.core.topics import TopicKey
from isobase_services.realtime.wire.messages import Outgoing, UserBroadcast, dump

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
        content = bytes.fromhex(binary.removeprefix("\\x"))
        return key, UserBroadcast(event, content, is_json=False, meta=meta, identifier=identifier)
    if payload is None:
        return None
    return key, UserBroadcast(event, payload.encode(), is_json=True, meta=meta, identifier=identifier)
