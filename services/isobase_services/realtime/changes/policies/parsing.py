"""From the text that PostgreSQL gives of a policy's condition to a value: the common forms, and ``OPAQUE`` for every other.

The text is ``pg_get_expr``'s, read with an empty search path: built-in operators and functions stand bare, everything else is
qualified, every operation has its parentheses. A part that is not understood is left to PostgreSQL; nothing is guessed. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from isobase_services.realtime.changes.policies.claims import UNKNOWN, ClaimTerm, Kind, canonical
from isobase_services.realtime.changes.policies.expression import (
    OPAQUE,
    And,
    Column,
    Compare,
    Condition,
    Constant,
    IsNull,
    Not,
    OneOf,
    Operand,
    Or,
    Truth,
)

__all__ = ["parse_policy"]

MAX_POLICY_LENGTH_CHARS = 20_000
MAX_DEPTH = 60

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")*"|[A-Za-z_\u0080-\U0010ffff][\w$]*)
    | (?P<number>[0-9][0-9.eE]*)
    | (?P<sign>::|->>|->|<>|[-+*/<>=~!@\#%^&|`?]+|[().,;:\[\]])
    )""",
    re.VERBOSE,
)

_BARE_NAME = re.compile(r"[a-z_][a-z0-9_]*")
"""Names that PostgreSQL writes without quotes."""

_TYPES: Mapping[str, Kind] = {
    "text": Kind.TEXT,
    "character varying": Kind.TEXT,
    "uuid": Kind.UUID,
    "smallint": Kind.INTEGER,
    "integer": Kind.INTEGER,
    "bigint": Kind.INTEGER,
    "boolean": Kind.BOOLEAN,
}
_FUNCTIONS: Mapping[str, ClaimTerm] = {
    "uid": ClaimTerm(("sub",), Kind.UUID, Kind.UUID),
    "role": ClaimTerm(("role",)),
    "email": ClaimTerm(("email",)),
}
"""Functions of schema auth that give one claim; an empty claim is NULL to them, which ``claim_value`` leaves open."""


class _NotUnderstood(Exception):
    pass


@dataclass(slots=True, frozen=True)
class _Token:
    kind: str
    text: str


@dataclass(slots=True, frozen=True)
class _Json:
    """``auth.jwt()`` or a member of it, as jsonb."""

    path: tuple[str, ...]


_END: Final = _Token("end", "")


def parse_policy(text: str, columns: Mapping[str, Kind], functions: Collection[str]) -> Condition:
    """Read a condition.

    Parameters: ``columns`` are those whose values can be compared as text, with their kinds; ``functions`` the names in
    schema ``auth`` (of ``uid``, ``jwt``, ``role``, ``email``) that are known to do what their names say. Never raises.
    """
    if len(text) > MAX_POLICY_LENGTH_CHARS:
        return OPAQUE
    try:
        parser = _Parser(_tokens(text), columns, functions)
        condition = parser.condition()
        return condition if parser.at_end else OPAQUE
    except _NotUnderstood:
        return OPAQUE


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _NotUnderstood
        position = match.end()
        tokens.append(_Token(match.lastgroup, match[match.lastgroup]))
    return tokens


