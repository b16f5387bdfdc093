"""While the outbox is away: writes to Supabase go on, are kept on the disk, and are moved in when it is back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from isobase_adapter.contracts import Intent, IntentGone, OutboxAway
from isobase_adapter.outbox.postgres import PostgresOutbox
from isobase_adapter.outbox.spool import Spool
from isobase_adapter.outbox.spooling import SpoolingOutbox
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing
from tests.adapter.outbox.conftest import CALL, LIMITS, ORDERS, TABLE, TwoSides, row
from tests.adapter.outbox.small_carrier import rows_of
from tests.adapter.outbox.test_drainer import drainer_of
from tests.plugins.wire_proxy import WireProxy, wire_proxy


@pytest.fixture
async def cut(sides: TwoSides) -> AsyncIterator[tuple[WireProxy, asyncpg.Pool[asyncpg.Record]]]:
    """A way to the outbox's database that can be cut."""
    address = sides.isobase_dsn.partition("@")[2].partition("/")[0]
    with wire_proxy(f"http://{address}") as proxy:
        dsn = sides.isobase_dsn.replace(address, proxy.url.removeprefix("http://"))
        async with asyncpg.create_pool(dsn, min_size=0, max_size=4, timeout=60) as pool:
            yield proxy, pool


def spooling(pool: asyncpg.Pool[asyncpg.Record], folder: Path, may_spool: bool = True) -> SpoolingOutbox:
    return SpoolingOutbox(PostgresOutbox(pool, uuid4(), LIMITS), folder, may_spool=lambda capability, epoch: may_spool)


async def begin(outbox: SpoolingOutbox, *things: Thing, target: Side = Side.ISOBASE, lease_s: float = 100.0) -> Intent:
    return await outbox.begin(ORDERS, target=target, epoch=0, call=CALL, things=things, lease_s=lease_s)


Cut = tuple[WireProxy, "asyncpg.Pool[asyncpg.Record]"]


def go_away(proxy: WireProxy) -> None:
    proxy.refuses = True
    proxy.cut_all()


async def test_writes_go_on_while_the_outbox_is_away_and_arrive_when_it_is_back(
    sides: TwoSides, cut: Cut, tmp_path: Path
) -> None:
    proxy, pool = cut
    outbox = spooling(pool, tmp_path)
    before = await begin(outbox, row(1))
    assert before.id > 0
    await outbox.settle(before)
    go_away(proxy)
    for number, state in ((1, "one"), (2, "two")):
        intent = await begin(outbox, TABLE)
        assert intent.is_queued
        await sides.supabase.execute("insert into public.orders (id, state) values ($1, $2)", number, state)
        await outbox.postpone(intent, [row(number)], "")
    refused = await begin(outbox, row(3))
    await outbox.settle(refused)
    assert outbox.spooled == 2
    with pytest.raises(OutboxAway):
        await outbox.merge()
    proxy.heals()
    assert await outbox.merge() == 2
    assert outbox.spooled == 0
    await drainer_of(sides.box, sides.carrier).drain(60)
    assert await rows_of(sides.isobase) == {1: "one", 2: "two"}
    await outbox.close()
    assert os.listdir(tmp_path) == []


async def test_nothing_is_spooled_where_isobase_is_the_writer_or_a_handover_is_heard_of(
    cut: Cut, tmp_path: Path
) -> None:
    proxy, pool = cut
    go_away(proxy)
    with pytest.raises(OutboxAway):
        await begin(spooling(pool, tmp_path), row(1), target=Side.SUPABASE)
    with pytest.raises(OutboxAway):
        await begin(spooling(pool, tmp_path, may_spool=False), row(1))
    with pytest.raises(OutboxAway):
        await begin(SpoolingOutbox(PostgresOutbox(pool, uuid4()), None, may_spool=lambda *_: True), row(1))


async def test_a_spooled_write_whose_lease_was_over_is_not_acknowledged(
    sides: TwoSides, cut: Cut, tmp_path: Path
) -> None:
    proxy, pool = cut
    outbox = spooling(pool, tmp_path)
    go_away(proxy)
    intent = await begin(outbox, TABLE, lease_s=0.0)
    proxy.heals()
    assert await outbox.merge() == 1
    with pytest.raises(IntentGone):
        await outbox.postpone(intent, [row(1)], "")
    assert await sides.box.entries() == [("pending", "isobase", "[]")]


async def test_what_a_forgotten_client_brings_after_a_handover_overwrites_nothing(
    sides: TwoSides, cut: Cut, tmp_path: Path
) -> None:
    proxy, pool = cut
    outbox = spooling(pool, tmp_path)
    go_away(proxy)
    await outbox.postpone(await begin(outbox, row(1)), [row(1)], "")
    await sides.supabase.execute("insert into public.orders (id, state) values (1, 'at Supabase')")
    await sides.isobase.execute("insert into public.orders (id, state) values (1, 'newer')")
    await sides.box.set_writer(Side.ISOBASE, 1)
    proxy.heals()
    await outbox.merge()
    await drainer_of(sides.box, sides.carrier).drain(60)
    assert await rows_of(sides.isobase) == {1: "newer"}
    letter = await sides.isobase.fetchrow(
        "select state, versions -> 'supabase' ->> 'state' as here, versions -> 'isobase' ->> 'state' as there"
        "  from isobase.outbox"
    )
    assert letter is not None
    assert tuple(letter) == ("dead", "at Supabase", "newer")


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from uuid import UUID
from isobase_adapter.contracts import CallRecord
from isobase_adapter.outbox.spool import Spool
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

