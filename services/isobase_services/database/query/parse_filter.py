"""Filters: ``column=not.op(any).value`` and ``and=(...)`` / ``or=(...)`` trees.

Source: PostgREST docs, tables_views (Horizontal Filtering, Logical Operators); v14 ``QueryParams.hs``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

from isobase_services.database.query.ast import Field, Filter, LogicTree
from isobase_services.database.query.errors import ParseError
from isobase_services.database.query.parameters import Operand
from isobase_services.database.query.scan import Scanner

__all__ = ["OPERATORS", "QUANTIFIABLE", "parse_argument_or_filter", "parse_filter", "parse_key", "parse_logic"]

QUANTIFIABLE = frozenset({"eq", "gte", "gt", "lte", "lt", "like", "ilike", "match", "imatch"})
SIMPLE = frozenset({"neq", "cs", "cd", "ov", "sl", "sr", "nxr", "nxl", "adj", "isdistinct"})
TEXT_SEARCH = frozenset({"fts", "plfts", "phfts", "wfts"})
OPERATORS = QUANTIFIABLE | SIMPLE | TEXT_SEARCH | {"in", "is"}
IS_VALUES = ("null", "not_null", "true", "false", "unknown")
"""What ``is`` takes, in any case; as upstream, outside of trees what follows the word nobody reads."""
MAX_LOGIC_DEPTH = 64
"""Deeper and/or trees are refused."""

_OPERATOR = re.compile(r"(not\.)?([a-z]+)(?:\(([^)]*)\))?\.")
_LIST_TEXT = re.compile(r"[^,)]*")
_QUOTED_ELEMENT = re.compile(r'"(?:[^"\\]|\\.)*"(?=[,)]|\Z)', re.DOTALL)
_BRACES = re.compile(r"\{[^{}]*\}")


def parse_key(key: str) -> tuple[tuple[str, ...], Field]:
    """A parameter's name such as ``embed.nested.column->>x``: the path of embeds and the field.

    As upstream, what follows the field nobody reads.
    """
    scanner = Scanner(key, "tree path")
    path: list[str] = []
    while True:
        field = scanner.field()
        if field.steps or not scanner.take("."):
            return tuple(path), field
        path.append(field.name)


def parse_filter(field: Field, text: str, slot: int | None = None) -> Filter:
    """The value of a filter parameter, whose operand stands at ``slot`` of its request. Raises ``ParseError``."""
    found = _filter(field, Scanner(text, "filter"), in_tree=False)
    if slot is None:
        return found
    # What stands behind the operator, as a whole; the elements of a list are then ``values`` as well.
    operand = found.value if found.operator != "in" else text[text.index("(") :]
    return replace(found, value=Operand.at(slot, operand))


def _filter(field: Field, scanner: Scanner, *, in_tree: bool) -> Filter:
    start = scanner.position
    head = _OPERATOR.match(scanner.text, scanner.position)
    if head is None:
        raise scanner.error('expecting "not" or operator (eq, gt, ...)')
    is_negated, operator, modifier = head.group(1) is not None, head.group(2), head.group(3)
    if operator not in OPERATORS:
        scanner.position = head.start(2)
        raise scanner.error("expecting operator (eq, gt, ...)")
    scanner.position = head.end()
    quantifier: Literal["any", "all"] | None = None
    language: str | None = None
    if modifier is not None:
        if operator in TEXT_SEARCH:
            language = modifier
        elif operator in QUANTIFIABLE and modifier in ("any", "all"):
            quantifier = "any" if modifier == "any" else "all"
        else:
            scanner.position = start
            raise scanner.error("expecting operator (eq, gt, ...)")
    if operator == "in":
        return Filter(field, operator, "", is_negated, values=_in_list(scanner))
    if quantifier is not None:
        text = _tree_value(scanner) if in_tree else _rest(scanner)
        return Filter(field, operator, text, is_negated, quantifier)
    value = _tree_value(scanner) if in_tree else _rest(scanner)
    if operator == "is":
        said = value.lower()
        value = next((word for word in IS_VALUES if said == word or (not in_tree and said.startswith(word))), "")
        if not value:
            raise scanner.error("expecting null, not_null, true, false or unknown")
    return Filter(field, operator, value, is_negated, language=language)


def _rest(scanner: Scanner) -> str:
    value = scanner.text[scanner.position :]
    scanner.position = len(scanner.text)
    return value


def _in_list(scanner: Scanner) -> tuple[str, ...]:
    """``(a,"b c",d)``; spaces outside the brackets do not count, and what follows it nobody reads."""
    scanner.skip_spaces()
    scanner.expect("(")
    scanner.skip_spaces()
    values: list[str] = []
    while True:
        values.append(_list_element(scanner))
        if not scanner.take(","):
            break
    scanner.expect(")")
    scanner.skip_spaces()
    return () if values == [""] else tuple(values)


def _list_element(scanner: Scanner) -> str:
    """A quoted text that fills the element, else everything up to a comma or bracket, quotes among it."""
    start = scanner.position
    if _QUOTED_ELEMENT.match(scanner.text, start):
        return scanner.quoted() or ""
    return scanner.match(_LIST_TEXT) or ""


def _tree_value(scanner: Scanner) -> str:
    """A value inside a tree: quoted, an array in braces, or everything up to a comma or bracket."""
    if _QUOTED_ELEMENT.match(scanner.text, scanner.position):
        return scanner.quoted() or ""
    return scanner.match(_BRACES) or scanner.match(_LIST_TEXT) or ""


def _names(key: str) -> list[str]:
    """Names with dots between them; as upstream, what follows the last one nobody reads."""
    scanner = Scanner(key, "logic path")
    names = [scanner.name()]
    while scanner.take("."):
        names.append(scanner.name())
    return names


def parse_logic(key: str, text: str) -> tuple[tuple[str, ...], LogicTree]:
    """``and``, ``or``, ``not.and``, ``embed.or`` and their value: the path of embeds and the tree. Raises ``ParseError``."""
    parts = _names(key)
    operator = parts.pop()
    if operator not in {"and", "or"}:
        raise ParseError(f'"failed to parse logic path ({key})" (line 1, column {len(operator) + 1})')
    is_negated = "not" in parts
    parts = [part for part in parts if part != "not"]
    if not is_negated and not text.lstrip().startswith("("):
        # Upstream reads the name and the value as one text: without a bracket that is a filter of a column "orNAME".
        whole = Scanner(operator + text, "logic tree")
        only = _filter(_filtered(whole), whole, in_tree=True)
        return tuple(parts), LogicTree("and", is_negated=False, members=(only,))
    scanner = Scanner(text, "logic tree")
    scanner.shift = len(operator) + (len("not.") if is_negated else 0)
    # As upstream, what follows the bracket that closes the tree nobody reads.
    return tuple(parts), LogicTree("and" if operator == "and" else "or", is_negated, _members(scanner, 0))


def _members(scanner: Scanner, depth: int) -> tuple[Filter | LogicTree, ...]:
    if depth > MAX_LOGIC_DEPTH:
        raise ParseError(f"logic is nested deeper than {MAX_LOGIC_DEPTH} levels")
    scanner.skip_spaces()
    scanner.expect("(")
    scanner.skip_spaces()
    members = [_member(scanner, depth)]
    while scanner.take_separator(","):
        members.append(_member(scanner, depth))
    scanner.skip_spaces()
    scanner.expect(")")
    scanner.skip_spaces()
    return tuple(members)


_TREE = re.compile(r"(not\.)?(and|or)(?=[ \t]*\()")


def _member(scanner: Scanner, depth: int) -> Filter | LogicTree:
    if found := _TREE.match(scanner.text, scanner.position):
        scanner.position = found.end()
        operator: Literal["and", "or"] = "and" if found.group(2) == "and" else "or"
        return LogicTree(operator, found.group(1) is not None, _members(scanner, depth + 1))
    if scanner.at_end or scanner.peek(")") or scanner.peek("("):
        raise scanner.error(
            "expecting field name (* or [a..z0..9_$]), negation operator (not) or logic operator (and, or)"
        )
    return _filter(_filtered(scanner), scanner, in_tree=True)


def _filtered(scanner: Scanner) -> Field:
    field = scanner.field()
    scanner.skip_spaces()
    scanner.expect(".")
    return field


_FILTER_AHEAD = re.compile(
    rf"not\.|(?:in|is|isdistinct|{'|'.join(sorted(SIMPLE - {'isdistinct'}))})\."
    rf"|(?:{'|'.join(sorted(QUANTIFIABLE))})(?:\((?:any|all)\))?\.|(?:{'|'.join(sorted(TEXT_SEARCH))})(?:\([\w $]+\))?\."
)


def parse_argument_or_filter(field: Field, text: str, slot: int | None = None) -> Filter | None:
    """As ``parse_filter``, but None for a text that begins like no filter: an argument of a call by GET."""
    return parse_filter(field, text, slot) if _FILTER_AHEAD.match(text) else None
