"""Both sides as a plan finds them, and how fast rows go between them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from isobase_adapter.bulk.connections import Connection
from isobase_adapter.bulk.definitions import read_definitions
from isobase_adapter.bulk.managed import MANAGED_SCHEMAS
from isobase_adapter.bulk.plan.questions import QUESTIONS
from isobase_adapter.bulk.schema import compare_definitions
from isobase_adapter.reasons import reason_of

__all__ = ["Facts", "Rates", "measure", "read_facts"]

SAMPLE_BYTES = 16 * 1024 * 1024
SAMPLE_S = 5.0
LINE = b"1234567890\t6f1d0e1e-92a2-4c4f-8a80-6a58f1d2f3a1\tsome words that a row may hold\t2026-01-01 00:00:00+00\n"

Row = Mapping[str, Any]


@dataclass(slots=True)
class Facts:
    """One side: an answer to each of ``QUESTIONS``. ``unanswered``: those that it could not answer, and why."""

    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Give the rows of an answer; none where there is none."""
        return self.answers.get(name, [])

    def one(self, name: str) -> dict[str, Any]:
        """Give the only row of an answer; empty where there is none."""
        rows = self.rows(name)
        return rows[0] if rows else {}


@dataclass(slots=True, frozen=True)
class Rates:
    """Bytes per second, as measured with one connection: reading at the source, writing at the target."""

    read: float
    write: float

    @property
    def both(self) -> float:
        """The slower of the two."""
        return min(self.read, self.write)


async def read_facts(connection: Connection) -> Facts:
    """Ask everything; a missing table, view or right leaves one answer out."""
    facts = Facts()
    for name, question in QUESTIONS.items():
        arguments = [list(MANAGED_SCHEMAS)] if "$1" in question else []
        try:
            async with connection.transaction(readonly=True):
                text = await connection.fetchval(
                    f"select coalesce(json_agg(q), '[]')::text from ({question}) as q",  # noqa: S608  our own questions
                    *arguments,
                )
        except asyncpg.PostgresError as error:
            facts.unanswered[name] = reason_of(error)
        else:
            facts.answers[name] = json.loads(text)
    return facts


async def read_schema_gap(source: Connection, target: Connection) -> tuple[list[str], list[str]]:
    """Give the definitions that the target lacks, and those that it has otherwise, by name."""
    missing, differing, _ = compare_definitions(await read_definitions(source), await read_definitions(target))
    return [one.key for one in missing], [one.name for one in differing]


async def measure(source: Connection, target: Connection, facts: Facts) -> Rates:
    """Measure how fast rows can be read and written, for a few seconds; nothing is kept at either side."""
    return Rates(await _read_rate(source, facts), await _write_rate(target))


async def _read_rate(source: Connection, facts: Facts) -> float:
    tables = sorted(facts.rows("tables"), key=lambda row: -row["size_bytes"])
    name = "pg_catalog.pg_attribute"
    if tables and tables[0]["size_bytes"] > SAMPLE_BYTES // 16:
        name = await source.fetchval(
            "select format('%I.%I', $1::text, $2::text)", tables[0]["schema"], tables[0]["name"]
        )
    read, started_s = 0, time.monotonic()

    async def count(chunk: bytes) -> None:
        nonlocal read
        read += len(chunk)
        if read > SAMPLE_BYTES or time.monotonic() - started_s > SAMPLE_S:
            raise _EnoughError

    try:
        async with source.transaction(readonly=True):
            await source.copy_from_query(f"select * from {name}", output=count, format="text")  # noqa: S608  quoted
    except (_EnoughError, asyncpg.QueryCanceledError):
        pass
    return read / max(time.monotonic() - started_s, 0.001)


async def _write_rate(target: Connection) -> float:
    started_s, count = time.monotonic(), SAMPLE_BYTES // len(LINE) // 2
    chunk = LINE * 512

    async def lines() -> Any:
        for _ in range(count // 512):
            yield chunk

    transaction = target.transaction()
    await transaction.start()
    try:
        await target.execute("create temporary table isobase_measured (a bigint, b uuid, c text, d timestamptz)")
        await target.copy_to_table("isobase_measured", source=lines(), schema_name="pg_temp", format="text")
    finally:
        await transaction.rollback()
    return count * len(LINE) / max(time.monotonic() - started_s, 0.001)


class _EnoughError(Exception):
    """The sample is large enough."""
