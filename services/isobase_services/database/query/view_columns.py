"""Which columns of a view are plain columns of which relation, read from its rewrite rule.

PostgreSQL keeps a view as a parse tree in text form. Only the outermost target list counts: subqueries have their own.
Source: PostgreSQL ``nodes/outfuncs.c`` for the form; PostgREST docs, resource_embedding (views).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["origin_columns"]

# Brackets, and what the outermost list is made of; a backslash hides the character behind it.
_TOKEN = re.compile(
    r"\\.|[{}()]|:targetList |:resno (?P<number>\d+) :resname (?:\\.|[^\\ ])+ :ressortgroupref \d+"
    r" :resorigtbl (?P<relation>\d+) :resorigcol (?P<column>\d+)",
    re.DOTALL,
)
_QUERY_DEPTH = 2
_ENTRY_DEPTH = 4
_OPENING = frozenset("{(")
_CLOSING = frozenset("})")


def origin_columns(rule: str) -> Iterator[tuple[int, int, int]]:
    """(column number in the view, oid of the origin relation, column number there) of each plain column."""
    depth = 0
    is_inside = False
    for found in _TOKEN.finditer(rule):
        text = found.group()
        if text in _OPENING:
            depth += 1
        elif text in _CLOSING:
            depth -= 1
            if is_inside and depth == _QUERY_DEPTH:
                return
        elif text == ":targetList ":
            is_inside = is_inside or depth == _QUERY_DEPTH
        elif is_inside and depth == _ENTRY_DEPTH and found["number"] is not None:
            relation, column = int(found["relation"]), int(found["column"])
            if relation and column:
                yield int(found["number"]), relation, column
