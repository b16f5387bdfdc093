"""Filters of row changes, built by methods instead of by text. No I/O.

``PostgresChangesFilter().gt("amount", 100).in_("status", ["open", "pending"])`` is
``amount=gt.100,status=in.(open,pending)``.

Source: realtime-js ``RealtimePostgresFilterBuilder.ts`` for the operators and for which values are quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from isobase._quoting import quoted

__all__ = ["PostgresChangesFilter", "filter_text", "postgres_changes_filter"]

FilterOperator: TypeAlias = Literal[
    "eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct"
]
FilterValue: TypeAlias = str | int | float | bool | None
_RESERVED = re.compile(r'[,()"\\]')


def _scalar(value: object) -> str:
    text = (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value)
    )
    if _RESERVED.search(text) or text != text.strip():
        return quoted(text)
    return text


class PostgresChangesFilter:
    """A filter of row changes; every method adds a condition, and all must hold.

    Give it as ``filter=`` to ``on_postgres_changes``, alone or in a list.
    """

    def __init__(self) -> None:
        self._conditions: list[str] = []

    def _add(
        self, column: str, operator: FilterOperator, value: object, *, negated: bool = False
    ) -> PostgresChangesFilter:
        if operator == "in":
            values = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
            if not values:
                raise ValueError("a filter with `in` needs at least one value")
            text = f"({','.join(dict.fromkeys(_scalar(each) for each in values))})"
        else:
            text = _scalar(value)
        self._conditions.append(f"{column}={'not.' if negated else ''}{operator}.{text}")
        return self

    def eq(self, column: str, value: FilterValue) -> PostgresChangesFilter:
        """Only rows whose ``column`` equals ``value``."""
        return self._add(column, "eq", value)

    def neq(self, column: str, value: FilterValue) -> PostgresChangesFilter:
        """Only rows whose ``column`` is another than ``value`` (and not null)."""
        return self._add(column, "neq", value)

    def gt(self, column: str, value: FilterValue) -> PostgresChangesFilter:
        """Only rows whose ``column`` is greater."""
        return self._add(column, "gt", value)

    def gte(self, column: str, value: FilterValue) -> PostgresChangesFilter:
        """Only rows whose ``column`` is greater or equal."""
        return self._add(column, "gte", value)

    def lt(self, column: str, value: FilterValue) -> PostgresChangesFilter:
        """Only rows whose ``column`` is less."""
        return self._add(column, "lt", value)

    def lte(self, column: str, value: FilterValue) -> PostgresChangesFilter:
        """Only rows whose ``column`` is less or equal."""
        return self._add(column, "lte", value)

    def in_(self, column: str, values: Iterable[FilterValue]) -> PostgresChangesFilter:
        """Only rows whose ``column`` is one of ``values``, at most 100. Raises ``ValueError`` for none."""
        return self._add(column, "in", values)

    def like(self, column: str, pattern: str) -> PostgresChangesFilter:
        """Only rows whose ``column`` is like ``pattern``."""
        return self._add(column, "like", pattern)

    def ilike(self, column: str, pattern: str) -> PostgresChangesFilter:
        """Only rows whose ``column`` is like ``pattern``, upper and lower case alike."""
        return self._add(column, "ilike", pattern)

    def match(self, column: str, pattern: str) -> PostgresChangesFilter:
        """Only rows whose ``column`` matches the POSIX regular expression."""
        return self._add(column, "match", pattern)

    def imatch(self, column: str, pattern: str) -> PostgresChangesFilter:
        """Only rows whose ``column`` matches the POSIX regular expression, upper and lower case alike."""
        return self._add(column, "imatch", pattern)

    def is_(
        self, column: str, value: bool | Literal["null", "true", "false", "unknown"] | None
    ) -> PostgresChangesFilter:
        """Only rows whose ``column`` is null, true, false or unknown."""
        return self._add(column, "is", value)

    def is_distinct(self, column: str, value: FilterValue) -> PostgresChangesFilter:
        """Only rows whose ``column`` is distinct from ``value``; null counts as a value."""
        return self._add(column, "isdistinct", value)

    def not_(
        self, column: str, operator: FilterOperator, value: FilterValue | Iterable[FilterValue]
    ) -> PostgresChangesFilter:
        """Only rows for which the condition does not hold."""
        return self._add(column, operator, value, negated=True)

    def build(self) -> str:
        """Give the filter as the server takes it."""
        return ",".join(self._conditions)

    def __str__(self) -> str:
        return self.build()


def postgres_changes_filter() -> PostgresChangesFilter:
    """Begin a filter; the name of realtime-js."""
    return PostgresChangesFilter()


def filter_text(given: str | PostgresChangesFilter | Sequence[str | PostgresChangesFilter] | None) -> str | None:
    """Give what ``filter=`` was given as the server takes it: several are joined, so that all must hold."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, PostgresChangesFilter):
        return given.build()
    return ",".join(str(each) for each in given)
