"""Keeps what the last verification of each part found, in ``isobase.migration_jobs``, for ``status`` and for gates.

A part is ``definitions``, ``users``, ``table:public.orders`` or ``bucket:avatars``. Names, keys and counts; never a value.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import asyncpg

from isobase_adapter.auth.verify import UsersReport
from isobase_adapter.storage.report import StorageReport
from isobase_adapter.storage.verify import Depth
from isobase_adapter.verify.results import SchemaDifference, Severity, TableResult

__all__ = ["Verified", "keep", "keep_only", "of_bucket", "of_definitions", "of_table", "of_users", "read_verified"]

JOB = "verify"
MAX_NAMED = 10
MAX_LENGTH_CHARS = 200
DEPTHS = list(Depth)


@dataclass(slots=True, frozen=True)
class Verified:
    """What the last look at a part found. ``named``: the first things that differ, as lines. ``depth``: of objects.

    ``as_of``: when the oldest part of it was compared, where that was an earlier run that was gone on with; so is ``at``.
    """

    part: str
    is_equal: bool
    differing: int = 0
    named: tuple[str, ...] = ()
    depth: str = ""
    as_of: str = ""
    at: datetime | None = None

    def __str__(self) -> str:
        """Say it in a line."""
        if self.is_equal:
            return f"{self.part}: equal" + (f", parts of it as of {self.as_of}" if self.as_of else "")
        more = self.differing - len(self.named)
        return f"{self.part}: {self.differing} differ: " + "; ".join(
            [*self.named, *([f"{more} more"] if more > 0 else [])]
        )


def of_definitions(differences: Sequence[SchemaDifference]) -> Verified:
    """What a comparison of definitions found; notes do not count."""
    wrong = [str(one) for one in differences if one.severity is Severity.STOPS]
    return _verified("definitions", len(wrong), wrong)


def of_table(result: TableResult) -> Verified:
    """What a comparison of a table's rows found."""
    differing = result.missing + result.extra + result.different
    named = [
        f"{row.kind} key {', '.join(map(str, row.key))}" + (f" ({', '.join(row.columns)})" if row.columns else "")
        for row in result.named
    ]
    if result.error is not None:
        return _verified(f"table:{result.table}", max(differing, 1), [result.error])
    return replace(_verified(f"table:{result.table}", differing, named), as_of=result.as_of or "")


def of_users(report: UsersReport) -> Verified:
    """What a comparison of users found; those that were repaired do not count."""
    named = [
        f"user {one.user} " + (f"at {one.only} alone" if one.only else _tables_text(one.differences))
        for one in report.named
    ]
    named += [f"{one} differs" for one in report.shared]
    named += [f"users {' and '.join(each)} are in each other's way" for each in report.conflicts]
    differing = report.differing - report.repaired + len(report.shared) + len(report.conflicts)
    return _verified("users", differing, named if not report.is_equal else [])


def of_bucket(bucket: str, report: StorageReport, depth: Depth) -> Verified:
    """What a comparison of a bucket's objects found."""
    named = [f"settings of {name} differ" for name in report.settings_differ]
    named += [f"object {one.key}: {', '.join([one.what, *one.detail])}" for one in report.troubles]
    differing = len(report.settings_differ) + sum(one.differing_objects + one.failed_objects for one in report.buckets)
    return _verified(f"bucket:{bucket}", differing, named, str(depth))


def _tables_text(differences: Any) -> str:
    return ", ".join(f"{table} ({', '.join(what)})" for table, what in differences.items())


def _verified(part: str, differing: int, named: Sequence[str], depth: str = "") -> Verified:
    lines = tuple(line[:MAX_LENGTH_CHARS] for line in named[:MAX_NAMED])
    return Verified(part, not differing, differing, lines, depth)


async def keep(pool: asyncpg.Pool, found: Verified) -> None:
    """Keep it in place of what was found before.

    Objects that were found to differ by a look at their bytes stay so until a look as deep finds them equal.
    """
    if found.depth and found.is_equal:
        (before,) = await read_verified(pool, found.part) or (None,)
        if before is not None and not before.is_equal and _is_deeper(before.depth, found.depth):
            return
    state = {name: value for name, value in asdict(found).items() if name not in ("part", "at")}
    await pool.execute(
        "insert into isobase.migration_jobs as j (job, part, state) values ($1, $2, $3::text::jsonb)"
        " on conflict (job, part) do update set state = excluded.state, updated_at = now()",
        JOB,
        found.part,
        json.dumps(state),
    )


async def keep_only(pool: asyncpg.Pool, kind: str, names: Collection[str]) -> None:
    """Forget tables or buckets (``kind``) that are not there any more."""
    await pool.execute(
        "delete from isobase.migration_jobs where job = $1 and starts_with(part, $2) and part <> all($3::text[])",
        JOB,
        f"{kind}:",
        [f"{kind}:{name}" for name in names],
    )


async def read_verified(pool: asyncpg.Pool, part: str | None = None) -> list[Verified]:
    """Give what was found last of ``part``, or of every part, by name."""
    records = await pool.fetch(
        "select part, state::text as state, updated_at from isobase.migration_jobs"
        " where job = $1 and ($2::text is null or part = $2) order by part",
        JOB,
        part,
    )
    found = []
    for record in records:
        state = json.loads(record["state"])
        as_of = str(state.get("as_of", ""))
        found.append(
            Verified(
                record["part"],
                bool(state.get("is_equal")),
                int(state.get("differing", 0)),
                tuple(state.get("named", ())),
                str(state.get("depth", "")),
                as_of,
                datetime.fromisoformat(as_of) if as_of else record["updated_at"],
            )
        )
    return found


def _is_deeper(one: str, other: str) -> bool:
    return DEPTHS.index(Depth(one)) > DEPTHS.index(Depth(other)) if one and other else False
