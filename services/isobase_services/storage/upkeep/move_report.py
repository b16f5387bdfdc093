"""What a move did and what its verification found: numbers per bucket, and the objects that need a look."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum

__all__ = ["MAX_LISTED", "BucketNumbers", "MoveReport", "Problem", "ProblemKind"]

MAX_LISTED = 1000
"""How many problems a report names; it counts them all."""


class ProblemKind(StrEnum):
    """What may be wrong with an object at the end of a move."""

    MISSING = "missing"
    """The row names a blob that neither store has."""
    MISMATCH = "mismatch"
    """The target's blob is not the source's: size or checksum differ."""
    SOURCE_CHANGED = "source_differs_from_row"
    """It was copied as it is, but the source's bytes are not those whose size or checksum the row holds."""
    FAILED = "failed"
    """It could not be copied; the reason is with it."""


@dataclass(slots=True, frozen=True)
class Problem:
    """One object that is not as it should be."""

    kind: ProblemKind
    bucket: str
    key: str
    version: str
    reason: str


@dataclass(slots=True)
class BucketNumbers:
    """One bucket's share. Sizes are bytes.

    ``copied``: by this run; ``already_there``: at the target before it; ``changed``: overwritten or removed while it ran, and
    so not needed any more in the version that was copied.
    """

    objects: int = 0
    bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0
    already_there: int = 0
    changed: int = 0
    missing: int = 0
    mismatch: int = 0
    source_differs_from_row: int = 0
    failed: int = 0


@dataclass(slots=True)
class MoveReport:
    """The verification report of one run.

    ``to_copy``: what the last pass found missing at the target. ``is_settled``: that was nothing; otherwise objects were
    written to the source until the end. ``by_checksum`` and ``by_size``: how many objects were compared in which way;
    ``read_back``: how many of the former by reading them from the target. ``source_removed``: blobs removed from the source
    after all that.
    """

    source: str
    target: str
    started_at: str
    verify: str
    is_dry_run: bool = False
    finished_at: str = ""
    passes: int = 0
    is_settled: bool = False
    objects: int = 0
    bytes: int = 0
    to_copy: int = 0
    to_copy_bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0
    already_there: int = 0
    changed: int = 0
    by_checksum: int = 0
    by_size: int = 0
    read_back: int = 0
    unfinished_uploads: int = 0
    source_removed: int = 0
    problem_count: int = 0
    missing: int = 0
    buckets: dict[str, BucketNumbers] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    rewritten: list[dict[str, object]] = field(default_factory=list)

    def bucket(self, name: str) -> BucketNumbers:
        """The numbers of a bucket, made when first asked for."""
        return self.buckets.setdefault(name, BucketNumbers())

    def add_problem(self, problem: Problem) -> None:
        """Count a problem, and name it while there is room."""
        self.problem_count += 1
        numbers = self.bucket(problem.bucket)
        match problem.kind:
            case ProblemKind.MISSING:
                self.missing += 1
                numbers.missing += 1
            case ProblemKind.MISMATCH:
                numbers.mismatch += 1
            case ProblemKind.SOURCE_CHANGED:
                numbers.source_differs_from_row += 1
            case ProblemKind.FAILED:
                numbers.failed += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append(problem)

    def forget_problems(self) -> None:
        """Before another pass, which finds again what is still wrong."""
        self.problem_count = self.missing = 0
        self.problems.clear()
        for numbers in self.buckets.values():
            numbers.missing = numbers.mismatch = numbers.source_differs_from_row = numbers.failed = 0

    def is_complete(self, *, ignores_missing: bool = False) -> bool:
        """Whether every object is at the target, whole; ``ignores_missing``: but for those that the source lacks too."""
        return self.is_settled and self.problem_count == (self.missing if ignores_missing else 0)

    def as_json(self) -> dict[str, object]:
        """The whole report as plain values."""
        return asdict(self)
