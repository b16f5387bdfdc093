"""What the control store keeps beside flags and writers, as values:

history, clients, events, counters, mismatches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

__all__ = ["SILENT_AFTER_S", "ClientRecord", "EventRecord", "FlagChange", "Heartbeat", "MinuteCount", "MismatchGroup"]

SILENT_AFTER_S = 5.0
"""A client that was not heard for this long counts as silent; it beats once a second."""


@dataclass(slots=True, frozen=True)
class FlagChange:
    """One change of a flag: what it was and became, who did it and why."""

    pattern: str
    version: int
    stage: str
    before: str
    share_percent: float
    users: tuple[str, ...]
    was_stage: str | None
    was_share_percent: float | None
    changed_by: str
    reason: str
    changed_at: datetime


@dataclass(slots=True, frozen=True)
class Heartbeat:
    """What a client says of itself each second. ``version``: the number of the last change that it acts upon."""

    id: UUID
    name: str
    host: str
    pid: int
    version: int
    spooled: int = 0
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class ClientRecord:
    """A client as last heard."""

    id: UUID
    name: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    silent_s: float
    version: int
    spooled: int
    state: Mapping[str, Any]

    @property
    def is_silent(self) -> bool:
        """Whether it was not heard for longer than a few heartbeats."""
        return self.silent_s > SILENT_AFTER_S


@dataclass(slots=True, frozen=True)
class EventRecord:
    """An event as kept. ``client``: who told it, None for operators."""

    id: int
    at: datetime
    name: str
    capability: str
    client: UUID | None
    detail: Mapping[str, Any]


@dataclass(slots=True, frozen=True)
class MinuteCount:
    """How often something happened to a capability in a minute."""

    capability: str
    minute: datetime
    name: str
    value: int


@dataclass(slots=True, frozen=True)
class MismatchGroup:
    """Differences of one cause. ``samples``: a few calls with both answers, without secrets.

    ``is_noise``: found by asking the same side twice. ``explained``: why it is no defect, in an operator's words.
    """

    id: int
    capability: str
    is_noise: bool
    fingerprint: str
    cause: Mapping[str, Any]
    occurrences: int
    samples: tuple[Mapping[str, Any], ...]
    first_at: datetime
    last_at: datetime
    explained: str | None = None
    explained_by: str | None = None
    explained_at: datetime | None = None
