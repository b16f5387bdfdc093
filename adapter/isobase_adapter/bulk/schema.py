"""Makes at the target what the project defined at the source, in two phases around the data.

Before data: schemas, types, tables, functions, views, keys, and what keeps strangers out (row security, policies,
grants): no row reaches a table that is less closed than at the source. After data: indexes, foreign keys, triggers.
What is at the target already is left alone; where it differs that is said.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from isobase_adapter.bulk.connections import Connection
from isobase_adapter.bulk.definitions import Definition, Phase, read_definitions
from isobase_adapter.bulk.managed import PLATFORM_EXTENSIONS
from isobase_adapter.reasons import reason_of

__all__ = ["Difference", "FailedDefinition", "SchemaReport", "compare_definitions", "make_definitions"]

logger = logging.getLogger("isobase.migration.bulk")

GUARDS = frozenset({"row security", "policy", "grants", "column grants"})
"""Kinds that decide who sees rows: a table for which one of them failed takes no data."""


@dataclass(slots=True, frozen=True)
class Difference:
    """An object that both sides have and define otherwise."""

    name: str
    source: str
    target: str


@dataclass(slots=True, frozen=True)
class FailedDefinition:
    """An object that the target refused."""

    name: str
    reason: str
    sql: str
    is_guard: bool


@dataclass(slots=True)
class SchemaReport:
    """What making the schema came to."""

    made: list[str] = field(default_factory=list)
    present: int = 0
    differing: list[Difference] = field(default_factory=list)
    failed: list[FailedDefinition] = field(default_factory=list)

    def unguarded(self) -> set[str]:
        """Tables (``schema.table``, as they are quoted) without all of what keeps strangers out."""
        names = set()
        for one in self.failed:
            if one.is_guard:
                words = one.name.split(" ")
                names.update(words)
                names.update(word.rpartition(".")[0] for word in words)
        return names


def compare_definitions(
    source: Sequence[Definition], target: Sequence[Definition], phase: Phase | None = None
) -> tuple[list[Definition], list[Difference], int]:
    """Give what the target has not, what it has otherwise, and the number of what is equal.

    Objects that the target alone has are its own business.
    """
    there = {one.key: one for one in target}
    missing: list[Definition] = []
    differing: list[Difference] = []
    equal = 0
    for one in source:
        if phase is not None and one.phase is not phase:
            continue
        other = there.get(one.key)
        if other is None:
            missing.append(one)
        elif other.compared != one.compared:
            differing.append(Difference(one.key, one.sql, other.sql))
        else:
            equal += 1
    return missing, differing, equal


async def make_definitions(source: Connection, target: Connection, phase: Phase) -> SchemaReport:
    """Make at the target what it lacks of one phase; what it refuses is in the report and not raised.

    What needs another object that is not there yet is tried again after the others, until nothing more can be made.
    """
    missing, differing, equal = compare_definitions(
        await read_definitions(source), await read_definitions(target), phase
    )
    report = SchemaReport(present=equal, differing=differing)
    await target.execute("set check_function_bodies = off; set search_path = ''; set client_min_messages = error")
    try:
        waiting = missing
        while waiting:
            failed: list[tuple[Definition, asyncpg.PostgresError]] = []
            for one in waiting:
                try:
                    async with target.transaction():
                        await target.execute(one.sql)
                except asyncpg.PostgresError as error:
                    failed.append((one, error))
                else:
                    report.made.append(one.key)
            if len(failed) == len(waiting):
                report.failed = [_failure(one, error) for one, error in failed if not _is_the_platforms(one, error)]
                break
            waiting = [one for one, _ in failed]
    finally:
        await target.execute("reset check_function_bodies; reset search_path; reset client_min_messages")
    if report.failed:
        logger.warning("definitions that the target refused", extra={"count": len(report.failed), "phase": str(phase)})
    return report


def _is_the_platforms(one: Definition, error: asyncpg.PostgresError) -> bool:
    """Whether it is an extension that Supabase brings and the target's server has not got."""
    is_absent = isinstance(error, asyncpg.FeatureNotSupportedError)
    return is_absent and one.kind == "extension" and one.name in PLATFORM_EXTENSIONS


def _failure(one: Definition, error: asyncpg.PostgresError) -> FailedDefinition:
    return FailedDefinition(one.key, reason_of(error), one.sql, one.kind in GUARDS)