async def main() -> None:
    spool = Spool(Path(sys.argv[1]), UUID(sys.argv[2]))
    for key, lease_s in ((1, 100.0), (2, 0.0)):
        thing = Thing(ThingKind.ROW, "public.orders", (key,))
        number = await spool.begin("table:public.orders", target=Side.ISOBASE, epoch=0, call=CallRecord("POST", "/"),
                                   things=[thing], lease_s=lease_s)
        if key == 1:
            await spool.end(number, [thing], "")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_a_killed_process_spooled_is_adopted_by_the_next(sides: TwoSides, tmp_path: Path) -> None:
    killed = uuid4()
    await sides.isobase.execute(
        "insert into isobase.migration_clients (id, name, host, pid, spooled) values ($1, 'killed', 'h', 1, 2)", killed
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(tmp_path), str(killed))
    assert await process.wait() == -9
    outbox = spooling(sides.isobase, tmp_path)
    assert await outbox.merge() == 2
    assert [key for _, _, key in await sides.box.entries()] == ["[1]", "[2]"]
    assert await sides.isobase.fetchval("select count(*) from isobase.migration_clients") == 0
    await outbox.close()
    assert os.listdir(tmp_path) == []


async def test_the_spool_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    spool, other = Spool(tmp_path, uuid4()), Spool(tmp_path, uuid4())
    assert spool.adoptable() == other.adoptable() == []
    spool.close()
    other.close()


async def test_a_spool_is_its_process_s_own_though_others_look_for_what_was_left_behind(tmp_path: Path) -> None:
    """They take a file that is just being made for one that was left behind, and delete it when they have adopted it."""
    looking = Spool(tmp_path, uuid4())
    is_over = threading.Event()
    adopted = 0

    def adopt() -> int:
        number = 0
        while not is_over.is_set():
            for one in looking.adoptable():
                number += 1
                one.close()
        return number

    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(adopt)
        try:
            for _ in range(300):
                client = uuid4()
                spool = Spool(tmp_path, client)
                try:
                    assert spool.client == client
                    await spool.begin(str(ORDERS), target=Side.ISOBASE, epoch=0, call=CALL, things=[row(1)], lease_s=9)
                    with contextlib.closing(sqlite3.connect(spool.path, timeout=0)) as reader:
                        with pytest.raises(sqlite3.OperationalError, match="locked"):
                            reader.execute("select count(*) from entries")
                    assert spool.path.exists()
                    await spool.forget([1])
                finally:
                    spool.close()
        finally:
            is_over.set()
        adopted = others.result(10)
    looking.close()
    assert adopted, "none was ever taken for one left behind: nothing was tried"
    assert os.listdir(tmp_path) == []


async def test_what_cannot_be_adopted_keeps_nothing_else_from_being_adopted(tmp_path: Path) -> None:
    """Another account's file, a link that somebody put there, something that is no spool at all."""
    (tmp_path / "a.spool").mkdir()
    outside = tmp_path / "outside" / "mine.txt"
    outside.parent.mkdir()
    outside.write_text("of the app")
    outside.chmod(0o644)
    (tmp_path / "b.spool").symlink_to(outside)
    (tmp_path / "c.spool").write_text("no database, though it is long enough to be taken for one" * 50)
    (tmp_path / "d.spool").touch()
    left = Spool(tmp_path, uuid4(), path=tmp_path / "d.spool")
    left.close(keeps_file=True)
    spool = Spool(tmp_path, uuid4())
    adopted = spool.adoptable()
    try:
        assert [one.path.name for one in adopted] == ["d.spool"]
        assert outside.stat().st_mode & 0o777 == 0o644
        assert left.path.stat().st_mode & 0o077 == 0
    finally:
        for one in (*adopted, spool):
            one.close()


async def test_a_spool_that_cannot_be_read_stays_and_holds_up_no_other(sides: TwoSides, tmp_path: Path) -> None:
    for name, changed in (
        ("a.spool", 'update entries set things = \'[{"kind": "unheard of"}]\''),
        ("b.spool", "select 1"),
    ):
        (tmp_path / name).touch()
        left = Spool(tmp_path, uuid4(), path=tmp_path / name)
        await left.begin(str(ORDERS), target=Side.ISOBASE, epoch=0, call=CALL, things=[row(1)], lease_s=0)
        left.close()
        with contextlib.closing(sqlite3.connect(tmp_path / name, isolation_level=None)) as database:
            database.execute(changed)
    outbox = spooling(sides.isobase, tmp_path)
    try:
        assert await outbox.merge() == 1
        assert [key for _, _, key in await sides.box.entries()] == ["[1]"]
        assert outbox.spooled == 1
    finally:
        await outbox.close()
    assert (tmp_path / "a.spool").exists()
