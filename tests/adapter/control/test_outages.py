"""What a client knows while the control store is away, before it ever heard of it, and when processes die."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from isobase_adapter.contracts import Event, Flag, Snapshot
from isobase_adapter.control.errors import ControlAway, ControlError, NothingKnown, NotInstalled
from isobase_adapter.control.following import StoreControl, pid_namespace, snapshot_file_of
from isobase_adapter.control.operator import Operator
from isobase_adapter.control.postgres import PostgresStore
from isobase_adapter.control.records import Heartbeat
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.control.store import Store
from isobase_adapter.stages import Stage
from tests.adapter.control.conftest import Stores
from tests.adapter.control.test_stores import ORDERS
from tests.plugins.patience import until
from tests.plugins.stack import DatabaseServer
from tests.plugins.wire_proxy import WireProxy, wire_proxy


class Away:
    """A store behind a network that a test cuts, and an operator who reaches it directly."""

    def __init__(self, dsn: str, proxy: WireProxy, exits: AsyncExitStack) -> None:
        place, through = urlsplit(dsn), urlsplit(proxy.url)
        self.dsn = place._replace(netloc=f"{place.username}:{place.password}@127.0.0.1:{through.port}").geturl()
        self.direct = dsn
        self.proxy = proxy
        self.exits = exits

    def cut(self) -> None:
        self.proxy.refuses = True
        self.proxy.cut_all()

    def control(self, folder: Path | None = None, start_timeout_s: float = 60.0) -> StoreControl:
        file = snapshot_file_of(folder, "the store") if folder is not None else None
        control = StoreControl(PostgresStore(self.dsn), snapshot_file=file, start_timeout_s=start_timeout_s)
        self.exits.push_async_callback(control.close)
        return control

    async def operator(self) -> Operator:
        return await self.exits.enter_async_context(Operator(PostgresStore(self.direct)))


@pytest.fixture
async def away(dsn: str) -> AsyncIterator[Away]:
    place = urlsplit(dsn)
    with wire_proxy(f"http://{place.hostname}:{place.port}") as proxy:
        async with AsyncExitStack() as exits:
            yield Away(dsn, proxy, exits)


async def test_the_last_known_flags_stay_while_the_store_is_away_and_are_renewed_after(away: Away) -> None:
    operator, control = await away.operator(), away.control()
    await operator.set_flag(ORDERS, Stage.DUAL_WRITE)
    await control.start()
    known = control.snapshot
    away.cut()
    await until(lambda: control.is_away)
    control.tell(Event("fallback", ORDERS))
    control.count(ORDERS, "calls", 3)
    await operator.set_flag(ORDERS, Stage.SHADOW_READ, timeout_s=0)
    assert control.snapshot.flags == known.flags
    assert control.snapshot.heard_at is not None
    with pytest.raises(ControlAway):
        await control.reload()
    away.proxy.heals()
    await until(lambda: control.snapshot.flags[ORDERS].stage is Stage.SHADOW_READ)
    await until(lambda: not control.is_away)
    await control.close()
    assert [event.name for event in await operator.store.read_events(5)] == ["fallback"]


async def test_a_silent_store_counts_as_away_too(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isobase_adapter.control.postgres_listener.STATEMENT_TIMEOUT_S", 0.3)
    control = away.control()
    await control.start()
    away.proxy.is_silent = True
    await until(lambda: control.is_away)
    away.proxy.cut_all()
    away.proxy.heals()
    await until(lambda: not control.is_away)


async def test_a_client_that_never_heard_anything_chooses_no_side(away: Away) -> None:
    away.cut()
    control = away.control(start_timeout_s=1.0)
    with pytest.raises(NothingKnown, match="no side can be chosen"):
        await control.start()
    with pytest.raises(NothingKnown):
        _ = control.snapshot
    away.proxy.heals()
    await until(lambda: not control.is_away)
    await control.start()
    assert control.snapshot.flags == {}


async def test_a_client_starts_with_the_flags_of_its_file_while_the_store_is_away(away: Away, tmp_path: Path) -> None:
    operator, first = await away.operator(), away.control(tmp_path)
    await operator.set_flag(ORDERS, Stage.DUAL_WRITE, share_percent=10, users=["u"])
    await operator.set_rule(ORDERS, "ignore_columns", ["at"])
    await first.start()
    known = first.snapshot
    await first.close()
    away.cut()
    second = away.control(tmp_path, start_timeout_s=1.0)
    await second.start()
    assert (second.snapshot.flags, second.snapshot.rules) == (known.flags, known.rules)
    assert second.is_away
    assert (tmp_path / "flags.json").stat().st_mode & 0o077 == 0


def test_a_file_that_is_old_cut_off_or_of_another_store_is_not_used(tmp_path: Path) -> None:
    file = snapshot_file_of(tmp_path, "one")
    assert file.read() is None
    flag = Flag("auth", Stage.LIVE, Stage.SHADOW_READ)
    file.write(Snapshot({"auth": flag}, heard_at=datetime.now(UTC)))
    found = file.read()
    assert found is not None
    assert found.flags == {"auth": flag}
    assert snapshot_file_of(tmp_path, "another").read() is None
    moved = (tmp_path / "flags.json").rename(tmp_path / "elsewhere.json")
    (tmp_path / "flags.json").symlink_to(moved)
    assert file.read() is None, "a link that somebody put there is not followed"
    file.write(Snapshot({"auth": flag}, heard_at=datetime.now(UTC)))
    assert file.read() is not None
    assert not (tmp_path / "flags.json").is_symlink()
    file.write(Snapshot({"auth": flag}, heard_at=datetime.now(UTC) - timedelta(hours=2)))
    assert file.read() is None
    (tmp_path / "flags.json").write_text('{"key": "one", "ver')
    assert file.read() is None


async def test_a_database_without_the_tables_is_named_as_such(postgres: DatabaseServer) -> None:
    postgres.execute("create database bare")
    control = StoreControl(PostgresStore(postgres.dsn("bare")))
    try:
        with pytest.raises(NotInstalled, match="start this version of Isobase on it once"):
            await control.start()
    finally:
        await control.close()
        postgres.execute("drop database bare with (force)")


async def test_a_flag_that_this_version_cannot_read_leaves_the_last_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "control.sqlite3"
    async with Operator(SqliteStore(path)) as operator:
        await operator.set_flag("auth", Stage.DUAL_WRITE)
        control = StoreControl(SqliteStore(path))
        try:
            await control.start()
            with sqlite3.connect(path) as connection:
                connection.execute("update flags set stage = 'sideways'")
                connection.execute("update migration_state set version = version + 1")
            connection.close()
            await until(lambda: isinstance(control.error, ControlError))
            assert control.snapshot.flags["auth"].stage is Stage.DUAL_WRITE
        finally:
            await control.close()


async def test_a_listener_that_fails_does_not_end_the_following(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    operator, control = await stores.operator(), await stores.control()

    def fails(_: Snapshot) -> None:
        raise RuntimeError("no")

    end = control.on_change(fails)
    with caplog.at_level(logging.CRITICAL, "isobase.migration"):
        await operator.set_flag("auth", Stage.DUAL_WRITE)
        end()
        await operator.set_flag("auth", Stage.OFF)
    await until(lambda: control.snapshot.flags["auth"].stage is Stage.OFF)


@pytest.fixture
def pid_that_is_gone() -> int:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return int(done.stdout)


async def test_a_client_signs_off_those_of_its_host_whose_processes_are_gone(
    make_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch, pid_that_is_gone: int
) -> None:
    monkeypatch.setattr("isobase_adapter.control.records.SILENT_AFTER_S", 0.05)
    host = socket.gethostname()
    async with Operator(make_store()) as operator:
        await operator.set_flag("auth", Stage.DUAL_WRITE)
        version = (await operator.store.read_snapshot()).version
        for name, pid, on, seen, spooled in (
            ("gone", pid_that_is_gone, host, version, 0),
            # Its last write may have been sent in stage off, a moment ago, and arrive yet.
            ("gone before the last change", pid_that_is_gone, host, version - 1, 0),
            ("gone with writes", pid_that_is_gone, host, version, 1),
            ("gone, with writes in its spool that were untold", pid_that_is_gone, host, version, 0),
            ("elsewhere", pid_that_is_gone, "elsewhere", version, 0),
            ("stuck", os.getppid(), host, version, 0),
        ):
            state = {"pid_namespace": pid_namespace(), "spool_dir": "/spool" if "untold" in name else None}
            await operator.store.beat(Heartbeat(uuid4(), name, on, pid, seen, spooled, state))
        await asyncio.sleep(0.1)
        control = StoreControl(make_store(), name="new")
        try:
            await control.start()
            names = {client.name for client in await operator.clients()}
        finally:
            await control.close()
        beside = StoreControl(make_store(), name="beside")
        spooled = 0

        async def adopt() -> str:
            nonlocal spooled
            spooled = 1
            return "/spool"

        beside.reports(adopt=adopt, spooled=lambda: spooled)
        try:
            await beside.start()
            adopted = {client.name: client.spooled for client in await operator.clients()}
        finally:
            await beside.close()
    kept = {"gone before the last change", "gone with writes", "elsewhere", "stuck"}
    assert names == {*kept, "gone, with writes in its spool that were untold", "new"}
    # Who takes them over has said so before.
    assert adopted.keys() - {"new"} == {*kept, "beside"}
    assert adopted["beside"] == 1


async def test_a_client_acts_upon_a_change_once_no_call_of_an_older_stage_is_on_its_way(stores: Stores) -> None:
    operator, control = await stores.operator(), await stores.control(name="busy")
    on_its_way = [control.snapshot.version]
    control.reports(acts_upon=lambda newest: min([newest, *on_its_way]))
    done = await operator.set_flag("auth", Stage.DUAL_WRITE, timeout_s=0.5)
    assert [client.name for client in done.not_heard] == ["busy"]
    await until(lambda: "auth" in control.snapshot.flags)
    assert control.snapshot.flags["auth"].stage is Stage.DUAL_WRITE
    on_its_way.clear()
    heard, late = await operator.wait_until_heard(done.version, timeout_s=60)
    assert ([client.name for client in heard], late) == (["busy"], ())
