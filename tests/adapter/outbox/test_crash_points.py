"""An app is killed before and after every step of its writes: what was acknowledged is on both sides, and they are equal."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from isobase_adapter.carrying import Carriers
from isobase_adapter.drainer import Drainer
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.things import ThingKind
from tests.adapter.outbox.app import make_flag
from tests.adapter.outbox.conftest import TwoSides
from tests.adapter.outbox.crashing import TABLES

ROOT = Path(__file__).parents[3]


def lines_of(folder: Path) -> list[str]:
    return [line for path in folder.iterdir() for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("writer", "first"), [(Side.SUPABASE, 0), (Side.ISOBASE, 1)])
async def test_what_was_acknowledged_before_a_kill_is_on_both_sides_after_the_drain(
    sides: TwoSides, tmp_path: Path, writer: Side, first: int
) -> None:
    for pool in (sides.supabase, sides.isobase):
        await pool.execute("drop table if exists public.orders, public.notes, public.lines;" + TABLES)
    await make_flag(sides.isobase)
    if writer is Side.ISOBASE:
        await sides.box.set_writer(Side.ISOBASE, 1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.adapter.outbox.crashing", sides.supabase_dsn, sides.isobase_dsn),
        *(str(tmp_path), str(first)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, "the last of them came to its end"
    # Every second point (the other side's turn has the others): before what is begun, sent ..., or after it.
    # Three writes; each is begun, sent, carried, and settled where the outbox is not in the database that it was carried to.
    assert len(output.split()) == 3 * (3 if writer is Side.SUPABASE else 4)

    databases = {Side.SUPABASE: SideDatabase(Side.SUPABASE, sides.supabase_dsn)}
    databases[Side.ISOBASE] = SideDatabase(Side.ISOBASE, sides.isobase_dsn)
    rows = RowCarrier(databases[Side.SUPABASE], databases[Side.ISOBASE])
    drainer = Drainer(sides.box.outbox, Carriers({ThingKind.ROW: rows, ThingKind.TABLE: rows}))
    drained = await drainer.drain(60)
    for database in databases.values():
        await database.close()
    assert (drained.waiting, drained.dead) == (0, 0)

    for table in ("orders", "notes", "lines"):
        read = f"select t::text from public.{table} as t order by 1"
        here, there = [[row[0] for row in await pool.fetch(read)] for pool in (sides.supabase, sides.isobase)]
        assert here == there
        assert here
    acknowledged = [line.split() for line in await asyncio.to_thread(lines_of, tmp_path)]
    assert len(acknowledged) >= 8
    for table, *_, state in acknowledged:
        assert await sides.isobase.fetchval(f"select count(*) from {table} where state = $1", state) == 1
