"""Who wants which changes: subscriptions sorted so that work is done once for all that share it.

Three levels: table pattern -> ``Section`` (role and request: one filter check and one rendering per row) -> ``Audience``
(caller's claims: one policy check per batch) -> subscribers with their ids. Sections with an equality filter are found by its
operand, audiences by the claims that policies read. A plain registry: no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from isobase_platform.caller import Caller
from isobase_services.realtime.changes.claim_classes import ClaimClasses
from isobase_services.realtime.changes.policies.claims import ClaimTerm
from isobase_services.realtime.changes.predicates import canonical_operand, comparison_type
from isobase_services.realtime.changes.request import ANY, ChangeRequest, Filter, Operator
from isobase_services.realtime.changes.tables import Table
from isobase_services.realtime.changes.values import BOOL_OID, INT8_OID, TEXT_OID, UUID_OID
from isobase_services.realtime.wire.frames import Frame, FrameRun
from isobase_services.realtime.wire.messages import Codec

__all__ = ["Audience", "Section", "Subscriber", "Subscriptions", "audience_key"]

MAX_SORTINGS = 32
"""Ways in which one section's audiences are kept sorted: one per set of claims that the policies of its tables read."""


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

    def put_run(self, run: FrameRun) -> None:
        """Send several frames, in one write where the socket takes it."""
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
    _sorted: dict[tuple[ClaimTerm, ...], ClaimClasses[Audience]] = field(default_factory=dict)

    def by_claims(self, terms: tuple[ClaimTerm, ...]) -> ClaimClasses[Audience]:
        """Its audiences sorted by these claims; kept up to date from then on."""
        found = self._sorted.get(terms)
        if found is None:
            if len(self._sorted) >= MAX_SORTINGS:
                self._sorted.clear()
            found = self._sorted[terms] = ClaimClasses(terms, self.audiences.values())
        return found

    def admit(self, key: tuple[str, str], caller: Caller) -> Audience:
        """The audience of a caller, made when it is the first."""
        audience = self.audiences.get(key)
        if audience is None:
            audience = self.audiences[key] = Audience(key, caller)
            for classes in self._sorted.values():
                classes.add(audience)
        return audience

    def dismiss(self, audience: Audience) -> None:
        """Forget an audience that has no members left."""
        del self.audiences[audience.key]
        for classes in self._sorted.values():
            classes.remove(audience)


def audience_key(caller: Caller) -> tuple[str, str]:
    """Role and claims: every claim, as a policy may read any of them (``iat`` for a fresh sign-in, ``jti`` for one token)."""
    claims: Mapping[str, object] = caller.claims.raw
    return caller.role, json.dumps(claims, sort_keys=True, separators=(",", ":"))


_SectionKey: TypeAlias = tuple[str, ChangeRequest, bool]
_Sections: TypeAlias = "dict[_SectionKey, Section]"

_INDEXED_TYPES = (TEXT_OID, INT8_OID, UUID_OID, BOOL_OID)


class _Pattern:
    """The sections of one table pattern. Those with an equality are also found by column, kind of type and operand.

    An operand that is no text of the type for certain stands under None: such sections are always looked at.
    """

    def __init__(self) -> None:
        self.all: _Sections = {}
        self._plain: _Sections = {}
        self._by_operand: dict[str, dict[int, dict[str | None, _Sections]]] = {}
        self._by_column: dict[str, _Sections] = {}

    def add(self, key: _SectionKey, section: Section) -> None:
        self.all[key] = section
        item = _equality(section.request)
        if item is None:
            self._plain[key] = section
            return
        self._by_column.setdefault(item.column, {})[key] = section
        by_type = self._by_operand.setdefault(item.column, {oid: {} for oid in _INDEXED_TYPES})
        for oid, by_operand in by_type.items():
            by_operand.setdefault(canonical_operand(item.value, oid), {})[key] = section

    def remove(self, key: _SectionKey) -> None:
        section = self.all.pop(key)
        item = _equality(section.request)
        if item is None:
            del self._plain[key]
            return
        del self._by_column[item.column][key]
        for oid, by_operand in self._by_operand[item.column].items():
            operand = canonical_operand(item.value, oid)
            del by_operand[operand][key]
            if not by_operand[operand]:
                del by_operand[operand]
        if not self._by_column[item.column]:
            del self._by_column[item.column]
            del self._by_operand[item.column]

    def candidates(self, table: Table, values: Mapping[str, str | None]) -> Iterator[Section]:
        """The sections whose filters the row may pass; ``values`` are what filters look at."""
        yield from self._plain.values()
        for name, sections in self._by_column.items():
            column = table.columns.get(name)
            value = values.get(name)
            if column is None or value is None:
                continue  # nothing equals NULL, or what the log does not hold
            by_operand = self._by_operand[name].get(comparison_type(column.type_oid))
            if by_operand is None:
                yield from sections.values()
                continue
            yield from by_operand.get(value, {}).values()
            yield from by_operand.get(None, {}).values()


def _equality(request: ChangeRequest) -> Filter | None:
    return next((item for item in request.filters if item.operator is Operator.EQ and not item.is_negated), None)


class Subscriptions:
    """The registry of one process."""

    def __init__(self) -> None:
        self._by_pattern: dict[tuple[str, str], _Pattern] = {}
        self._holders = 0
        self._postponed: list[Callable[[], None]] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """While a batch is judged and sent: what is asked of ``between_batches`` waits for the end of the block."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                postponed, self._postponed = self._postponed, []
                for action in postponed:
                    action()

    def between_batches(self, action: Callable[[], None]) -> None:
        """Call ``action`` now, or when the batch that is being delivered is done.

        For who takes a subscriber from one audience to another: a change on its way must find it in one of them.
        """
        if self._holders:
            self._postponed.append(action)
        else:
            action()

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
        pattern = self._by_pattern.setdefault((request.schema, request.table), _Pattern())
        name = (caller.role, request, with_position)
        section = pattern.all.get(name)
        if section is None:
            section = Section(*name)
            pattern.add(name, section)
        section.admit(audience_key(caller), caller).members.setdefault(subscriber, []).append(identifier)

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
        pattern = self._by_pattern.get((request.schema, request.table))
        name = (caller.role, request, with_position)
        section = pattern.all.get(name) if pattern is not None else None
        audience = section.audiences.get(audience_key(caller)) if section is not None else None
        if pattern is None or section is None or audience is None or subscriber not in audience.members:
            return
        identifiers = audience.members[subscriber]
        if identifier in identifiers:
            identifiers.remove(identifier)
        if not identifiers:
            del audience.members[subscriber]
        if not audience.members:
            section.dismiss(audience)
        if not section.audiences:
            pattern.remove(name)
        if not pattern.all:
            del self._by_pattern[request.schema, request.table]

    def _patterns(self, schema: str, table: str) -> Iterator[_Pattern]:
        for name in ((schema, table), (schema, ANY), (ANY, table), (ANY, ANY)):
            pattern = self._by_pattern.get(name)
            if pattern is not None:
                yield pattern

    def sections_for(self, table: Table, event: str, values: Mapping[str, str | None]) -> list[Section]:
        """The sections that a change may concern: its table, its event, and equalities on ``values`` fit."""
        return [
            section
            for pattern in self._patterns(table.schema, table.name)
            for section in pattern.candidates(table, values)
            if section.request.event in (ANY, event)
        ]

    def wants(self, schema: str, table: str) -> bool:
        """True when anybody subscribed to the table."""
        return next(self._patterns(schema, table), None) is not None

    def __bool__(self) -> bool:
        return bool(self._by_pattern)
