"""``select=`` and ``order=``: lists of columns, embeds to any depth, and ways to sort.

Source: PostgREST docs, tables_views (Vertical Filtering, Ordering) and resource_embedding; v14 ``QueryParams.hs``.
"""

from __future__ import annotations

import re
from typing import cast, get_args

from isobase_services.database.query.ast import (
    Aggregate,
    ColumnItem,
    Field,
    JoinKind,
    OrderTerm,
    RelationItem,
    SelectItem,
)
from isobase_services.database.query.errors import ParseError
from isobase_services.database.query.scan import Scanner

__all__ = ["MAX_EMBEDS", "MAX_EMBED_DEPTH", "parse_order", "parse_select"]

MAX_EMBED_DEPTH = 32
"""Deeper selects are refused before they become SQL that no planner would take."""
MAX_EMBEDS = 200
"""Embeds in one select. PostgreSQL parses thousands of joins for seconds, and no statement_timeout interrupts that."""
MAX_EMBED_WORDS = 2
"""Words behind ``!``: a hint and a kind of join; of two of a kind the first counts, as upstream."""

_NAME = r'\s*(?:"(?:[^"\\]|\\.)*"|(?:[\w $]|-(?!>))+)'
_ALIAS_FOLLOWS = re.compile(rf"{_NAME}:(?!:)")
_ITEM_BEGINS = re.compile(rf'[\w $"-]|\*(?=[,)]|\Z)|\.\.\.{_NAME}(?:!{_NAME})*\(')
_EVERYTHING = re.compile(r"\*(?=[,)]|\Z)")
_CAST = re.compile(r"[\w $]+")


def parse_select(text: str, *, is_strict: bool = False) -> tuple[SelectItem, ...]:
    """The items of one ``select`` value; an empty text selects nothing but is allowed. Raises ``ParseError``.

    As upstream, a text that begins with what begins no item reads as empty, and what follows the last item nobody
    reads; ``is_strict`` refuses both.
    """
    scanner = Scanner(text, "select parameter")
    items = _items(scanner, depth=0)
    if is_strict and not scanner.at_end:
        raise scanner.error('expecting "," or end of input')
    if _embeds(items) > MAX_EMBEDS:
        raise ParseError(f"select embeds more than {MAX_EMBEDS} resources")
    return items


def _embeds(items: tuple[SelectItem, ...]) -> int:
    return sum(1 + _embeds(item.children) for item in items if isinstance(item, RelationItem))


def _items(scanner: Scanner, depth: int) -> tuple[SelectItem, ...]:
    if depth > MAX_EMBED_DEPTH:
        raise ParseError(f"select is nested deeper than {MAX_EMBED_DEPTH} levels")
    items: list[SelectItem] = []
    if not _ITEM_BEGINS.match(scanner.text, scanner.position):
        return ()
    while True:
        items.append(_item(scanner, depth))
        if not scanner.take_separator(","):
            if scanner.peek(" ") or scanner.peek("\t"):
                # As upstream, which has taken the space for one around a comma.
                raise scanner.error('expecting ","')
            return tuple(items)


def _item(scanner: Scanner, depth: int) -> SelectItem:
    if scanner.take("..."):
        return _relation(scanner, scanner.name(), None, depth, is_spread=True)
    if scanner.match(_EVERYTHING):
        return ColumnItem(Field("*"))
    alias: str | None = None
    if _ALIAS_FOLLOWS.match(scanner.text, scanner.position):
        alias = scanner.name()
        scanner.expect(":")
    if scanner.take("count()"):
        return _ended(scanner, ColumnItem(Field("*"), alias, None, "count", _cast(scanner)))
    field = scanner.field()
    # As upstream, count is no relation's name.
    if not field.steps and field.name != "count" and (scanner.peek("(") or scanner.peek("!")):
        return _relation(scanner, field.name, alias, depth, is_spread=False)
    cast_to = _cast(scanner)
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None
    if scanner.take("."):
        aggregate = _aggregate(scanner)
    # As upstream, a second cast without an aggregate is read and means nothing.
    aggregate_cast = _cast(scanner)
    return _ended(scanner, ColumnItem(field, alias, cast_to, aggregate, aggregate_cast if aggregate else None))


def _aggregate(scanner: Scanner) -> Aggregate:
    for name in get_args(Aggregate):
        if scanner.take(name):
            scanner.expect("()")
            return cast(Aggregate, name)
    raise scanner.error('expecting "sum", "avg", "count", "max" or "min"')


def _ended(scanner: Scanner, item: ColumnItem) -> ColumnItem:
    """The item, which must be followed by another one, a bracket or nothing."""
    if not (scanner.at_end or scanner.peek(",") or scanner.peek(")")):
        raise scanner.error('expecting ")", "," or end of input')
    return item


def _cast(scanner: Scanner) -> str | None:
    if not scanner.take("::"):
        return None
    name = (scanner.match(_CAST) or "").strip()
    if not name:
        raise scanner.error("expecting a type name")
    return name


def _relation(scanner: Scanner, name: str, alias: str | None, depth: int, *, is_spread: bool) -> RelationItem:
    hint: str | None = None
    join: JoinKind | None = None
    for _ in range(MAX_EMBED_WORDS):
        if scanner.take("!"):
            word = scanner.name()
            if word in {"inner", "left"}:
                join = join or JoinKind(word)
            else:
                hint = hint or word
    scanner.expect("(")
    children = _items(scanner, depth + 1)
    scanner.expect(")")
    return RelationItem(name, children, alias, hint, join, is_spread)


def parse_order(text: str) -> tuple[OrderTerm, ...]:
    """The terms of one ``order`` value. Raises ``ParseError``."""
    scanner = Scanner(text, "order")
    terms: list[OrderTerm] = []
    while True:
        terms.append(_order_term(scanner))
        if not scanner.take(","):
            break
    if not scanner.at_end:
        raise scanner.error('expecting "," or end of input')
    return tuple(terms)


def _order_term(scanner: Scanner) -> OrderTerm:
    field = scanner.field()
    relation: str | None = None
    if not field.steps and scanner.take("("):
        relation = field.name
        field = scanner.field()
        scanner.expect(")")
    direction = "asc" if scanner.take(".asc") else "desc" if scanner.take(".desc") else None
    nulls = "first" if scanner.take(".nullsfirst") else "last" if scanner.take(".nullslast") else None
    if nulls is not None and not scanner.at_end and not scanner.peek(","):
        raise scanner.error_at_char('expecting "," or end of input')
    if not scanner.at_end and not scanner.peek(","):
        raise scanner.error('expecting ",", ".asc", ".desc", ".nullsfirst", ".nullslast" or end of input')
    return OrderTerm(field, relation, direction, nulls)  # type: ignore[arg-type]
