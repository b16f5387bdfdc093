"""What a request says in PostgREST's language, as plain values. No SQL, no schema knowledge, no I/O.

Source: PostgREST v14 ``ApiRequest/Types.hs`` for the vocabulary; docs/references/api for the meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, TypeAlias

__all__ = [
    "Aggregate",
    "ColumnItem",
    "Field",
    "Filter",
    "JoinKind",
    "JsonStep",
    "LogicTree",
    "OrderTerm",
    "RelationItem",
    "SelectItem",
]


@dataclass(slots=True, frozen=True)
class JsonStep:
    """One ``->`` (value) or ``->>`` (text) into a JSON column; ``is_index`` for a number."""

    key: str
    as_text: bool
    is_index: bool


@dataclass(slots=True, frozen=True)
class Field:
    """A column, with a way into its JSON where one was given."""

    name: str
    steps: tuple[JsonStep, ...] = ()


Aggregate: TypeAlias = Literal["count", "sum", "avg", "min", "max"]


class JoinKind(Enum):
    """How an embed joins: whether parents without a match stay."""

    LEFT = "left"
    INNER = "inner"


@dataclass(slots=True, frozen=True)
class ColumnItem:
    """One column of ``select``; the name ``*`` stands for all of them."""

    field: Field
    alias: str | None = None
    cast: str | None = None
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None

    @property
    def label(self) -> str | None:
        """The name it goes by: its alias, or the last key of its JSON path (an index hands over to the key before it).

        None where it is the column's own, or the aggregate's.
        """
        if self.alias is not None or self.aggregate is not None or not self.field.steps:
            return self.alias
        keys = [step.key for step in self.field.steps if not step.is_index]
        return keys[-1] if keys else self.field.name


@dataclass(slots=True, frozen=True)
class RelationItem:
    """An embedded resource ``alias:name!hint!inner(select)``, or a spread ``...name(select)``."""

    name: str
    children: tuple[SelectItem, ...]
    alias: str | None = None
    hint: str | None = None
    join: JoinKind | None = None
    is_spread: bool = False


SelectItem: TypeAlias = ColumnItem | RelationItem


@dataclass(slots=True, frozen=True)
class Filter:
    """``field=not.op(any).value``. ``values`` holds the parsed list of ``in`` and of ``any`` / ``all``."""

    field: Field
    operator: str
    value: str
    is_negated: bool = False
    quantifier: Literal["any", "all"] | None = None
    values: tuple[str, ...] = ()
    language: str | None = None


@dataclass(slots=True, frozen=True)
class LogicTree:
    """``and(...)`` / ``or(...)`` over filters and trees."""

    operator: Literal["and", "or"]
    is_negated: bool
    members: tuple[Filter | LogicTree, ...] = field(default=())


@dataclass(slots=True, frozen=True)
class OrderTerm:
    """``field.asc.nullsfirst``; ``relation`` is set for ``relation(field).desc``."""

    field: Field
    relation: str | None = None
    direction: Literal["asc", "desc"] | None = None
    nulls: Literal["first", "last"] | None = None
