"""A policy's condition as a value, and as a function of a row and a caller.

Conditions follow SQL's logic of three values, with a fourth, ``UNKNOWN``, for what only PostgreSQL can decide. Evaluation is
from left to right: what stands behind an undecided part of an OR does not count, because PostgreSQL may raise before it
gets there. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from isobase_services.realtime.changes.policies.claims import UNKNOWN, ClaimTerm, Kind, Unknown, Value

__all__ = [
    "OPAQUE",
    "And",
    "Column",
    "Compare",
    "Condition",
    "Constant",
    "Decide",
    "Driver",
    "IsNull",
    "Not",
    "OneOf",
    "Opaque",
    "Operand",
    "Or",
    "Truth",
    "Verdict",
    "claim_terms",
    "compiled",
    "drivers",
    "is_opaque",
]


@dataclass(slots=True, frozen=True)
class Column:
    """A column of the row."""

    name: str
    kind: Kind


@dataclass(slots=True, frozen=True)
class Constant:
    """A literal; None is NULL."""

    value: str | None
    kind: Kind


Operand: TypeAlias = Column | ClaimTerm | Constant


@dataclass(slots=True, frozen=True)
class Compare:
    """``=``, or ``<>`` when not ``is_equal``. Both sides are of one kind."""

    left: Operand
    right: Operand
    is_equal: bool


@dataclass(slots=True, frozen=True)
class OneOf:
    """``= ANY`` of literals."""

    operand: Operand
    values: frozenset[str]


@dataclass(slots=True, frozen=True)
class IsNull:
    """``IS NULL``, or ``IS NOT NULL`` when negated."""

    operand: Operand
    is_negated: bool


@dataclass(slots=True, frozen=True)
class Truth:
    """A boolean by itself."""

    operand: Operand


@dataclass(slots=True, frozen=True)
class Not:
    """``NOT``."""

    condition: Condition


@dataclass(slots=True, frozen=True)
class And:
    """All of them, in order."""

    conditions: tuple[Condition, ...]


@dataclass(slots=True, frozen=True)
class Or:
    """Any of them, in order."""

    conditions: tuple[Condition, ...]


@dataclass(slots=True, frozen=True)
class Opaque:
    """What only PostgreSQL understands."""


OPAQUE: Final = Opaque()
Condition: TypeAlias = Compare | OneOf | IsNull | Truth | Not | And | Or | Opaque

Verdict: TypeAlias = "bool | Unknown | None"
"""True, False, None for SQL's NULL, or ``UNKNOWN``."""
Row: TypeAlias = Mapping[str, "str | None"]
Decide: TypeAlias = Callable[[Row, Sequence[Value]], Verdict]
"""From a row (by column, as the log writes it) and the values of the claim terms."""
_Get: TypeAlias = Callable[[Row, Sequence[Value]], Value]

Driver: TypeAlias = tuple[str, ClaimTerm]
"""A column and the claim that it must equal."""


def _parts(condition: Condition) -> Iterator[Condition]:
    yield condition
    match condition:
        case And(conditions=parts) | Or(conditions=parts):
            for part in parts:
                yield from _parts(part)
        case Not(condition=part):
            yield from _parts(part)


def claim_terms(condition: Condition) -> tuple[ClaimTerm, ...]:
    """All claim terms in it, each once."""
    found: dict[ClaimTerm, None] = {}
    for part in _parts(condition):
        match part:
            case Compare(left=left, right=right):
                operands: tuple[Operand, ...] = (left, right)
            case OneOf(operand=operand) | IsNull(operand=operand) | Truth(operand=operand):
                operands = (operand,)
            case _:
                continue
        found.update({operand: None for operand in operands if isinstance(operand, ClaimTerm)})
    return tuple(found)


def is_opaque(condition: Condition) -> bool:
    """True when a part of it is left to PostgreSQL."""
    return any(isinstance(part, Opaque) for part in _parts(condition))


