"""What two requests have in common when one plan serves both: the shape, taken off the query string without parsing it.

A parameter such as ``id=eq.7`` has the shape ``id=eq.`` and the operand ``7``. Whatever is not plainly an operand belongs to
the shape with its whole text, so that a shape never says too little; a plan that is kept has been made twice, with different
operands, to see that its SQL does not depend on them (``prepared``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import unquote

from isobase_services.database.query.errors import ParseError, RequestError

__all__ = ["MAX_SHAPE_CHARS", "Pair", "Query", "read_query"]

MAX_SHAPE_CHARS = 4096
"""Query string, path and headers beyond this, together, are planned every time: kept plans shall not fill the memory."""

_SIMPLE_OPERATORS = "eq|neq|gte|gt|lte|lt|like|ilike|match|imatch|cs|cd|ov|sl|sr|nxr|nxl|adj|isdistinct"
_TEXT_SEARCH = r"(?:fts|plfts|phfts|wfts)(?:\([\w $]+\))?"
_HEAD = re.compile(rf"(?:not\.)?(?:{_SIMPLE_OPERATORS}|{_TEXT_SEARCH})\.")
_LIST_HEAD = re.compile(r'(?:not\.)?in\.(?=\([^()"]*\)\Z)')
# What could be read as a filter, or as the beginning of one.
_FILTER_LIKE = re.compile(r"[a-z]+(?:\([^)]*\))?\.")
_OFFSET = re.compile(r"[1-9][0-9]{0,17}")
_WHOLE = frozenset({"select", "order", "limit", "offset", "and", "or", "columns", "on_conflict", "apikey"})

Pair: TypeAlias = tuple[str, str, int | None]
"""A parameter: its name, its text, and the slot of the operand in it; None where the text belongs to the shape."""


@dataclass(slots=True, frozen=True)
class Query:
    """A query string, read. ``heads``: the pairs without their operands, and whether there was one."""

    pairs: tuple[Pair, ...]
    heads: tuple[tuple[str, str, bool], ...]
    operands: tuple[str, ...]
    offset: int
    """The offset where it is an operand, else 0."""

    def with_other_operands(self) -> Query:
        """The same shape with an operand of another text at every slot."""
        pairs = list(self.pairs)
        operands = list(self.operands)
        offset = self.offset
        for place, (name, text, slot) in enumerate(self.pairs):
            if slot is None:
                continue
            before = self.operands[slot]
            if name == "offset":
                offset += 1
                other = str(offset)
            else:
                other = "(one,two,three)" if self.heads[place][1].endswith("in.") else f"{before}0"
            operands[slot] = other
            pairs[place] = (name, text[: len(text) - len(before)] + other, slot)
        return replace(self, pairs=tuple(pairs), operands=tuple(operands), offset=offset)


def read_query(raw: bytes, *, is_call: bool, slots_offset: bool) -> Query:
    """Split a query string into its shape and its operands.

    Parameters: ``is_call``: texts that are no filter are arguments, and operands as a whole; ``slots_offset``: whether an
    offset is an operand (with a Range header it is not). Raises PGRST100 for what is no UTF-8, 22021 for NUL.
    """
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise ParseError("The query string is not valid UTF-8") from error
    text = text.replace(";", "&")  # which part parameters alike, as upstream
    is_escaped = "%" in text or "+" in text
    # Of repeated ones the last counts, which is the parser's business.
    slots_offset = slots_offset and text.count("offset=") == 1
    pairs: list[Pair] = []
    heads: list[tuple[str, str, bool]] = []
    operands: list[str] = []
    offset = 0
    for part in text.split("&"):
        name, equals, value = part.partition("=")
        if not equals:
            continue  # as upstream: a name alone says nothing
        if is_escaped:
            name, value = _unescaped(name), _unescaped(value)
        if name in _WHOLE or name.rpartition(".")[2] in _WHOLE:
            if name == "offset" and slots_offset and _OFFSET.fullmatch(value):
                offset = int(value)
                pairs.append((name, value, len(operands)))
                heads.append((name, "", True))
                operands.append(value)
            else:
                pairs.append((name, value, None))
                heads.append((name, value, False))
            continue
        head = _HEAD.match(value) or _LIST_HEAD.match(value)
        if head is not None:
            end = head.end()
        elif is_call and not _FILTER_LIKE.match(value):
            end = 0
        else:
            pairs.append((name, value, None))
            heads.append((name, value, False))
            continue
        pairs.append((name, value, len(operands)))
        heads.append((name, value[:end], True))
        operands.append(value[end:])
    return Query(tuple(pairs), tuple(heads), tuple(operands), offset)


def _unescaped(text: str) -> str:
    try:
        plain = unquote(text.replace("+", " "), errors="strict")
    except UnicodeDecodeError as error:
        raise ParseError("The query string is not valid UTF-8") from error
    if "\x00" in plain:
        raise RequestError('invalid byte sequence for encoding "UTF8": 0x00', code="22021")
    return plain