class _Parser:
    """Reads by descent; where a form is not known it goes back and tries the next, at last to pass over the whole."""

    def __init__(self, tokens: list[_Token], columns: Mapping[str, Kind], functions: Collection[str]) -> None:
        self._tokens = tokens
        self._columns = columns
        self._functions = functions
        self._at = 0
        self._depth = 0

    @property
    def at_end(self) -> bool:
        """True when nothing is left."""
        return self._at == len(self._tokens)

    # -- tokens -------------------------------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> _Token:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else _END

    def _next(self) -> _Token:
        token = self._peek()
        self._at += 1
        return token

    def _is(self, *texts: str) -> bool:
        """True when these signs or keywords come next."""
        return all(self._peek(n).text == text and self._peek(n).kind != "text" for n, text in enumerate(texts))

    def _take(self, *texts: str) -> bool:
        if self._is(*texts):
            self._at += len(texts)
            return True
        return False

    def _expect(self, *texts: str) -> None:
        if not self._take(*texts):
            raise _NotUnderstood

    # -- conditions ---------------------------------------------------------------------------------------------------

    def condition(self) -> Condition:
        """A condition, up to AND, OR, a closing parenthesis or the end."""
        start = self._at
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _NotUnderstood
        try:
            for form in (self._comparison, self._connected, self._bare):
                self._at = start
                try:
                    condition = form()
                except _NotUnderstood:
                    continue
                if self.at_end or self._is("AND") or self._is("OR") or self._is(")"):
                    return condition
            self._at = start
            self._skip()
            return OPAQUE
        finally:
            self._depth -= 1

    def _skip(self) -> None:
        """Pass over one operand of AND or OR."""
        depth = 0
        while not self.at_end:
            if depth == 0 and (self._is("AND") or self._is("OR") or self._is(")")):
                return
            token = self._next()
            if token.kind == "sign":
                depth += (token.text in "([") - (token.text in ")]")
        if depth:
            raise _NotUnderstood

    def _connected(self) -> Condition:
        """``(NOT a)``, ``(a AND b)``, ``(a OR b)``."""
        self._expect("(")
        if self._take("NOT"):
            inner = self.condition()
            self._expect(")")
            return Not(inner)
        parts = [self.condition()]
        word = self._peek().text
        if word not in ("AND", "OR"):
            raise _NotUnderstood
        while self._take(word):
            parts.append(self.condition())
        self._expect(")")
        return And(tuple(parts)) if word == "AND" else Or(tuple(parts))

    def _comparison(self) -> Condition:
        """``(a = b)``, ``(a <> b)``, ``(a = ANY (ARRAY[...]))``, ``(a IS [NOT] NULL)``, ``(a IS [NOT] TRUE)``."""
        self._expect("(")
        left = self._operand()
        condition: Condition
        if self._take("IS"):
            condition = self._test(left)
        elif self._take("=", "ANY"):
            condition = OneOf(left, self._literals(left.kind))
        else:
            is_equal = self._is("=")
            if not (self._take("=") or self._take("<>")):
                raise _NotUnderstood
            right = self._operand()
            if left.kind is not right.kind or left.kind is Kind.OTHER:
                raise _NotUnderstood
            condition = Compare(left, right, is_equal)
        self._expect(")")
        return condition

    def _test(self, operand: Operand) -> Condition:
        is_negated = self._take("NOT")
        if self._take("NULL"):
            return IsNull(operand, is_negated)
        # IS TRUE is never NULL: x AND x IS NOT NULL.
        if not is_negated and operand.kind is Kind.BOOLEAN and self._take("TRUE"):
            return And((IsNull(operand, is_negated=True), Truth(operand)))
        raise _NotUnderstood

    def _bare(self) -> Condition:
        """A boolean by itself."""
        operand = self._operand()
        if operand.kind is not Kind.BOOLEAN:
            raise _NotUnderstood
        return Truth(operand)

    def _literals(self, kind: Kind) -> frozenset[str]:
        """``(ARRAY['a'::text, 'b'::text])``, also with a cast of the whole."""
        self._expect("(")
        if self._take("("):
            values = self._literals_bare()
            self._expect(")")
            self._expect("::")
            if self._type() is not kind:
                raise _NotUnderstood
            self._expect("[", "]")
        else:
            values = self._literals_bare()
        self._expect(")")
        if any(constant.kind is not kind or constant.value is None for constant in values):
            raise _NotUnderstood
        return frozenset(constant.value for constant in values if constant.value is not None)

    def _literals_bare(self) -> list[Constant]:
        self._expect("ARRAY", "[")
        values: list[Constant] = []
        while True:
            operand = self._operand()
            if not isinstance(operand, Constant):
                raise _NotUnderstood
            values.append(operand)
            if not self._take(","):
                break
        self._expect("]")
        return values

    # -- operands -----------------------------------------------------------------------------------------------------

    def _operand(self) -> Operand:
        operand = self._term()
        if isinstance(operand, _Json):
            raise _NotUnderstood
        return operand

    def _term(self) -> Operand | _Json:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _NotUnderstood
        try:
            term = self._primary()
            while self._take("::"):
                name = self._peek().text
                kind = self._type()
                if kind is Kind.INTEGER and name != "bigint" and (isinstance(term, Column) or name == "smallint"):
                    raise _NotUnderstood  # it may be too large, and PostgreSQL would raise
                term = _cast(term, kind)
            return term
        finally:
            self._depth -= 1

    def _primary(self) -> Operand | _Json:
        token = self._next()
        if token.text == "(" and token.kind == "sign":
            return self._parenthesized()
        if token.kind == "text":
            self._expect("::")
            kind = self._type()
            value = canonical(token.text[1:-1].replace("''", "'"), kind)
            if value is UNKNOWN:
                raise _NotUnderstood
            return Constant(value, kind)
        if token.kind == "number":
            value = canonical(token.text, Kind.INTEGER)
            if value is UNKNOWN:
                raise _NotUnderstood
            return Constant(value, Kind.INTEGER)
        if token.kind != "name":
            raise _NotUnderstood
        if token.text in ("true", "false"):
            return Constant(token.text[0], Kind.BOOLEAN)
        if token.text == "auth" and self._take("."):
            return self._function()
        is_quoted = token.text.startswith('"')
        if not (is_quoted or _BARE_NAME.fullmatch(token.text)):
            raise _NotUnderstood  # a keyword (CURRENT_USER): a column of that name has quotes
        name = token.text[1:-1].replace('""', '"') if is_quoted else token.text
        if name not in self._columns or self._is("(") or self._is("."):
            raise _NotUnderstood
        return Column(name, self._columns[name])

    def _parenthesized(self) -> Operand | _Json:
        """``(x)``, ``(x -> 'a'::text)``, ``(x ->> 'a'::text)``, ``( SELECT x AS name)``."""
        if self._take("SELECT"):
            term = self._term()
            if self._take("AS"):
                self._next()
            self._expect(")")
            return term
        term = self._term()
        if isinstance(term, _Json):
            is_text = self._is("->>")
            if self._take("->") or self._take("->>"):
                name = self._operand()
                if not isinstance(name, Constant) or name.value is None or name.kind is not Kind.TEXT:
                    raise _NotUnderstood
                path = (*term.path, name.value)
                term = ClaimTerm(path) if is_text else _Json(path)
        self._expect(")")
        return term

    def _function(self) -> Operand | _Json:
        name = self._next().text
        self._expect("(", ")")
        if name not in self._functions:
            raise _NotUnderstood
        return _Json(()) if name == "jwt" else _FUNCTIONS[name]

    def _type(self) -> Kind:
        name = self._next().text
        if name == "character" and self._take("varying"):
            name = "character varying"
        kind = _TYPES.get(name)
        if kind is None or self._is("("):
            raise _NotUnderstood
        return kind


def _cast(term: Operand | _Json, kind: Kind) -> Operand:
    """A cast whose outcome is known: to the same, to text, and of a claim's or literal's text to anything."""
    match term:
        case Column(kind=own) if kind is own or (kind is Kind.TEXT and own in (Kind.UUID, Kind.INTEGER)):
            return replace(term, kind=kind)
        case ClaimTerm(kind=own) if kind is own:
            return term
        case ClaimTerm(cast=Kind.TEXT, kind=Kind.TEXT):
            return replace(term, cast=kind, kind=kind)
        case ClaimTerm(kind=Kind.UUID | Kind.INTEGER) if kind is Kind.TEXT:
            return replace(term, kind=kind)
        case Constant(kind=own) if kind is own:
            return term
    raise _NotUnderstood
