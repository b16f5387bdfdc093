"""Filters with PostgreSQL's own meaning: in Python where that is certain, in SQL for everything else.

A predicate decides over the log's text of one column. Integers, booleans, uuids and the equality of text are compared here;
ordering of text (collations), patterns, numbers, times and all other types are asked of the server, once per distinct filter,
value and batch. Source: contracts/realtime.md 1.11; upstream ``realtime.check_equality_op``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import TypeAlias

from isobase_services.realtime.changes.request import Filter, Operator
from isobase_services.realtime.changes.tables import Column
from isobase_services.realtime.changes.values import (
    BOOL_OID,
    INT8_OID,
    INTEGER_OIDS,
    TEXT_OID,
    TEXT_OIDS,
    UUID_OID,
    array_items,
)

__all__ = [
    "IS_VALUES",
    "Predicate",
    "canonical_operand",
    "comparison_type",
    "local_predicate",
    "sql_condition",
]

Predicate: TypeAlias = Callable[[str | None], bool]

IS_VALUES = frozenset({"null", "true", "false", "unknown"})

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BOOLS = {"t": "t", "true": "t", "f": "f", "false": "f"}
_COMPARISONS: dict[Operator, Callable[[int, int], bool]] = {
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
}
_SQL_OPERATORS = {
    Operator.EQ: "=",
    Operator.NEQ: "<>",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LIKE: "~~",
    Operator.ILIKE: "~~*",
    Operator.MATCH: "~",
    Operator.IMATCH: "~*",
}


def local_predicate(item: Filter, column: Column) -> Predicate | None:
    """The filter as a function, or None where only the server can decide."""
    if item.operator is Operator.IS:
        return _is_predicate(item)
    if item.operator in _COMPARISONS:
        return _comparison(item) if column.type_oid in INTEGER_OIDS else None
    if item.operator not in (Operator.EQ, Operator.NEQ, Operator.IN, Operator.ISDISTINCT):
        return None
    if item.operator is Operator.IN:
        try:
            items = array_items(item.value)
        except ValueError:
            return None
        operands = [canonical_operand(part, column.type_oid) if isinstance(part, str) else None for part in items]
    else:
        operands = [canonical_operand(item.value, column.type_oid)]
    if any(operand is None for operand in operands):
        return None
    return _membership(item, frozenset(operand for operand in operands if operand is not None))


def comparison_type(type_oid: int) -> int:
    """The type that stands for all whose operands are read alike: text for varchar, bigint for smallint."""
    return TEXT_OID if type_oid in TEXT_OIDS else INT8_OID if type_oid in INTEGER_OIDS else type_oid


def canonical_operand(text: str, type_oid: int) -> str | None:
    """The operand as the log writes the same value of the type, or None where that takes the server."""
    if type_oid in TEXT_OIDS:
        # Equality is byte equality under the deterministic default collation that upstream compares with.
        return text
    if type_oid in INTEGER_OIDS and _INTEGER.fullmatch(text):
        return str(int(text))
    if type_oid == UUID_OID and _UUID.fullmatch(text):
        return text.lower()
    if type_oid == BOOL_OID:
        return _BOOLS.get(text.strip().lower())
    return None


def _membership(item: Filter, operands: frozenset[str]) -> Predicate:
    # = and IN hold for a member, <> and IS DISTINCT FROM for anything else; "not." turns each around. NULL is no answer
    # for the first three and a value like any other for the last.
    holds_for_member = (item.operator in (Operator.EQ, Operator.IN)) != item.is_negated
    for_null = item.operator is Operator.ISDISTINCT and not item.is_negated

    def decide(value: str | None) -> bool:
        return for_null if value is None else (value in operands) == holds_for_member

    return decide


def _comparison(item: Filter) -> Predicate | None:
    if not _INTEGER.fullmatch(item.value):
        return None
    compare, operand, expected = _COMPARISONS[item.operator], int(item.value), not item.is_negated

    def decide(value: str | None) -> bool:
        return value is not None and compare(int(value), operand) == expected

    return decide


def _is_predicate(item: Filter) -> Predicate | None:
    wanted = {"null": None, "unknown": None, "true": "t", "false": "f"}
    if item.value not in wanted:
        return None
    expected, is_positive = wanted[item.value], not item.is_negated

    def decide(value: str | None) -> bool:
        return (value == expected) == is_positive

    return decide


def sql_condition(item: Filter, column: Column, value_sql: str, operand_sql: str) -> str:
    """The filter as a condition of SQL over two text expressions; for operators that ``local_predicate`` may refuse."""
    value = f"{value_sql}::{column.type_sql}"
    if item.operator is Operator.ISDISTINCT:
        comparison = "is not distinct from" if item.is_negated else "is distinct from"
        return f"{value} {comparison} {operand_sql}::{column.type_sql}"
    if item.operator is Operator.IN:
        condition = f"{value} = any ({operand_sql}::{column.type_sql}[])"
    else:
        condition = f"{value} {_SQL_OPERATORS[item.operator]} {operand_sql}::{column.type_sql}"
    return f"not ({condition})" if item.is_negated else condition
