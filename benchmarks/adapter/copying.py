"""The rate of ``isobase migrate copy`` beside ``psql`` piped into ``psql``, and of ``verify`` beside a plain read.

Two databases of one PostgreSQL 18 without fsync, so that processors decide and not the disk. Each way fills an empty table
with its primary key in place; ways take turns, medians count. Both read the same rows in the same order.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import asyncpg

from isobase_adapter.bulk.copy import copy_tables
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.verify.tables import TableVerifier
from isobase_deploy.embedded import EmbeddedPostgres
from isobase_deploy.ports import free_ports
from isobase_platform.schema import apply_schema
from tests.plugins.stack import PASSWORD, settings_for

__all__ = ["Measured", "measure_copy"]

TABLES = {
    "numbers": "(id bigint primary key, a int, b numeric(12, 2), c timestamptz, d double precision)",
    "notes": "(id uuid primary key, owner uuid, title text, body text, tags text[], at timestamptz)",
}
ROWS = {
    "numbers": "n, n % 1000, n / 7.0, '2026-01-01'::timestamptz + n * interval '1 second', sqrt(n)",
    "notes": "gen_random_uuid(), gen_random_uuid(), 'title ' || n, repeat(md5(n::text), 6), array['a', 'b' || n], now()",
}


@dataclass(slots=True)
class Measured:
    """Seconds of each run, by way."""

    table: str
    size_bytes: int
    rows: int
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, way: str) -> float:
        """Give the median of a way's runs."""
        return statistics.median(self.seconds[way])

    def rate(self, way: str) -> float:
        """Give MB of the table per second."""
        return self.size_bytes / 1e6 / self.median(way)


def measure_copy(rows: int, rounds: int, parallel: int) -> list[Measured]:
    """Measure every way on every table."""
    psql = shutil.which("psql")
    if psql is None:
        raise SystemExit("psql is needed: it is what a copy is compared with")
    with _two_databases() as dsns:
        return asyncio.run(_measure(psql, dsns, rows, rounds, parallel))


@contextmanager
def _two_databases() -> Iterator[dict[Side, str]]:
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        (port,) = free_ports(1)
        server = EmbeddedPostgres(
            directory, port=port, password=PASSWORD, is_durable=False, parameters={"max_wal_size": "8GB"}
        )
        server.start()
        try:
            place = f"127.0.0.1:{port}"
            admin = f"postgresql://supabase_admin:{PASSWORD}@{place}"
            asyncio.run(apply_schema(settings_for(f"{admin}/postgres", directory)))
            asyncio.run(_make_databases(f"{admin}/postgres"))
            owner = f"postgresql://postgres:{PASSWORD}@{place}"
            yield {Side.SUPABASE: f"{owner}/source", Side.ISOBASE: f"{owner}/target"}
        finally:
            server.stop()


async def _make_databases(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"alter role postgres with password '{PASSWORD}'")
    await connection.execute("create database source template postgres owner postgres")
    await connection.execute("create database target template postgres owner postgres")
    await connection.close()


async def _measure(psql: str, dsns: dict[Side, str], rows: int, rounds: int, parallel: int) -> list[Measured]:
    source, target = await asyncpg.connect(dsns[Side.SUPABASE]), await asyncpg.connect(dsns[Side.ISOBASE])
    measured: list[Measured] = []
    for name, definition in TABLES.items():
        for connection in (source, target):
            await connection.execute(f"create table public.{name} {definition}")
        await source.execute(f"insert into public.{name} select {ROWS[name]} from generate_series(1, {rows}) as n")
        await source.execute(f"vacuum analyze public.{name}")
        size_bytes = await source.fetchval("select pg_table_size($1::regclass)", f"public.{name}")
        one = Measured(name, size_bytes, rows)
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "psql | psql": partial(_piped, psql, dsns, name, ""),
            "psql | psql, binary": partial(_piped, psql, dsns, name, " (format binary)"),
            "copy, one range at a time": partial(_copied, dsns, name, 1),
            f"copy, {parallel} ranges at a time": partial(_copied, dsns, name, parallel),
        }
        for _ in range(rounds):
            for way, run in ways.items():
                await target.execute(f"truncate public.{name}; delete from isobase.migration_jobs")
                started_s = time.monotonic()
                await run()
                one.seconds.setdefault(way, []).append(time.monotonic() - started_s)
                assert await target.fetchval(f"select count(*) from public.{name}") == rows
            await _timed(one, "read both", partial(_read_both, source, target, name))
            await _timed(one, "verify", partial(_verified, dsns, name))
        measured.append(one)
    await source.close()
    await target.close()
    return measured


async def _timed(one: Measured, way: str, run: Callable[[], Awaitable[None]]) -> None:
    started_s = time.monotonic()
    await run()
    one.seconds.setdefault(way, []).append(time.monotonic() - started_s)


async def _piped(psql: str, dsns: dict[Side, str], table: str, form: str) -> None:
    environment = os.environ | {"PGOPTIONS": "-c session_replication_role=replica -c synchronous_commit=off"}

    def run() -> None:
        with subprocess.Popen(
            [psql, "-qX", dsns[Side.SUPABASE], "-c", f"copy public.{table} to stdout{form}"], stdout=subprocess.PIPE
        ) as reading:
            subprocess.run(
                [psql, "-qX", dsns[Side.ISOBASE], "-c", f"copy public.{table} from stdin{form}"],
                stdin=reading.stdout,
                env=environment,
                check=True,
            )

    await asyncio.to_thread(run)


async def _copied(dsns: dict[Side, str], table: str, parallel: int) -> None:
    report = await copy_tables(dsns, only=[f"public.{table}"], parallel=parallel)
    assert report.is_complete, report


async def _read_both(source: asyncpg.Connection, target: asyncpg.Connection, table: str) -> None:
    question = f"select sum(hashtext(t::text)::bigint) from public.{table} as t"
    await asyncio.gather(source.fetchval(question), target.fetchval(question))


async def _verified(dsns: dict[Side, str], table: str) -> None:
    databases = {side: SideDatabase(side, dsn, statement_timeout_s=600) for side, dsn in dsns.items()}
    try:
        carrier = RowCarrier(databases[Side.SUPABASE], databases[Side.ISOBASE])
        result = await TableVerifier(carrier).verify(f"public.{table}", Side.SUPABASE)
        assert result.is_equal, result
    finally:
        for database in databases.values():
            await database.close()
