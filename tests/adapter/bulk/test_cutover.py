"""A cutover happens where its gates are met, and there is a way back from every stage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from isobase_adapter.bulk.capture import drop_capture, slot_name
from isobase_adapter.bulk.copy import copy_tables
from isobase_adapter.bulk.cutover import Change, Cutover, opened_cutover, page_of
from isobase_adapter.bulk.definitions import Phase
from isobase_adapter.bulk.errors import Refused
from isobase_adapter.bulk.everything import sync_of
from isobase_adapter.bulk.gates import GateLimits
from isobase_adapter.bulk.parts import opened_parts
from isobase_adapter.bulk.polling import Polling
from isobase_adapter.bulk.report import page_html, page_text
from isobase_adapter.bulk.schema import make_definitions
from isobase_adapter.bulk.sync_book import only_one
from isobase_adapter.bulk.written import tables_written_by
from isobase_adapter.rows.sequences import FALLBACK_GAP
from tests.adapter.bulk.conftest import Two

NOTES = "table:public.notes"
LIMITS = GateLimits(calls=10, hours=1)
FILL = """
insert into public.authors (name) select 'author ' || n from generate_series(1, 5) as n;
insert into public.notes (author_id, body) select n % 5 + 1, 'note ' || n from generate_series(1, 40) as n;
"""


@pytest.fixture
async def moved(two: Two) -> Two:
    """Both sides equal; notes are compared, for everybody."""
    await make_definitions(two.source, two.target, Phase.BEFORE)
    await two.source.execute(FILL)
    await copy_tables(two.dsns)
    await make_definitions(two.source, two.target, Phase.AFTER)
    await two.target.execute(
        """
        insert into isobase.flags (pattern, stage, before) values ('table:public.notes', 'shadow_read', 'dual_write');
        insert into isobase.writers (pattern) values ('table:public.notes');
        insert into isobase.migration_counters (capability, minute, name, value)
          values ('table:public.notes', now(), 'compared', 12);
        """
    )
    return two


@asynccontextmanager
async def cutting(two: Two) -> AsyncIterator[Cutover]:
    async with opened_parts(two.dsns, {}) as parts, opened_cutover(parts, by="a test") as cutover:
        yield cutover


def sync_gate(change: Change) -> str:
    return next(gate.value for gate in change.gates if gate.name == "sync")


def unmet(change: Change) -> set[str]:
    return {gate.name for gate in change.gates if not gate.is_met}


async def test_where_all_gates_are_met_everybody_reads_from_isobase_and_it_is_written_first(moved: Two) -> None:
    async with cutting(moved) as cutover:
        looked = await cutover.cut_over(NOTES, LIMITS, is_dry_run=True)
        assert (unmet(looked), looked.reason, looked.is_done, looked.stage) == (set(), "", False, "shadow_read")
        done = await cutover.cut_over(NOTES, LIMITS, reason="it is time")
    assert done.reason == ""
    assert (done.is_done, done.stage, done.writer) == (True, "live", "isobase")
    assert done.held_up_s is not None
    # No number of one side is ever given out by the other.
    assert await moved.target.fetchval("select nextval('public.notes_id_seq')") == 41
    assert await moved.source.fetchval("select nextval('public.notes_id_seq')") > FALLBACK_GAP
    reasons = await moved.target.fetch("select reason, changed_by from isobase.flag_history order by id desc limit 1")
    assert [tuple(row) for row in reasons] == [("it is time", "a test")]
    assert await moved.target.fetchval("select count(*) from isobase.migration_events where name = 'handover'") == 1


PLANTED = (
    (
        "target",
        "update public.notes set body = 'other' where id = 7",
        "update public.notes set body = 'note 7' where id = 7",
        "rows",
    ),
    (
        "target",
        "alter table public.notes alter column body set default 'x'",
        "alter table public.notes alter column body set default ''",
        "definitions",
    ),
    (
        "target",
        'alter policy "owners see" on public.notes using (true)',
        'alter policy "owners see" on public.notes using (owner = (select auth.uid()))',
        "definitions",
    ),
    (
        "source",
        "create trigger t before insert on public.notes for each row execute function public.touch()",
        "drop trigger t on public.notes",
        "definitions",
    ),
    (
        "both",
        "create function public.audit() returns trigger language plpgsql set search_path to '' as"
        ' $$ begin insert into public."authors" (name) values (new.body); return new; end $$;'
        " create trigger audit after insert on public.notes for each row execute function public.audit()",
        "drop function public.audit() cascade",
        "together",
    ),
    (
        "both",
        "create table public.replies (id int primary key, note bigint references public.notes on delete set null);"
        " insert into isobase.flags (pattern, stage, before) values ('table:public.replies', 'off', 'off')",
        "drop table public.replies; delete from isobase.flags where pattern = 'table:public.replies'",
        "together",
    ),
    (
        "target",
        "update isobase.migration_counters set value = 3",
        "update isobase.migration_counters set value = 30",
        "compared reads",
    ),
    (
        "target",
        "insert into isobase.migration_counters (capability, minute, name, value)"
        " values ('table:public.notes', now(), 'failed', 2)",
        "delete from isobase.migration_counters where name = 'failed'",
        "failed reads",
    ),
    (
        "target",
        "update isobase.flags set stage = 'dual_write', before = 'off'",
        "update isobase.flags set stage = 'shadow_read', before = 'dual_write'",
        "stage",
    ),
    (
        "target",
        "insert into isobase.mismatches (capability, fingerprint, cause, occurrences)"
        " values ('table:public.notes', 'column body', '{}', 1)",
        "update isobase.mismatches set explained = 'the clock'",
        "mismatches",
    ),
    (
        "target",
        "insert into isobase.outbox (state, capability, target, thing, next_at) values ('dead', 'table:public.notes',"
        """ 'isobase', '{"kind": "row", "resource": "public.notes", "key": [1]}', 'infinity')""",
        "delete from isobase.outbox",
        "outbox",
    ),
    (
        "target",
        "insert into isobase.migration_clients (id, name, host, pid, seen_at)"
        " values (gen_random_uuid(), 'app', 'h', 1, now() - interval '1 hour')",
        "delete from isobase.migration_clients",
        "clients",
    ),
    (
        "source",
        "select pg_create_logical_replication_slot('SLOT', 'pgoutput')",
        "select pg_drop_replication_slot('SLOT')",
        "sync",
    ),
)


async def test_a_gate_that_is_not_met_is_named_and_nothing_is_changed(moved: Two) -> None:
    slot = await slot_name(moved.source)
    async with cutting(moved) as cutover:
        for at, planted, mended, gate in PLANTED:
            sides = {"target": [moved.target], "source": [moved.source], "both": [moved.source, moved.target]}[at]
            for connection in sides:
                await connection.execute(planted.replace("SLOT", slot))
            try:
                limits = LIMITS if gate == "rows" else GateLimits(calls=10, hours=1, verifies=False)
                change = await cutover.cut_over(NOTES, limits)
            finally:
                for connection in sides:
                    await connection.execute(mended.replace("SLOT", slot))
            assert unmet(change) == {gate}, planted
            assert gate in change.reason
            assert (change.is_done, change.writer) == (False, "supabase")
            assert change.stage != "live"
            assert f"{gate} " in page_text(page_of([change]))
            assert "<td>NO</td>" in page_html(page_of([change]))
        assert unmet(await cutover.cut_over(NOTES, LIMITS, is_dry_run=True)) == set()


async def test_a_cutover_waits_for_what_is_on_its_way(moved: Two) -> None:
    await moved.target.execute(
        "insert into isobase.outbox (state, capability, target, thing, next_at) values ('pending', 'table:public.notes',"
        """ 'isobase', '{"kind": "row", "resource": "public.notes", "key": [1]}', 'infinity')"""
    )

    async def arrive() -> None:
        await asyncio.sleep(0.5)
        await moved.target.execute("delete from isobase.outbox")

    async with cutting(moved) as cutover, asyncio.TaskGroup() as tasks:
        limits = GateLimits(calls=10, hours=1, verifies=False)
        checking = tasks.create_task(cutover.cut_over(NOTES, limits, is_dry_run=True))
        tasks.create_task(arrive())
        change = await checking
    assert unmet(change) == set()


async def test_every_stage_goes_back_to_the_one_before_down_to_off(moved: Two) -> None:
    async with cutting(moved) as cutover:
        await cutover.cut_over(NOTES, LIMITS)
        await moved.target.execute("insert into public.notes (author_id, body) values (1, 'at isobase')")
        await moved.source.execute("insert into public.notes (id, author_id, body) values (41, 1, 'at isobase')")
        seen = []
        while True:
            back = await cutover.roll_back(NOTES)
            assert back.reason == ""
            assert back.is_done
            seen.append((back.stage, back.writer))
            if back.stage == "off":
                break
        with pytest.raises(Refused):
            await cutover.roll_back(NOTES)
    assert seen == [("shadow_read", "supabase"), ("dual_write", "supabase"), ("off", "supabase")]
    # Supabase goes on behind all that Isobase gave out.
    assert await moved.source.fetchval("select nextval('public.notes_id_seq')") > 41


async def test_back_from_complete_what_isobase_alone_has_is_carried_first(moved: Two) -> None:
    async with cutting(moved) as cutover:
        await cutover.cut_over(NOTES, LIMITS)
        await moved.target.execute("update isobase.flags set stage = 'ramp_down', before = 'live'")
        await moved.target.execute("update isobase.flags set stage = 'complete', before = 'ramp_down'")
        await moved.target.execute(
            "update public.notes set body = 'since' where id < 4; delete from public.notes where id = 9"
        )
        back = await cutover.roll_back(NOTES)
    assert (back.stage, back.writer, back.reason) == ("ramp_down", "isobase", "")
    assert back.compared == ["public.notes"]
    assert await moved.source.fetchval("select count(*) from public.notes where body = 'since'") == 3
    assert await moved.source.fetchval("select count(*) from public.notes") == 39


async def test_a_share_of_users_goes_back_without_moving_the_writer(moved: Two) -> None:
    await moved.target.execute("update isobase.flags set stage = 'live', before = 'shadow_read', share_percent = 10")
    async with cutting(moved) as cutover:
        back = await cutover.roll_back(NOTES)
    assert (back.stage, back.writer, back.held_up_s) == ("shadow_read", "supabase", None)


async def test_a_handover_waits_until_sync_has_read_the_log(moved: Two) -> None:
    async with opened_parts(moved.dsns, {}) as parts, opened_cutover(parts) as cutover:
        await only_one(moved.target)
        sync = sync_of(parts, moved.target, only_rows=True)
        running = asyncio.create_task(sync.run())
        try:
            async with asyncio.timeout(90):
                looked = await cutover.cut_over(NOTES, LIMITS, is_dry_run=True)
                while unmet(looked) or "running" not in sync_gate(looked):
                    await asyncio.sleep(0.2)
                    looked = await cutover.cut_over(NOTES, LIMITS, is_dry_run=True)
                await moved.source.execute("update public.notes set body = 'in the log alone' where id <= 30")
                change = await cutover.cut_over(NOTES, GateLimits(calls=0, hours=1, verifies=False))
            assert change.reason == ""
            assert change.is_done
            assert (
                await moved.target.fetchval("select count(*) from public.notes where body = 'in the log alone'") == 30
            )
        finally:
            sync.stop()
            await running
            for connection in (moved.source, moved.target):
                await drop_capture(connection)


async def test_a_handover_waits_until_polling_has_looked_once_more(moved: Two) -> None:
    async with opened_parts(moved.dsns, {}) as parts, opened_cutover(parts) as cutover:
        await only_one(moved.target)
        sync = sync_of(parts, moved.target, only_rows=True)
        running = asyncio.create_task(Polling(sync, parts.databases, poll_s=600).run())
        limits = GateLimits(calls=0, hours=1, verifies=False)
        try:
            async with asyncio.timeout(60):
                while sync.state.polled_at is None:
                    await asyncio.sleep(0.05)
            looked = await cutover.cut_over(NOTES, limits, is_dry_run=True)
            assert sync_gate(looked) == "by polling, running"
            await moved.source.execute("update public.notes set body = 'by a trigger' where id <= 30")
            change = await cutover.cut_over(NOTES, limits)
            assert (change.reason, change.is_done) == ("", True)
            assert await moved.target.fetchval("select count(*) from public.notes where body = 'by a trigger'") == 30
        finally:
            sync.stop()
            await running


@pytest.mark.parametrize(
    "source, written",
    [
        ("begin insert into public.log (a) values (1); end", ["public.log"]),
        ('UPDATE  "public"."Log Book" set x = 1', ["public.Log Book"]),
        ("delete from only Log where true", ["private.log", "public.log"]),
        ("select 1; new.updated_at = now()", []),
        ("insert into elsewhere.log values (1)", []),
    ],
)
def test_tables_that_a_trigger_writes_are_read_from_its_text(source: str, written: list[str]) -> None:
    assert tables_written_by(source, {"public.log", "private.log", "public.Log Book"}) == written


async def test_a_sync_that_was_killed_does_not_count_as_running(moved: Two) -> None:
    slot = await slot_name(moved.source)
    await moved.source.execute(f"select pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    await moved.target.execute(
        "insert into isobase.migration_jobs (job, part, state) values ('sync', 'state', '{\"is_running\": true}')"
    )
    try:
        async with cutting(moved) as cutover:
            limits = GateLimits(calls=10, hours=1, verifies=False)
            assert unmet(await cutover.cut_over(NOTES, limits, is_dry_run=True)) == {"sync"}
            await only_one(moved.target)
            assert unmet(await cutover.cut_over(NOTES, limits, is_dry_run=True)) == set()
    finally:
        await moved.source.execute(f"select pg_drop_replication_slot('{slot}')")


async def test_patterns_with_flags_of_their_own_are_named_and_left_alone(moved: Two) -> None:
    async with cutting(moved) as cutover:
        looked = await cutover.cut_over("*", LIMITS, is_dry_run=True)
    assert looked.left_alone == [NOTES]
    assert "isobase migrate flags set '*' dual_write" in {gate.todo for gate in looked.gates}
    assert NOTES in page_text(page_of([looked])).partition("*: gates\n")[0].partition("flags of their own")[2]
