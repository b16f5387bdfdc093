"""Parse: the query string of ``GET .../rows`` in the language of ``/rest/v1``, read strictly.

What ``/rest/v1`` forgives for compatibility (a limit that is no number, a name that no column has) is an error here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from isobase_platform.errors import BadRequest
from isobase_services.database.query.ast import Filter, LogicTree, OrderTerm, RelationItem, SelectItem
from isobase_services.database.query.errors import ParseError
from isobase_services.database.query.parse_filter import parse_filter, parse_key, parse_logic
from isobase_services.database.query.parse_select import parse_order, parse_select
from isobase_services.database.query.schema_cache import Relation

__all__ = ["RowsQuery", "check_columns", "parse_rows_query", "query_pairs", "unknown_column"]

MAX_QUERY_LENGTH_CHARS = 64 * 1024
_LOGIC_KEY = re.compile(r"(?:.+\.)?(?:not\.)?(?:and|or)")
_NUMBER = re.compile(r"[0-9]{1,18}")
_COUNT_HINT = "A column of that name is filtered by and=(count.eq.1)"

Path = tuple[str, ...]


@dataclass(slots=True, frozen=True)
class RowsQuery:
    """Which rows, which columns, in which order. Filters, orders and ranges by the path of embeds they are for."""

    select: tuple[SelectItem, ...]
    filters: Mapping[Path, Sequence[Filter | LogicTree]] = field(default_factory=dict)
    orders: Mapping[Path, tuple[OrderTerm, ...]] = field(default_factory=dict)
    ranges: Mapping[Path, tuple[int | None, int | None]] = field(default_factory=dict)
    counts: bool = False
    cursor: str | None = None
    """Where the page begins: ``next_cursor`` of another one, empty for the first; None where none was asked for."""


def parse_rows_query(raw: bytes) -> RowsQuery:
    """Read a query string. ``count=exact`` asks for the number of all rows that match, whatever the limit.

    Raises ``BadRequest`` for text that is no UTF-8 or holds NUL, for a name given twice where one counts, for numbers that
    are none; ``ParseError`` for what the language does not know.
    """
    select_text: str | None = None
    filters: dict[Path, list[Filter | LogicTree]] = {}
    orders: dict[Path, tuple[OrderTerm, ...]] = {}
    ranges: dict[Path, tuple[int | None, int | None]] = {}
    counts = False
    cursor: str | None = None
    for key, value in query_pairs(raw):
        *above, last = key.split(".")
        path = tuple(above)
        if key == "select":
            _once(select_text is None, key)
            select_text = value
        elif key == "apikey":
            continue  # the gateway's key may travel in the query string
        elif key == "count":
            if value != "exact":
                raise BadRequest("count is exact, or left away", code="invalid_query", hint=_COUNT_HINT)
            counts = True
        elif key == "cursor":
            _once(cursor is None, key)
            cursor = value
        elif last == "order":
            _once(path not in orders, key)
            orders[path] = parse_order(value)
        elif last in {"limit", "offset"}:
            limit, offset = ranges.get(path, (None, None))
            _once((limit if last == "limit" else offset) is None, key)
            number = _number(key, value)
            ranges[path] = (number, offset) if last == "limit" else (limit, number)
        elif _LOGIC_KEY.fullmatch(key):
            path, tree = parse_logic(key, value)
            filters.setdefault(path, []).append(tree)
        else:
            path, target = parse_key(key)
            try:
                filters.setdefault(path, []).append(parse_filter(target, value))
            except ParseError as error:
                error.hint = error.hint or f"A filter is an operator, a point and a value: {key}=eq.1"
                raise
    return RowsQuery(parse_select(select_text or "*", is_strict=True), filters, orders, ranges, counts, cursor)


def query_pairs(raw: bytes) -> list[tuple[str, str]]:
    """A query string as pairs of names and values. Raises ``BadRequest`` for what is too long, no UTF-8, or holds NUL."""
    if len(raw) > MAX_QUERY_LENGTH_CHARS:
        raise BadRequest(f"The query string is longer than {MAX_QUERY_LENGTH_CHARS} characters", code="invalid_query")
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise BadRequest("The query string is not valid UTF-8", code="invalid_query") from error
    if any("\x00" in text for pair in pairs for text in pair):
        raise BadRequest("The query string holds NUL", code="invalid_query")
    return pairs


def _once(is_first: bool, key: str) -> None:
    if not is_first:
        raise BadRequest(f"{key} is given twice", code="invalid_query")


def _number(key: str, value: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise BadRequest(f"{key} must be a whole number, 0 or more", code="invalid_query")
    return int(value)


def check_columns(query: RowsQuery, relation: Relation) -> None:
    """Raise 400 ``unknown_column`` for a name at the root that is neither a column nor, in a filter, an embed."""
    embeds = {item.alias or item.name for item in query.select if isinstance(item, RelationItem)}
    embeds |= {item.name for item in query.select if isinstance(item, RelationItem)}
    names = [item.field.name for item in query.select if not isinstance(item, RelationItem)]
    names += [term.field.name for term in query.orders.get((), ()) if term.relation is None]
    filtered = [name for one in query.filters.get((), ()) for name in _filter_names(one)]
    for name in [*names, *(name for name in filtered if name not in embeds)]:
        if name != "*" and name not in relation.columns:
            raise unknown_column(name, relation)


def _filter_names(one: Filter | LogicTree) -> list[str]:
    if isinstance(one, Filter):
        return [one.field.name]
    return [name for member in one.members for name in _filter_names(member)]


def unknown_column(name: str, relation: Relation) -> BadRequest:
    """400 with the nearest name as a hint."""
    near = difflib.get_close_matches(name, list(relation.columns), n=1, cutoff=0.5)
    return BadRequest(
        f"The table {relation.name} has no column {name[:63]}",
        code="unknown_column",
        hint=f"Perhaps you meant {near[0]}" if near else None,
    )
