"""Roles that may not keep triggers still, connections that are lost, and poolers in between."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

import isobase_adapter
from isobase_adapter import poolers
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import CannotRemake, RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.rows.conftest import Sides
from tests.plugins.pgbouncer import pgbouncer

ADAPTER = Path(isobase_adapter.__file__).parent
ROLE = "isobase_test_mover"
PASSWORD = "postgres"


def row(table: str, *key: object) -> Thing:
    return Thing(ThingKind.ROW, f"public.{table}", key)


@pytest.fixture
async def lesser(sides: Sides) -> AsyncIterator[RowCarrier]:
    """A carrier whose role at Isobase owns its tables and may do no more."""
    sides.server.execute(f"drop role if exists {ROLE}")
    sides.server.execute(f"create role {ROLE} login password '{PASSWORD}'")
    sides.sql(Side.ISOBASE, f"grant all on schema public to {ROLE}")
    isobase = SideDatabase(Side.ISOBASE, sides.server.dsn(sides.names[Side.ISOBASE], role=ROLE))
    try:
        yield RowCarrier(sides.supabase, isobase)
    finally:
        await isobase.close()
        sides.sql(Side.ISOBASE, f"drop owned by {ROLE} cascade")
        sides.server.execute(f"drop role {ROLE}")


async def test_rows_that_triggers_made_otherwise_are_told_where_they_cannot_be_kept_still(
    sides: Sides, lesser: RowCarrier, caplog: pytest.LogCaptureFixture
) -> None:
    sides.both(
        "create table words (id int primary key, word text);"
        "create function shout() returns trigger language plpgsql as $$begin new.word := new.word || '!'; return new; end$$;"
        "create trigger shout before insert on words for each row execute function shout()"
    )
    sides.sql(Side.SUPABASE, "alter table words owner to postgres; insert into words values (1, 'a')")
    sides.sql(Side.ISOBASE, f"alter table words owner to {ROLE}")
    with caplog.at_level(logging.WARNING, "isobase.migration.rows"):
        assert (await lesser.carry([row("words", 1)], Side.ISOBASE)).changed == 1
    assert sides.sql(Side.ISOBASE, "select word from words") == [("a!!",)]
    assert "triggers of the target made rows otherwise" in caplog.text
    assert "a!!" not in caplog.text


def test_triggers_are_kept_still_by_statements_alone() -> None:
    """Supabase lets ``postgres`` do it by an extension that sees statements, not calls of set_config."""
    sources = [path.read_text() for path in ADAPTER.rglob("*.py")]
    assert any("set local session_replication_role = replica" in text for text in sources)
    assert [text for text in sources if re.search(r"set_config\(\s*'session_replication_role", text)] == []


async def test_rows_are_not_deleted_to_be_made_anew_where_that_would_cascade(sides: Sides, lesser: RowCarrier) -> None:
    sides.both("create table swaps (id int primary key, v text unique)")
    sides.both("create table held (id int primary key, swap int references swaps on delete cascade)")
    sides.both("insert into swaps values (1, 'a'), (2, 'b'); insert into held values (1, 1)")
    sides.sql(Side.SUPABASE, "alter table swaps owner to postgres; alter table held owner to postgres")
    sides.sql(Side.ISOBASE, f"alter table swaps owner to {ROLE}; alter table held owner to {ROLE}")
    sides.sql(Side.SUPABASE, "update swaps set v = 'c' where id = 1; update swaps set v = 'a' where id = 2")
    sides.sql(Side.SUPABASE, "update swaps set v = 'b' where id = 1")
    with pytest.raises(CannotRemake, match=r"public\.swaps at isobase"):
        await lesser.carry([row("swaps", 1), row("swaps", 2)], Side.ISOBASE)
    assert sides.sql(Side.ISOBASE, "select count(*) from held") == [(1,)]


async def test_a_connection_that_is_lost_loses_only_what_was_on_it(sides: Sides) -> None:
    sides.both("create table facts (id int primary key, v int); alter table facts owner to postgres")
    sides.sql(Side.SUPABASE, "insert into facts select n, n from generate_series(1, 50) n")
    await sides.carrier.carry([row("facts", 1)], Side.ISOBASE)
    kill = (
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'isobase-migration' and datname = %s"
    )
    for side in Side:
        sides.sql(side, kill, sides.names[side])
    lost: list[BaseException] = []
    for number in range(1, 51):
        try:
            await sides.carrier.carry([row("facts", number)], Side.ISOBASE)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            lost.append(error)
            await sides.carrier.carry([row("facts", number)], Side.ISOBASE)
    assert len(lost) <= 4
    assert sides.sql(Side.ISOBASE, "select count(*), sum(v) from facts") == [(50, 1275)]


async def test_a_carry_that_is_cancelled_leaves_no_lock_and_no_half_written_batch(sides: Sides) -> None:
    sides.both("create table facts (id int primary key, v int); alter table facts owner to postgres")
    sides.sql(Side.SUPABASE, "insert into facts select n, n from generate_series(1, 400) n")
    things = [row("facts", number) for number in range(1, 401)]
    await sides.carrier.pair("public.facts")
    for pause_s in (0.0, 0.002, 0.005, 0.01, 0.02):
        task = asyncio.create_task(sides.carrier.carry(things, Side.ISOBASE))
        await asyncio.sleep(pause_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        ((count,),) = sides.sql(Side.ISOBASE, "select count(*) from facts")
        assert count in (0, 200, 400)
    await sides.carrier.carry(things, Side.ISOBASE)
    assert sides.sql(Side.ISOBASE, "select count(*) from facts") == [(400,)]
    left = (
        "select count(*) from pg_locks where locktype = 'advisory'"
        " and database = (select oid from pg_database where datname = %s)"
    )
    assert sides.sql(Side.ISOBASE, left, sides.names[Side.ISOBASE]) == [(0,)]


async def test_settings_are_made_in_each_transaction_behind_a_pooler(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sides.both("create table facts (id int primary key, at timestamptz, f float8); alter table facts owner to postgres")
    sides.sql(Side.SUPABASE, "insert into facts values (1, now(), 0.1)")
    with pgbouncer(tmp_path, sides.server.host, sides.server.port) as port:
        monkeypatch.setattr(poolers, "POOLER_PORT", port)
        dsns = {side: sides.server.dsn(sides.names[side], role="postgres") for side in Side}
        pooled = {
            side: SideDatabase(side, dsn.replace(f":{sides.server.port}/", f":{port}/")) for side, dsn in dsns.items()
        }
        carrier = RowCarrier(pooled[Side.SUPABASE], pooled[Side.ISOBASE])
        try:
            sides.sql(Side.SUPABASE, f"alter database {sides.names[Side.SUPABASE]} set timezone = 'Asia/Tokyo'")
            assert (await carrier.carry([row("facts", 1)], Side.ISOBASE)).changed == 1
            assert (await carrier.carry([Thing(ThingKind.TABLE, "public.facts")], Side.ISOBASE)).changed == 0
        finally:
            sides.sql(Side.SUPABASE, f"alter database {sides.names[Side.SUPABASE]} reset timezone")
            for database in pooled.values():
                await database.close()
