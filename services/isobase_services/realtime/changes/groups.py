"""Who wants which changes: subscriptions sorted so that work is done once for all that share it.

Three levels: table pattern -> ``Section`` (role and request: one filter check and one rendering per row) -> ``Audience``
(caller's claims: one policy check per batch) -> subscribers with their ids. A plain registry: no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from isobase_platform.caller import Caller
from isobase_services.realtime.changes.request import ANY, ChangeRequest
from isobase_services.realtime.wire.frames import Frame
from isobase_services.realtime.wire.messages import Codec

__all__ = ["Audience", "Section", "Subscriber", "Subscriptions", "audience_key"]


class Subscriber(Protocol):
    """What delivery needs to know of a channel."""

    @property
    def codec(self) -> Codec:
        """How its socket writes."""
        ...

    @property
    def wire_topic(self) -> str:
        """Its topic as clients write it."""
        ...

    def put(self, frame: Frame) -> None:
        """Send a frame to its socket, without waiting."""
        ...


@dataclass(slots=True, eq=False)
class Audience:
    """The subscribers of one section that policies cannot tell apart. ``caller`` is one of theirs."""

    key: tuple[str, str]
    caller: Caller
    members: dict[Subscriber, list[int]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Section:
    """The audiences of one role and request. ``with_position``: they want to know where each change stands in the log."""

    role: str
    request: ChangeRequest
    with_position: bool
    audiences: dict[tuple[str, str], Audience] = field(default_factory=dict)


def audience_key(caller: Caller) -> tuple[str, str]:
    """Role and claims: every claim, as a policy may read any of them (``iat`` for a fresh sign-in, ``jti`` for one token)."""
    claims: Mapping[str, object] = caller.claims.raw
    return caller.role, json.dumps(claims, sort_keys=True, separators=(",", ":"))


class Subscriptions:
    """The registry of one process."""

    def __init__(self) -> None:
        self._by_pattern: dict[tuple[str, str], dict[tuple[str, ChangeRequest, bool], Section]] = {}

    def add(
        self,
        subscriber: Subscriber,
        request: ChangeRequest,
        caller: Caller,
        identifier: int,
        *,
        with_position: bool = False,
    ) -> None:
        """Let ``subscriber`` get what ``request`` describes, as ``caller`` may see it, under ``identifier``.

        ``with_position``: each change tells its position in the log.
        """
        sections = self._by_pattern.setdefault((request.schema, request.table), {})
        name = (caller.role, request, with_position)
        section = sections.get(name)
        if section is None:
            section = sections[name] = Section(*name)
        key = audience_key(caller)
        audience = section.audiences.get(key)
        if audience is None:
            audience = section.audiences[key] = Audience(key, caller)
        audience.members.setdefault(subscriber, []).append(identifier)

    def remove(
        self,
        subscriber: Subscriber,
        request: ChangeRequest,
        caller: Caller,
        identifier: int,
        *,
        with_position: bool = False,
    ) -> None:
        """Undo one ``add`` with the same arguments."""
        pattern = (request.schema, request.table)
        sections = self._by_pattern.get(pattern, {})
        name = (caller.role, request, with_position)
        section = sections.get(name)
        key = audience_key(caller)
        audience = section.audiences.get(key) if section is not None else None
        if section is None or audience is None or subscriber not in audience.members:
            return
        identifiers = audience.members[subscriber]
        if identifier in identifiers:
            identifiers.remove(identifier)
        if not identifiers:
            del audience.members[subscriber]
        if not audience.members:
            del section.audiences[key]
        if not section.audiences:
            del sections[name]
        if not sections:
            del self._by_pattern[pattern]

    def sections_for(self, schema: str, table: str) -> Iterator[Section]:
        """The sections whose pattern the table matches."""
        for pattern in ((schema, table), (schema, ANY), (ANY, table), (ANY, ANY)):
            sections = self._by_pattern.get(pattern)
            if sections:
                yield from sections.values()

    def wants(self, schema: str, table: str) -> bool:
        """True when anybody subscribed to the table."""
        return next(self.sections_for(schema, table), None) is not None

    def __bool__(self) -> bool:
        return bool(self._by_pattern)
