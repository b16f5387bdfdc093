"""Replay of broadcasts: what a join may ask for, and the messages that come back.

Pure. Source: contracts/realtime.md 1.8; upstream's limits and its words for what it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeGuard

from isobase_services.realtime.wire.messages import Outgoing, TextBroadcast, UserBroadcast, dump

__all__ = ["MAX_REPLAYED_MESSAGES", "ReplayRefused", "ReplayWindow", "StoredMessage", "plan_replay"]

MAX_REPLAYED_MESSAGES = 25
LAST_MOMENT_MS = 253_402_300_799_999
"""The end of the year 9999 in milliseconds since 1970: upstream takes no moment beyond it."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  realtime.messages holds UTC without saying so
_FIRST_MOMENT_MS = int((datetime.min - _EPOCH) / timedelta(milliseconds=1))  # noqa: DTZ901


class ReplayRefused(Exception):
    """A replay that cannot be served; the text is the join's ``reason``."""

    def __init__(self, message: str) -> None:
        super().__init__(f"UnableToReplayMessages: {message}")


@dataclass(slots=True, frozen=True)
class ReplayWindow:
    """The newest ``limit`` messages since ``since`` (UTC, without a time zone, as the table has it)."""

    since: datetime
    limit: int


@dataclass(slots=True, frozen=True)
class StoredMessage:
    """A message of ``realtime.messages``. ``payload`` is JSON text; ``binary_payload`` stands in its place for raw bytes."""

    identifier: str
    event: str
    payload: str | None
    binary_payload: bytes | None

    @property
    def replayed(self) -> Outgoing:
        """The broadcast that a joining channel is sent: marked as replayed."""
        meta = dump({"replayed": True, "id": self.identifier})
        if self.binary_payload is not None:
            return UserBroadcast(self.event, self.binary_payload, is_json=False, meta=meta)
        text = f'{{"payload":{self.payload or "null"},"event":{dump(self.event)},"type":"broadcast","meta":{meta}}}'
        return TextBroadcast(text)


def plan_replay(params: Mapping[str, object]) -> ReplayWindow:
    """Read ``{"since": milliseconds, "limit": n}``; the limit is clamped to 1..25. Raises ``ReplayRefused``."""
    since, limit = params.get("since"), params.get("limit")
    if limit is None or limit is False:
        limit = MAX_REPLAYED_MESSAGES
    if not _is_integer(since) or not _is_integer(limit) or since > LAST_MOMENT_MS:
        raise ReplayRefused("Replay params are not valid")
    moment = _EPOCH + timedelta(milliseconds=max(since, _FIRST_MOMENT_MS))
    return ReplayWindow(since=moment, limit=min(max(limit, 1), MAX_REPLAYED_MESSAGES))


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
