"""A client that knows keys and no database goes to Isobase and back, on a control file of its host."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from isobase_adapter import create_async_migration_client
from isobase_adapter.bulk.capture import slot_name
from isobase_adapter.bulk.connections import connected
from isobase_adapter.bulk.cutover import Change
from isobase_adapter.bulk.gates import GateLimits
from isobase_adapter.bulk.host import NOT_SEEN, opened_host_cutover, opened_host_parts
from isobase_adapter.bulk.parts import Api
from isobase_adapter.control.operator import Operator
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.settings import MigrationSettings
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from isobase_deploy.cli import main
from tests.adapter.pair import Pair, processes_of

NOTES = "table:public.notes"
WAIT_S = 60.0
LIMITS = GateLimits(calls=1, hours=1)


def keys_of(pair: Pair) -> dict[str, str]:
    return {name: value for name, value in pair.environment().items() if not name.endswith("_DB_URL")}


def apis_of(pair: Pair) -> dict[Side, Api]:
    return {
        Side.SUPABASE: Api(pair.supabase.url, pair.supabase.service_role_key),
        Side.ISOBASE: Api(pair.isobase.url, pair.isobase.service_role_key),
    }


@asynccontextmanager
async def client_of(pair: Pair, control: Path) -> AsyncIterator[Any]:
    settings = MigrationSettings.from_environment(
        keys_of(pair), control_file=control, second_write_timeout_s=WAIT_S, is_shared=False
    )
    client = await create_async_migration_client(pair.supabase.url, pair.supabase.service_role_key, migration=settings)
    try:
        yield client
    finally:
        await client.migration.aclose()


async def set_stage(control: Path, *stages: Stage) -> None:
    async with Operator(SqliteStore(control), by="a test") as operator:
        for stage in stages:
            await operator.set_flag(NOTES, stage, timeout_s=WAIT_S)


async def change(
    pair: Pair, control: Path, action: str, *, are_sequences_moved: bool = True, has_databases: bool = False
) -> Change:
    dsns = {Side.SUPABASE: pair.supabase.db_url, Side.ISOBASE: pair.isobase.db_url} if has_databases else {}
    async with (
        opened_host_parts(control, dsns, apis_of(pair)) as parts,
        opened_host_cutover(parts, by="a test", are_sequences_moved=are_sequences_moved) as cutting,
    ):
        if action in ("cutover", "look"):
            return await cutting.cut_over(NOTES, LIMITS, is_dry_run=action == "look")
        return await cutting.roll_back(NOTES)


def titles(pair: Pair, side: str) -> list[str]:
    return sorted(row["title"] for row in getattr(pair, side).rows("public.notes"))


async def wait_for(client: Any, stage: Stage) -> None:
    async with asyncio.timeout(WAIT_S):
        while client.migration.stage("table:notes") is not stage:
            await asyncio.sleep(0.02)


async def test_it_goes_to_isobase_and_back_and_loses_nothing_while_isobase_is_killed(
    killable_pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair, control = killable_pair, tmp_path / "control.sqlite"
    owner = str(uuid.uuid4())
    async with client_of(pair, control) as client, client_of(pair, control) as other:

        async def note(title: str, by: Any = client) -> int:
            answer = await by.table("notes").insert({"title": title, "owner_id": owner}).execute()
            return int(answer.data[0]["id"])

        await note("off")
        assert titles(pair, "isobase") == []
        await set_stage(control, Stage.DUAL_WRITE)
        await wait_for(client, Stage.DUAL_WRITE)
        number = await note("both")
        assert titles(pair, "isobase") == ["both"]

        (process,) = processes_of(pair.isobase)
        process.kill_hard()
        await note("while it is down")
        await note("by the other", other)
        await client.table("notes").delete().eq("id", number).execute()
        assert await client.migration.pending() == 3
        assert (
            await asyncio.to_thread(main, ["migrate", "outbox", "list", "--control-file", str(control), "-o", "json"])
            == 0
        )
        shown = capsys.readouterr().out
        assert len(json.loads(shown)["entries"]) == 3
        assert "while it is down" not in shown
        process.start()
        assert (await client.migration.drain(WAIT_S)).waiting == 0
        # What was there before is the copy's part of a move; here the app writes it once more.
        await client.table("notes").delete().eq("title", "off").execute()
        assert pair.differing(["public.notes"]) == {}

        await set_stage(control, Stage.SHADOW_READ)
        await wait_for(client, Stage.SHADOW_READ)
        async with Operator(SqliteStore(control)) as operator, asyncio.timeout(WAIT_S):
            while not any(count.name == "compared" for count in await operator.store.read_counts(_long_ago())):
                await client.table("notes").select("title").execute()
                await asyncio.sleep(0.1)

        pair.isobase.query("alter table public.notes alter column body set default 'other'")
        pair.supabase.query("select pg_create_logical_replication_slot(%s, 'pgoutput')", await slot_name_of(pair))
        looked = await change(pair, control, "look", has_databases=True)
        assert {gate.name for gate in looked.gates if not gate.is_met} == {"definitions", "sync"}, looked.gates
        assert {"together", "rows"} <= {gate.name for gate in looked.gates}
        pair.supabase.query("select pg_drop_replication_slot(%s)", await slot_name_of(pair))
        # Without the databases' URLs nobody can tell, and it is said.
        looked = await change(pair, control, "look")
        assert all(gate.is_met for gate in looked.gates)
        assert {gate.name for gate in looked.gates if gate.value == NOT_SEEN} == {"sync", "together", "definitions"}
        pair.isobase.query("alter table public.notes alter column body drop default")

        refused = await change(pair, control, "cutover", are_sequences_moved=False)
        assert "--sequences-moved" in refused.reason
        pair.isobase.query("select setval('public.notes_id_seq', 1000)")
        pair.supabase.query("select setval('public.notes_id_seq', 1000000)")
        done = await change(pair, control, "cutover")
        assert (done.is_done, done.writer, done.stage) == (True, "isobase", "live"), done
        assert await note("live") == 1001
        assert await note("live by the other", other) == 1002
        assert pair.differing(["public.notes"]) == {}

        back = await change(pair, control, "rollback")
        assert (back.is_done, back.writer, back.stage) == (True, "supabase", "shadow_read"), back
        await note("back")
        for before in (Stage.DUAL_WRITE, Stage.OFF):
            assert (await change(pair, control, "rollback")).stage == before
        await wait_for(client, Stage.OFF)
        await note("off again")
        assert titles(pair, "supabase") == sorted([*titles(pair, "isobase"), "off again"])


async def slot_name_of(pair: Pair) -> str:
    async with connected(pair.supabase.db_url, "test") as connection:
        return await slot_name(connection)


def _long_ago() -> Any:
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC) - timedelta(hours=1)
