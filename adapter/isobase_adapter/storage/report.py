"""What a copy, a comparison or a sync of buckets came to: figures and a bounded list of what did not go well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

__all__ = ["BucketReport", "Progress", "StorageReport", "Trouble"]

MAX_TROUBLES = 1000
"""So many keys are named; more are counted."""


@dataclass(slots=True, frozen=True)
class Trouble:
    """An object that differs or could not be carried. ``what``: how it differs, or the error; ``detail``: which facts."""

    bucket: str
    key: str
    what: str
    detail: tuple[str, ...] = ()


@dataclass(slots=True)
class BucketReport:
    """One bucket. ``total_*``: at the source when it began, None where only listing tells."""

    bucket: str
    total_objects: int | None = None
    total_bytes: int | None = None
    seen_objects: int = 0
    """Looked at, equal ones included."""
    seen_bytes: int = 0
    carried_objects: int = 0
    carried_bytes: int = 0
    differing_objects: int = 0
    """Found different by a comparison, and not repaired."""
    failed_objects: int = 0


Progress: TypeAlias = Callable[[BucketReport], None]
"""Called after every page and every object; must be quick."""


@dataclass(slots=True)
class StorageReport:
    """All buckets."""

    buckets: list[BucketReport] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    settings_differ: list[str] = field(default_factory=list)
    """Buckets whose own settings differ, or that one side lacks."""

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs and nothing failed."""
        return not self.settings_differ and all(
            not each.differing_objects and not each.failed_objects for each in self.buckets
        )

    def add(self, trouble: Trouble) -> None:
        """Name an object, as long as there is room."""
        if len(self.troubles) < MAX_TROUBLES:
            self.troubles.append(trouble)

    def as_json(self) -> dict[str, Any]:
        """Give it as a report's JSON."""
        return {"is_equal": self.is_equal, **asdict(self)}
