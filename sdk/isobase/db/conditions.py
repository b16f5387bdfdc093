"""Filters of rows: ``where={"quantity": gte(2), "title": "Lamp"}``. Source: docs/databases.md "Rows"; PostgREST's
operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TypeAlias

from isobase._quoting import quoted

__all__ = [
    "Condition",
    "Where",
    "condition",
    "contains",
    "eq",
    "gt",
    "gte",
    "ilike",
    "in_",
    "is_null",
    "like",
    "lt",
    "lte",
    "neq",
    "not_",
    "parameters",
]

# Columns of these names cannot be filtered by a parameter of their own.
_RESERVED = frozenset({"select", "order", "limit", "offset", "count", "cursor", "and", "or", "apikey", "not"})


@dataclass(slots=True, frozen=True)
class Condition:
    """What a column has to fulfil, as the query string has it (``gte.2``)."""

    text: str


Where: TypeAlias = Mapping[str, object]
"""By a column's name: a value that it equals (None: is null), a ``Condition``, or a list of conditions that all
hold."""


def condition(operator: str, value: object) -> Condition:
    """Any operator of the data API, as ``condition("fts", "lamp")``."""
    return Condition(f"{operator}.{_text(value)}")


def eq(value: object) -> Condition:
    """Equal; None: is null."""
    return is_null() if value is None else condition("eq", value)


def neq(value: object) -> Condition:
    """Not equal; None: is not null."""
    return not_(is_null()) if value is None else condition("neq", value)


def gt(value: object) -> Condition:
    """Greater."""
    return condition("gt", value)


def gte(value: object) -> Condition:
    """Greater or equal."""
    return condition("gte", value)


def lt(value: object) -> Condition:
    """Less."""
    return condition("lt", value)


def lte(value: object) -> Condition:
    """Less or equal."""
    return condition("lte", value)


def like(pattern: str) -> Condition:
    """Fits a pattern with ``%`` (or ``*``) and ``_``."""
    return condition("like", pattern)


def ilike(pattern: str) -> Condition:
    """As ``like``, whatever the case."""
    return condition("ilike", pattern)


def is_null() -> Condition:
    """Has no value."""
    return Condition("is.null")


def in_(values: Iterable[object]) -> Condition:
    """Is one of some values."""
    return Condition(f"in.({','.join(quoted(_text(value)) for value in values)})")


def contains(values: Iterable[object]) -> Condition:
    """A list column holds all of these values."""
    return Condition(f"cs.{{{','.join(quoted(_text(value)) for value in values)}}}")


def not_(wanted: Condition) -> Condition:
    """Does not fulfil ``wanted``."""
    return Condition(f"not.{wanted.text}")


def parameters(where: Where | None) -> list[tuple[str, str]]:
    """Give the query's parameters for ``where``."""
    found: list[tuple[str, str]] = []
    for column, wanted in (where or {}).items():
        several = wanted if isinstance(wanted, list) and wanted and isinstance(wanted[0], Condition) else [wanted]
        for one in several:
            text = (one if isinstance(one, Condition) else eq(one)).text
            if column in _RESERVED:
                found.append(("and", f"({column}.{_within_logic(text)})"))
            else:
                found.append((column, text))
    return found


def _within_logic(text: str) -> str:
    """Quote the value of a condition, which there may not hold a comma or bracket as it is."""
    negation, rest = ("not.", text[4:]) if text.startswith("not.") else ("", text)
    operator, _, value = rest.partition(".")
    if operator in {"in", "is", "cs"}:
        return text
    return f"{negation}{operator}.{quoted(value)}"


def _text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value)
