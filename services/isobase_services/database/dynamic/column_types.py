"""The closed list of column types: what a definition may name, and how PostgreSQL writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["TYPE_ALIASES", "BaseType", "ColumnType", "shown_type"]

MAX_LENGTH_CHARS = 10_485_760
"""PostgreSQL's own limit of varchar(n)."""
MAX_PRECISION = 1000
"""PostgreSQL's own limit of numeric(p, s)."""


class BaseType(StrEnum):
    """The types of a column, or of a list's elements; the values are PostgreSQL's names and stand in SQL as they are."""

    TEXT = "text"
    VARCHAR = "varchar"
    SMALLINT = "smallint"
    INTEGER = "integer"
    BIGINT = "bigint"
    NUMERIC = "numeric"
    REAL = "real"
    DOUBLE_PRECISION = "double precision"
    BOOLEAN = "boolean"
    TIMESTAMPTZ = "timestamptz"
    TIMESTAMP = "timestamp"
    DATE = "date"
    TIME = "time"
    INTERVAL = "interval"
    UUID = "uuid"
    JSONB = "jsonb"
    JSON = "json"
    BYTEA = "bytea"
    INET = "inet"
    CIDR = "cidr"
    INT4RANGE = "int4range"
    INT8RANGE = "int8range"
    NUMRANGE = "numrange"
    DATERANGE = "daterange"
    TSRANGE = "tsrange"
    TSTZRANGE = "tstzrange"


TYPE_ALIASES = {
    "character varying": BaseType.VARCHAR,
    "int": BaseType.INTEGER,
    "int2": BaseType.SMALLINT,
    "int4": BaseType.INTEGER,
    "int8": BaseType.BIGINT,
    "decimal": BaseType.NUMERIC,
    "float4": BaseType.REAL,
    "float8": BaseType.DOUBLE_PRECISION,
    "bool": BaseType.BOOLEAN,
    "timestamp with time zone": BaseType.TIMESTAMPTZ,
    "timestamp without time zone": BaseType.TIMESTAMP,
    "time without time zone": BaseType.TIME,
}
"""Other names of the same types, those of PostgreSQL's catalog among them."""

_KNOWN = {**{kind.value: kind for kind in BaseType}, **TYPE_ALIASES}
_SHAPE = re.compile(
    r"(?P<name>[a-z][a-z0-9 ]*[a-z0-9])(?: ?\( ?(?P<first>[0-9]{1,8}) ?(?:, ?(?P<second>[0-9]{1,4}) ?)?\))?(?P<array>\[\])?"
)


@dataclass(slots=True, frozen=True)
class ColumnType:
    """A type with its modifiers: varchar(``first``), numeric(``first``, ``second``), or a list of any."""

    base: BaseType
    first: int | None = None
    second: int | None = None
    is_array: bool = False

    @classmethod
    def parse(cls, text: str) -> ColumnType:
        """The type that ``text`` names. Raises ``ValueError``, whose text says which there are."""
        found = _SHAPE.fullmatch(text.lower())
        base = _KNOWN.get(found["name"]) if found is not None else None
        if found is None or base is None:
            raise ValueError(f"no such column type; there are {', '.join(kind.value for kind in BaseType)}, and name[]")
        first, second = (int(number) if number is not None else None for number in (found["first"], found["second"]))
        if first is not None:
            _check_modifiers(base, first, second)
        return cls(base, first, second, found["array"] is not None)

    def __str__(self) -> str:
        """PostgreSQL's way to write it; made of a closed list and numbers, so it may stand in SQL."""
        modifiers = ",".join(str(number) for number in (self.first, self.second) if number is not None)
        return f"{self.base.value}{f'({modifiers})' if modifiers else ''}{'[]' if self.is_array else ''}"

    @property
    def element(self) -> ColumnType:
        """The type of a list's elements."""
        return ColumnType(self.base, self.first, self.second)


def _check_modifiers(base: BaseType, first: int, second: int | None) -> None:
    if base is BaseType.VARCHAR and second is None and 1 <= first <= MAX_LENGTH_CHARS:
        return
    if base is BaseType.NUMERIC and 1 <= first <= MAX_PRECISION and (second or 0) <= first:
        return
    raise ValueError(f"{base.value} cannot have these modifiers")


def shown_type(catalog_name: str) -> str:
    """A type as ``format_type`` writes it, by the name that a definition would use; others stay as they are."""
    try:
        return str(ColumnType.parse(catalog_name))
    except ValueError:
        return catalog_name
