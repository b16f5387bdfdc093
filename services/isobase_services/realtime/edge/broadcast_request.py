"""Reading what the broadcast endpoints are sent. Pure. Source: contracts/realtime.md 1.12; upstream's changeset errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from isobase_services.realtime.core.topics import TopicKey
from isobase_services.realtime.edge.errors import InvalidBroadcast
from isobase_services.realtime.wire.messages import Outgoing, TextBroadcast, dump

__all__ = ["BroadcastMessage", "parse_batch"]

BLANK = "can't be blank"
INVALID = "is invalid"
TOO_LARGE = "Payload size exceeds tenant limit"


@dataclass(slots=True, frozen=True)
class BroadcastMessage:
    """One message and where it goes."""

    key: TopicKey
    event: str
    message: Outgoing


def parse_batch(body: object, max_payload_bytes: int) -> list[BroadcastMessage]:
    """Read ``{"messages": [...]}``: all of them, or ``InvalidBroadcast`` with one entry of errors per message."""
    entries = body.get("messages", []) if isinstance(body, dict) else []
    if entries == []:
        raise InvalidBroadcast({"messages": [BLANK]})
    if not isinstance(entries, list):
        raise InvalidBroadcast({"messages": [INVALID]})
    if not all(isinstance(entry, dict) for entry in entries):
        raise InvalidBroadcast({"messages": [INVALID]})
    problems = [_problems(entry, max_payload_bytes) for entry in entries]
    if any(problems):
        raise InvalidBroadcast({"messages": problems})
    return [_message(entry) for entry in entries]


def _problems(entry: Mapping[str, object], max_payload_bytes: int) -> dict[str, list[str]]:
    problems: dict[str, list[str]] = {}
    for name in ("topic", "payload", "event"):
        value = entry.get(name)
        wanted = dict if name == "payload" else str
        if value is None or (isinstance(value, str) and wanted is str and not value.strip()):
            problems[name] = [BLANK]
        elif not isinstance(value, wanted):
            problems[name] = [INVALID]
    private = entry.get("private")
    if private is not None and _flag(private) is None:
        problems["private"] = [INVALID]
    if "payload" not in problems and len(dump(entry["payload"]).encode()) > max_payload_bytes:
        problems["payload"] = [TOO_LARGE]
    return problems


def _flag(value: object) -> bool | None:
    """A boolean as upstream casts it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value)
    return None


def _message(entry: Mapping[str, object]) -> BroadcastMessage:
    payload: dict[str, object] = {"type": "broadcast", "event": entry["event"], "payload": entry["payload"]}
    identifier = entry.get("id")
    if isinstance(identifier, str):
        payload["meta"] = {"id": identifier}
    key = TopicKey(cast("str", entry["topic"]), is_private=bool(_flag(entry.get("private"))))
    return BroadcastMessage(
        key,
        cast("str", entry["event"]),
        TextBroadcast(dump(payload), identifier=identifier if isinstance(identifier, str) else None),
    )
