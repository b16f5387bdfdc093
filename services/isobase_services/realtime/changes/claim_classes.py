"""Callers sorted by the claims that a rule reads, so that those who cannot be told apart are judged once.

Two tabs of one user differ in their tokens' times and numbers; for ``owner = auth.uid()`` they are one. A plain registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from isobase_platform.caller import Caller
from isobase_services.realtime.changes.policies.claims import UNKNOWN, ClaimTerm, Value, claim_value
from isobase_services.realtime.changes.policies.rule import Rule

__all__ = ["ClaimClass", "ClaimClasses"]


class Member(Protocol):
    """Who is sorted."""

    @property
    def caller(self) -> Caller:
        """By whose claims."""
        ...


M = TypeVar("M", bound=Member)


@dataclass(slots=True, eq=False)
class ClaimClass(Generic[M]):
    """Members with the same values of the terms."""

    values: tuple[Value, ...]
    members: dict[M, None] = field(default_factory=dict)


class ClaimClasses(Generic[M]):
    """The members of one section by the values of ``terms``."""

    def __init__(self, terms: tuple[ClaimTerm, ...], members: Iterable[M]) -> None:
        self._terms = terms
        self._classes: dict[tuple[Value, ...], ClaimClass[M]] = {}
        self._by_place: list[dict[Value, dict[ClaimClass[M], None]]] = [{} for _ in terms]
        for member in members:
            self.add(member)

    def _values(self, member: M) -> tuple[Value, ...]:
        return tuple(claim_value(term, member.caller.claims) for term in self._terms)

    def add(self, member: M) -> None:
        """Sort a member in."""
        values = self._values(member)
        found = self._classes.get(values)
        if found is None:
            found = self._classes[values] = ClaimClass(values)
            for place, value in enumerate(values):
                self._by_place[place].setdefault(value, {})[found] = None
        found.members[member] = None

    def remove(self, member: M) -> None:
        """Undo ``add``."""
        values = self._values(member)
        found = self._classes.get(values)
        if found is None:
            return
        found.members.pop(member, None)
        if found.members:
            return
        del self._classes[values]
        for place, value in enumerate(values):
            same = self._by_place[place][value]
            del same[found]
            if not same:
                del self._by_place[place][value]

    def candidates(self, rule: Rule, row: Mapping[str, str | None]) -> Iterable[ClaimClass[M]]:
        """The classes that the row may concern: all, or by the rule's drivers those whose claim equals a column."""
        if rule.drivers is None:
            return self._classes.values()
        found: dict[ClaimClass[M], None] = {}
        for column, place in rule.drivers:
            if column not in row:
                return self._classes.values()
            value = row[column]
            if value is not None:
                found.update(self._by_place[place].get(value, {}))
                found.update(self._by_place[place].get(UNKNOWN, {}))
        return found
