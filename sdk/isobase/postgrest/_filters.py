"""The filters of the data API: each writes one condition into the request. Source: PostgREST "Horizontal filtering",
postgrest-py 2.34.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, Generic, Self

from isobase.postgrest._request import C, RequestConfig
from isobase.postgrest.types import JSON, Filters, FilterValue
from isobase.postgrest.utils import filter_key, filter_value, list_element, sanitize_array_param, sanitize_param

Range = tuple[FilterValue, FilterValue] | str
Contained = Iterable[FilterValue] | str | dict[str, JSON]
Patterns = str | Iterable[str]


class CopyableBuilder(Generic[C]):
    """What every builder has: its request, headers of the request alone, and ``copy()``.

    A method changes the builder that it is called on and gives it back, so that a chain and single statements
    (``query.eq("id", 1)`` on a line of its own) do the same; ``copy()`` makes a builder of its own for a second query.
    """

    request: RequestConfig[C]

    def copy(self) -> Self:
        """Give a builder of its own with what was built so far: what is added to one does not change the other."""
        twin = copy(self)
        twin.request = self.request.copy()
        return twin

    def set_header(self, name: str, value: str) -> Self:
        """Send one header with this request alone. Source: postgrest-js ``setHeader``."""
        self.request.set_header(name, value)
        return self


class BaseFilterRequestBuilder(CopyableBuilder[C]):
    """The filters. Values are written as PostgreSQL reads them: None is null, True is true, dicts and lists are JSON."""

    def __init__(self, request: RequestConfig[C]) -> None:
        self.request: RequestConfig[C] = request
        self.negate_next: bool = False

    @property
    def not_(self: Self) -> Self:
        """Negate the filter that comes next: ``.not_.eq("status", "done")``."""
        self.negate_next = True
        return self

    def filter(self: Self, column: str, operator: str, criteria: str) -> Self:
        """Add a condition as it stands.

        ``column``: a column, also one inside JSON (``meta->>kind``) or of an embedded table (``teams.name``);
        ``operator``: one of PostgREST's (``Filters``), ``not.`` before it negates; ``criteria``: what stands behind
        the operator.
        """
        if self.negate_next:
            self.negate_next = False
            operator = f"not.{operator}"
        self.request.add(filter_key(column), f"{operator}.{criteria}")
        return self

    def eq(self: Self, column: str, value: Any) -> Self:
        """Keep rows whose column equals the value. (For null use ``is_``: nothing equals null.)"""
        return self.filter(column, "eq", filter_value(value))

    def neq(self: Self, column: str, value: Any) -> Self:
        """Keep rows whose column differs from the value; a null column is not kept (``is_distinct`` keeps it)."""
        return self.filter(column, "neq", filter_value(value))

    def gt(self: Self, column: str, value: Any) -> Self:
        """Keep rows whose column is greater than the value."""
        return self.filter(column, "gt", filter_value(value))

    def gte(self: Self, column: str, value: Any) -> Self:
        """Keep rows whose column is greater than the value or equals it."""
        return self.filter(column, "gte", filter_value(value))

    def lt(self: Self, column: str, value: Any) -> Self:
        """Keep rows whose column is less than the value."""
        return self.filter(column, "lt", filter_value(value))

    def lte(self: Self, column: str, value: Any) -> Self:
        """Keep rows whose column is less than the value or equals it."""
        return self.filter(column, "lte", filter_value(value))

    def is_(self: Self, column: str, value: Any) -> Self:
        """Keep rows whose column is null (None), true, false, or a word such as ``"unknown"`` or ``"not_null"``."""
        return self.filter(column, "is", filter_value(value))

    def is_distinct(self: Self, column: str, value: Any) -> Self:
        """Keep rows whose column differs from the value, null counting as a value. Source: postgrest-js
        ``isDistinct``.
        """
        return self.filter(column, Filters.IS_DISTINCT, filter_value(value))

    def like(self: Self, column: str, pattern: str) -> Self:
        """Keep rows whose column matches the pattern: ``%`` (or ``*``) any text, ``_`` one character."""
        return self.filter(column, "like", pattern)

    def like_all_of(self: Self, column: str, pattern: Patterns) -> Self:
        """Keep rows whose column matches every pattern; ``pattern``: a list of them, or one text with commas between."""
        return self.filter(column, Filters.LIKE_ALL, _patterns(pattern))

    def like_any_of(self: Self, column: str, pattern: Patterns) -> Self:
        """Keep rows whose column matches any pattern; ``pattern``: a list of them, or one text with commas between."""
        return self.filter(column, Filters.LIKE_ANY, _patterns(pattern))

    def ilike_all_of(self: Self, column: str, pattern: Patterns) -> Self:
        """Do as ``like_all_of``, upper and lower case alike."""
        return self.filter(column, Filters.ILIKE_ALL, _patterns(pattern))

    def ilike_any_of(self: Self, column: str, pattern: Patterns) -> Self:
        """Do as ``like_any_of``, upper and lower case alike."""
        return self.filter(column, Filters.ILIKE_ANY, _patterns(pattern))

    def ilike(self: Self, column: str, pattern: str) -> Self:
        """Do as ``like``, upper and lower case alike."""
        return self.filter(column, "ilike", pattern)

    def regex_match(self: Self, column: str, pattern: str) -> Self:
        """Keep rows whose column matches a POSIX regular expression (SQL ``~``). Source: postgrest-js ``regexMatch``."""
        return self.filter(column, Filters.MATCH, pattern)

    def regex_imatch(self: Self, column: str, pattern: str) -> Self:
        """Do as ``regex_match``, upper and lower case alike (SQL ``~*``). Source: postgrest-js ``regexIMatch``."""
        return self.filter(column, Filters.IMATCH, pattern)

    def or_(self: Self, filters: str, reference_table: str | None = None) -> Self:
        """Keep rows that meet at least one condition.

        ``filters``: conditions in PostgREST's language, ``"done.is.true,due.lt.2026-01-01"``; values with reserved
        characters have to be quoted by the caller. ``reference_table``: an embedded table whose rows are meant.
        """
        key = "or"
        if self.negate_next:
            self.negate_next = False
            key = "not.or"
        if reference_table:
            key = f"{sanitize_param(reference_table)}.{key}"
        self.request.add(key, f"({filters})")
        return self

    def fts(self: Self, column: str, query: Any) -> Self:
        """Keep rows that match a full-text query in ``to_tsquery``'s language."""
        return self.filter(column, "fts", query)

    def plfts(self: Self, column: str, query: Any) -> Self:
        """Keep rows that hold all words of a plain text."""
        return self.filter(column, "plfts", query)

    def phfts(self: Self, column: str, query: Any) -> Self:
        """Keep rows that hold the words as a phrase."""
        return self.filter(column, "phfts", query)

    def wfts(self: Self, column: str, query: Any) -> Self:
        """Keep rows that match a query as web searches have it: quotes, ``or``, ``-``."""
        return self.filter(column, "wfts", query)

    def in_(self: Self, column: str, values: Iterable[FilterValue]) -> Self:
        """Keep rows whose column is one of the values."""
        return self.filter(column, "in", _listed(values))

    def not_in(self: Self, column: str, values: Iterable[FilterValue]) -> Self:
        """Keep rows whose column is none of the values. Source: postgrest-js ``notIn``."""
        self.negate_next = not self.negate_next
        return self.filter(column, "in", _listed(values))

    def cs(self: Self, column: str, values: Iterable[FilterValue]) -> Self:
        """Keep rows whose array column contains all values."""
        return self.filter(column, "cs", sanitize_array_param(values))

    def cd(self: Self, column: str, values: Iterable[FilterValue]) -> Self:
        """Keep rows whose array column holds none but the values."""
        return self.filter(column, "cd", sanitize_array_param(values))

    def contains(self: Self, column: str, value: Contained) -> Self:
        """Keep rows whose column contains the value: a list for arrays, a dict for jsonb, a text as PostgreSQL writes
        it for ranges.
        """
        return self.filter(column, "cs", _contained(value))

    def contained_by(self: Self, column: str, value: Contained) -> Self:
        """Keep rows whose column is contained in the value; written as for ``contains``."""
        return self.filter(column, "cd", _contained(value))

    def ov(self: Self, column: str, value: Contained) -> Self:
        """Keep rows whose array or range has something in common with the value; written as for ``contains``."""
        return self.filter(column, "ov", _contained(value))

    def sl(self: Self, column: str, range: Range) -> Self:
        """Keep rows whose range lies strictly left of the given one."""
        return self.filter(column, "sl", _range(range))

    def sr(self: Self, column: str, range: Range) -> Self:
        """Keep rows whose range lies strictly right of the given one."""
        return self.filter(column, "sr", _range(range))

    def nxl(self: Self, column: str, range: Range) -> Self:
        """Keep rows whose range does not extend to the left of the given one."""
        return self.filter(column, "nxl", _range(range))

    def nxr(self: Self, column: str, range: Range) -> Self:
        """Keep rows whose range does not extend to the right of the given one."""
        return self.filter(column, "nxr", _range(range))

    def adj(self: Self, column: str, range: Range) -> Self:
        """Keep rows whose range touches the given one without a gap and without a common point."""
        return self.filter(column, "adj", _range(range))

    def range_gt(self: Self, column: str, range: Range) -> Self:
        """Do as ``sr``. ``range``: its two ends, taken as ``(start,end)``, or a text such as ``"[1,5)"``."""
        return self.sr(column, range)

    def range_gte(self: Self, column: str, range: Range) -> Self:
        """Do as ``nxl``."""
        return self.nxl(column, range)

    def range_lt(self: Self, column: str, range: Range) -> Self:
        """Do as ``sl``."""
        return self.sl(column, range)

    def range_lte(self: Self, column: str, range: Range) -> Self:
        """Do as ``nxr``."""
        return self.nxr(column, range)

    def range_adjacent(self: Self, column: str, range: Range) -> Self:
        """Do as ``adj``."""
        return self.adj(column, range)

    def overlaps(self: Self, column: str, values: Iterable[FilterValue]) -> Self:
        """Do as ``ov``."""
        return self.ov(column, values)

    def match(self: Self, query: dict[str, Any]) -> Self:
        """Keep rows whose columns equal the values of the dict.

        Raises ValueError for an empty dict, which would keep every row.
        """
        if not query:
            raise ValueError("query dictionary should contain at least one key-value pair")
        for column, value in query.items():
            self.eq(column, value)
        return self

    def max_affected(self: Self, value: int) -> Self:
        """Let the server refuse (APIError PGRST124) a write that would touch more than ``value`` rows; nothing is
        written then.

        For update, delete and functions; needs PostgREST 13 or Isobase.
        """
        request = self.request
        held = [part.strip() for part in (request.header("Prefer") or "").split(",")]
        kept: list[str] = []
        for part in held:
            if part.startswith("handling="):
                part = "handling=strict"
            if part and part not in kept and not part.startswith("max-affected="):
                kept.append(part)
        if "handling=strict" not in kept:
            kept.append("handling=strict")
        request.set_header("Prefer", ",".join([*kept, f"max-affected={value}"]))
        return self

    def rollback(self: Self) -> Self:
        """Let the server do everything and keep nothing: the answer tells what would have happened.

        The server has to allow it (PostgREST's and Isobase's ``tx-end = commit-allow-override``); else it is carried
        out. Source: postgrest-js ``rollback``, PostgREST "Transaction end preference".
        """
        self.request.prefer("tx=rollback")
        return self


def _patterns(pattern: Patterns) -> str:
    return f"{{{pattern}}}" if isinstance(pattern, str) else sanitize_array_param(pattern)


def _listed(values: Iterable[FilterValue]) -> str:
    written = [list_element(value) for value in values]
    # PostgREST takes a list of one empty text for an empty list.
    return "(" + ",".join(written * 2 if written == ['""'] else written) + ")"


def _range(bounds: Range) -> str:
    return bounds if isinstance(bounds, str) else f"({bounds[0]},{bounds[1]})"


def _contained(value: Contained) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        return json.dumps(value)
    return sanitize_array_param(value)
