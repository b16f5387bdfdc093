"""What verification finds, as values that become JSON. Names, keys and counts; never a row's values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from isobase_adapter.rows.differences import DifferenceKind
from isobase_adapter.sides import Side

__all__ = ["NamedRow", "SchemaDifference", "Severity", "TableResult", "VerifyResult"]


class Severity(StrEnum):
    """Whether a difference stands in the way of a cutover."""

    STOPS = "stops"
    NOTE = "note"


@dataclass(slots=True, frozen=True)
class NamedRow:
    """A row that is not equal: its key, and the columns that differ where both sides have it."""

    kind: DifferenceKind
    key: tuple[Any, ...]
    columns: tuple[str, ...] = ()


@dataclass(slots=True)
class TableResult:
    """What came of one table. ``source``: the side that is right (it is written first)."""

    table: str
    source: Side
    rows: dict[str, int] = field(default_factory=dict)
    """Rows of each side."""
    buckets: int = 0
    """How many ranges of keys were compared, and ``differing_ranges``: the names of those that were not equal at first."""
    differing_ranges: list[str] = field(default_factory=list)
    missing: int = 0
    extra: int = 0
    different: int = 0
    in_flight: int = 0
    """Rows that differed at first and were equal when they were looked at again."""
    repaired: int = 0
    named: list[NamedRow] = field(default_factory=list)
    """The first rows that differ (and were not repaired)."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Columns that one side alone has; they are not compared."""
    as_of: str | None = None
    """When its oldest part was compared, where that was an earlier run; ``older``: which parts."""
    older: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None
    """Why it could not be compared."""

    @property
    def is_equal(self) -> bool:
        """Whether all rows are equal now."""
        return self.error is None and not (self.missing or self.extra or self.different)

    def as_json(self) -> dict[str, Any]:
        """Give it for a report."""
        return asdict(self) | {"is_equal": self.is_equal}


@dataclass(slots=True, frozen=True)
class SchemaDifference:
    """A definition that is not the same. ``supabase``, ``isobase``: what each side has, None where it has none."""

    kind: str
    name: str
    supabase: str | None
    isobase: str | None
    severity: Severity = Severity.STOPS

    def __str__(self) -> str:
        """Say it in a line."""
        if self.isobase is None:
            return f"{self.kind} {self.name} is missing at isobase"
        if self.supabase is None:
            return f"{self.kind} {self.name} is at isobase only"
        return f"{self.kind} {self.name} differs: supabase {self.supabase!r}, isobase {self.isobase!r}"


@dataclass(slots=True)
class VerifyResult:
    """Everything that one verification found."""

    tables: list[TableResult] = field(default_factory=list)
    schema: list[SchemaDifference] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether nothing stands in the way of a cutover."""
        return all(table.is_equal for table in self.tables) and not any(
            difference.severity is Severity.STOPS for difference in self.schema
        )

    def as_json(self) -> dict[str, Any]:
        """Give it for a report."""
        return {
            "is_equal": self.is_equal,
            "tables": [table.as_json() for table in self.tables],
            "schema": [asdict(difference) for difference in self.schema],
        }