def drivers(condition: Condition) -> frozenset[Driver] | None:
    """Equalities of which one must hold wherever the condition does; None when there is no such set.

    A row then concerns only callers whose claim equals one of the columns (or is ``UNKNOWN``).
    """
    match condition:
        case Compare(left=Column(name=name), right=ClaimTerm() as term, is_equal=True):
            return frozenset({(name, term)})
        case Compare(left=ClaimTerm() as term, right=Column(name=name), is_equal=True):
            return frozenset({(name, term)})
        case Truth(operand=Constant(value=value)) if value != "t":
            return frozenset()
        case And(conditions=parts):
            return min((found for part in parts if (found := drivers(part)) is not None), key=len, default=None)
        case Or(conditions=parts):
            united: frozenset[Driver] = frozenset()
            for part in parts:
                found = drivers(part)
                if found is None:
                    return None
                united |= found
            return united
    return None


def compiled(condition: Condition, terms: Sequence[ClaimTerm]) -> Decide:
    """The condition as a function; the values it is given are those of ``terms``, in that order."""
    places = {term: place for place, term in enumerate(terms)}

    def get(operand: Operand) -> _Get:
        match operand:
            case Column(name=name):
                return lambda row, _claims: row.get(name, UNKNOWN)
            case Constant(value=value):
                return lambda _row, _claims: value
            case ClaimTerm():
                place = places[operand]
                return lambda _row, claims: claims[place]

    def build(part: Condition, *, is_negated: bool = False) -> Decide:
        match part:
            case Compare(left=left, right=right, is_equal=is_equal):
                return _compare(get(left), get(right), is_equal)
            case OneOf(operand=operand, values=values):
                return _one_of(get(operand), values)
            case IsNull(operand=operand, is_negated=negates):
                return _is_null(get(operand), negates)
            case Truth(operand=operand):
                return _truth(get(operand))
            case Not(condition=inner):
                return _not(build(inner, is_negated=True))
            case And(conditions=parts):
                return _and([build(inner, is_negated=is_negated) for inner in parts], is_strict=is_negated)
            case Or(conditions=parts):
                return _or([build(inner, is_negated=is_negated) for inner in parts])
            case Opaque():
                return lambda _row, _claims: UNKNOWN

    return build(condition)


def _compare(left: _Get, right: _Get, is_equal: bool) -> Decide:
    def decide(row: Row, claims: Sequence[Value]) -> Verdict:
        one, other = left(row, claims), right(row, claims)
        if one is UNKNOWN or other is UNKNOWN:
            return UNKNOWN
        return None if one is None or other is None else (one == other) is is_equal

    return decide


def _one_of(operand: _Get, values: frozenset[str]) -> Decide:
    def decide(row: Row, claims: Sequence[Value]) -> Verdict:
        value = operand(row, claims)
        return value if value is UNKNOWN or value is None else value in values

    return decide


def _is_null(operand: _Get, is_negated: bool) -> Decide:
    def decide(row: Row, claims: Sequence[Value]) -> Verdict:
        value = operand(row, claims)
        return UNKNOWN if value is UNKNOWN else (value is None) is not is_negated

    return decide


def _truth(operand: _Get) -> Decide:
    def decide(row: Row, claims: Sequence[Value]) -> Verdict:
        value = operand(row, claims)
        return value if value is UNKNOWN or value is None else value == "t"

    return decide


def _not(inner: Decide) -> Decide:
    def decide(row: Row, claims: Sequence[Value]) -> Verdict:
        verdict = inner(row, claims)
        return verdict if verdict is UNKNOWN or verdict is None else not verdict

    return decide


def _and(parts: Sequence[Decide], *, is_strict: bool) -> Decide:
    """``is_strict``: below a NOT, where it matters whether what is undecided raises before something else is false."""

    def decide(row: Row, claims: Sequence[Value]) -> Verdict:
        result: Verdict = True
        for part in parts:
            verdict = part(row, claims)
            if verdict is False or (is_strict and verdict is UNKNOWN):
                return verdict
            if verdict is UNKNOWN or (verdict is None and result is True):
                result = verdict
        return result

    return decide


def _or(parts: Sequence[Decide]) -> Decide:
    def decide(row: Row, claims: Sequence[Value]) -> Verdict:
        result: Verdict = False
        for part in parts:
            verdict = part(row, claims)
            if verdict is True or verdict is UNKNOWN:
                return verdict
            if verdict is None:
                result = None
        return result

    return decide
