"""Compares two answers to the same read: status, error code, count, rows in canonical order, values and their types.

Rows are compared as a bag, and in order only where the request orders: there the values of the ordering columns must
come in the same order, so that rows that are equal in them may stand either way. Rows that differ are paired by a key,
so that a difference is told as "column total differs" and not as a missing and an extra row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isobase_adapter.shadow.answers import Exact, ReadAnswer, parsed_json
from isobase_adapter.shadow.requests import Asked

__all__ = ["Difference", "compared"]

MAX_DIFFERENCES = 10
MAX_SHOWN_ROWS = 3
LIKELY_KEYS = ("id", "uuid", "key", "name")

Row = dict[str, Any]


@dataclass(slots=True, frozen=True)
class Difference:
    """One way in which two answers differ. ``cause`` groups: equal for all calls with the same defect."""

    cause: Mapping[str, Any]
    first: Any = None
    """What the first answer has: a few rows, a status ..."""
    second: Any = None

    @property
    def fingerprint(self) -> str:
        """The cause as a short text."""
        return ":".join(str(value) for value in self.cause.values())


@dataclass(slots=True)
class _Found:
    by_fingerprint: dict[str, Difference] = field(default_factory=dict)

    def add(self, cause: Mapping[str, Any], first: Any = None, second: Any = None) -> None:
        """Keep the first difference of each cause."""
        difference = Difference(cause, first, second)
        if len(self.by_fingerprint) < MAX_DIFFERENCES:
            self.by_fingerprint.setdefault(difference.fingerprint, difference)


def compared(
    first: ReadAnswer,
    second: ReadAnswer,
    asked: Asked = Asked(),  # noqa: B008 - immutable
    *,
    ignore: Collection[str] = (),
    key: Sequence[str] = (),
) -> tuple[Difference, ...]:
    """Give the ways in which two answers differ, none where they say the same.

    ignore: columns that are not compared (``created_at``; ``items.created_at`` of embedded rows). key: columns by which
    rows are paired; without it a likely key is found.
    """
    found = _Found()
    if first.status != second.status and not (_is_success(first) and _is_success(second)):
        found.add({"kind": "status", "first": first.status, "second": second.status}, _error(first), _error(second))
    elif first.is_error:
        if first.error_code != second.error_code:
            cause = {"kind": "error_code", "first": first.error_code, "second": second.error_code}
            found.add(cause, _error(first), _error(second))
    else:
        if first.status != second.status:
            found.add({"kind": "status", "first": first.status, "second": second.status})
        if asked.has_exact_count and first.count != second.count:
            found.add({"kind": "count"}, first.count, second.count)
        _compare_bodies(found, first, second, asked, frozenset(ignore), tuple(key))
    return tuple(found.by_fingerprint.values())


def _is_success(answer: ReadAnswer) -> bool:
    return 200 <= answer.status < 300


def _error(answer: ReadAnswer) -> Any:
    return {"status": answer.status, "code": answer.error_code}


def _compare_bodies(
    found: _Found, first: ReadAnswer, second: ReadAnswer, asked: Asked, ignore: frozenset[str], key: tuple[str, ...]
) -> None:
    if first.body == second.body:
        return
    if not (first.is_json and second.is_json):
        lines = [sorted(answer.body.splitlines()) for answer in (first, second)]
        is_text = all(answer.headers.get("content-type", "").startswith("text/") for answer in (first, second))
        if not (is_text and not asked.order and lines[0] == lines[1]):
            found.add({"kind": "body"}, {"bytes": len(first.body)}, {"bytes": len(second.body)})
        return
    try:
        values = parsed_json(first), parsed_json(second)
    except ValueError:
        found.add({"kind": "body"}, {"bytes": len(first.body)}, {"bytes": len(second.body)})
        return
    one, two = ([value] if isinstance(value, dict) else value for value in values)
    if _is_rows(one) and _is_rows(two):
        _compare_rows(found, [_canonical(r, asked, ignore) for r in one], [_canonical(r, asked, ignore) for r in two],
                      asked, key)  # fmt: skip
    elif _text(values[0]) != _text(values[1]):
        _compare_values(found, "", values[0], values[1])


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _canonical(row: Row, asked: Asked, ignore: frozenset[str], inside: str = "") -> Row:
    """Leave out what is ignored, and bring embedded rows that have no order of their own into one."""
    if not ignore and not asked.embeds:
        return row
    result: Row = {}
    for name, value in row.items():
        path = f"{inside}{name}"
        if path in ignore:
            continue
        if name in asked.embeds and isinstance(value, list) and _is_rows(value):
            rows = [_canonical(each, asked, ignore, f"{path}.") for each in value]
            result[name] = rows if name in asked.ordered_embeds else sorted(rows, key=_text)
        elif name in asked.embeds and isinstance(value, dict):
            result[name] = _canonical(value, asked, ignore, f"{path}.")
        else:
            result[name] = value
    return result


def _compare_rows(found: _Found, first: list[Row], second: list[Row], asked: Asked, key: tuple[str, ...]) -> None:
    left, right = _without_common(first, second)
    if not left and not right:
        _compare_order(found, first, second, asked)
        return
    missing, extra = [], []
    key = key or _likely_key(left, right)
    of_key = {_key(row, key): row for row in right} if key else {}
    for row in left:
        twin = of_key.pop(_key(row, key), None) if key else None
        if twin is None:
            missing.append(row)
        else:
            _compare_columns(found, row, twin, key)
    extra = list(of_key.values()) if key else right
    shape = {"is_limited_without_order": True} if asked.is_limited and not asked.order else {}
    if missing:
        found.add({"kind": "missing_row", **shape}, missing[:MAX_SHOWN_ROWS], None)
    if extra:
        found.add({"kind": "extra_row", **shape}, None, extra[:MAX_SHOWN_ROWS])


def _without_common(first: list[Row], second: list[Row]) -> tuple[list[Row], list[Row]]:
    texts = Counter(map(_text, second))
    left = []
    for row in first:
        text = _text(row)
        if texts[text]:
            texts[text] -= 1
        else:
            left.append(row)
    right = []
    for row in second:
        text = _text(row)
        if texts[text]:
            texts[text] -= 1
            right.append(row)
    return left, right


def _likely_key(left: list[Row], right: list[Row]) -> tuple[str, ...]:
    """Find a column that names the rows on both sides, and names some of them on both."""
    if not left or not right:
        return ()
    names = [name for name in left[0] if all(name in row for rows in (left, right) for row in rows)]
    best: tuple[str, ...] = ()
    most = 0
    for name in sorted(names, key=lambda name: (name not in LIKELY_KEYS, names.index(name))):
        values = [[_text(row[name]) for row in rows] for rows in (left, right)]
        if any(len(set(each)) < len(each) for each in values):
            continue
        shared = len(set(values[0]) & set(values[1]))
        if shared > most:
            best, most = (name,), shared
    return best


def _key(row: Row, key: tuple[str, ...]) -> str:
    return _text([row.get(name) for name in key])


def _compare_columns(found: _Found, first: Row, second: Row, key: tuple[str, ...]) -> None:
    named = {name: first.get(name) for name in key}
    for name in first.keys() | second.keys():
        if name not in second:
            found.add({"kind": "missing_column", "column": name}, {**named, name: first[name]}, None)
        elif name not in first:
            found.add({"kind": "extra_column", "column": name}, None, {**named, name: second[name]})
        elif _text(first[name]) != _text(second[name]):
            _compare_values(found, name, first[name], second[name], named)


def _compare_values(found: _Found, column: str, first: Any, second: Any, named: Row | None = None) -> None:
    types = _type(first), _type(second)
    cause: dict[str, Any] = (
        {"kind": "column", "column": column}
        if types[0] == types[1]
        else {"kind": "type", "column": column, "first": types[0], "second": types[1]}
    )
    found.add(cause, {**(named or {}), column: first}, {**(named or {}), column: second})


def _compare_order(found: _Found, first: list[Row], second: list[Row], asked: Asked) -> None:
    columns = [name for name in asked.order if all(name in row for row in first)]
    # A column that was not selected cannot be looked at, nor can those that decide after it.
    columns = columns[: next((n for n, name in enumerate(asked.order) if name not in columns), len(columns))]
    values = [[_text([row[name] for name in columns]) for row in rows] for rows in (first, second)]
    if columns and values[0] != values[1]:
        place = next(number for number, pair in enumerate(zip(*values, strict=True)) if pair[0] != pair[1])
        shown = [{name: rows[place][name] for name in columns} for rows in (first, second)]
        found.add({"kind": "order", "column": ",".join(columns)}, shown[0], shown[1])


def _type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case Exact() | int():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _text(value: Any) -> str:
    """Give one text for equal values: the order of an object's names says nothing."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
