"""What operators do with dead letters, by functions and by the command line."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from isobase_adapter.carrying import Carriers
from isobase_adapter.contracts import Event
from isobase_adapter.drainer import Drainer
from isobase_adapter.outbox.entries import State
from isobase_adapter.outbox.letters import LetterRefused, Letters
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.rows.sql_carrier import RowCarrier
from isobase_adapter.sides import Side
from isobase_adapter.things import ThingKind
from isobase_deploy.cli import main
from tests.adapter.outbox.conftest import TwoSides, row
from tests.adapter.outbox.small_carrier import rows_of
from tests.adapter.outbox.test_drainer import drainer_of, postponed


async def conflict_of(sides: TwoSides) -> int:
    """A row that is newer on both sides; returns its letter's number."""
    await sides.supabase.execute("insert into public.orders (id, state) values (1, 'here')")
    await sides.isobase.execute("insert into public.orders (id, state) values (1, 'there')")
    await postponed(sides, row(1))
    await sides.isobase.execute("update isobase.outbox set before_hash = 'of neither'")
    await drainer_of(sides.box, sides.carrier).drain(60)
    number: int = await sides.isobase.fetchval("select id from isobase.outbox")
    return number


@pytest.mark.parametrize(("keep", "state"), [(Side.SUPABASE, "here"), (Side.ISOBASE, "there")])
async def test_an_operator_says_which_version_of_a_conflict_counts(sides: TwoSides, keep: Side, state: str) -> None:
    letters = Letters(sides.isobase)
    number = await conflict_of(sides)
    with pytest.raises(LetterRefused, match="which side's version counts"):
        await letters.retry(number)
    retried = await letters.retry(number, keep=keep, by="Kim")
    assert (retried.state, retried.target) == (State.PENDING, keep.other)
    await drainer_of(sides.box, sides.carrier).drain(60)
    assert await rows_of(sides.supabase) == await rows_of(sides.isobase) == {1: state}
    told = await sides.isobase.fetchval(
        "select detail ->> 'by' from isobase.migration_events where name = 'letter_retried'"
    )
    assert told == "Kim"


async def test_a_letter_is_dropped_with_a_reason(sides: TwoSides) -> None:
    letters = Letters(sides.isobase)
    number = await conflict_of(sides)
    with pytest.raises(LetterRefused, match="reason"):
        await letters.drop(number, reason=" ")
    await letters.drop(number, reason="both are wrong", by="Kim")
    assert await letters.list() == ()
    told = await sides.isobase.fetchval("select detail ->> 'reason' from isobase.migration_events")
    assert told == "both are wrong"


async def test_a_letter_can_name_another_key(sides: TwoSides) -> None:
    letters = Letters(sides.isobase)
    number = await conflict_of(sides)
    with pytest.raises(LetterRefused, match="1 values, not 2"):
        await letters.edit(number, key=(1, 2))
    for key in (([1],), ({"id": 1},), (None,)):
        with pytest.raises(LetterRefused, match="texts and numbers"):
            await letters.edit(number, key=key)
    assert (await letters.edit(number, key=(9,))).things == (row(9),)


async def test_only_dead_letters_are_decided_about(sides: TwoSides) -> None:
    letters = Letters(sides.isobase)
    intent = await sides.box.begin(row(1))
    for decision in (letters.retry(intent.id), letters.drop(intent.id, reason="x"), letters.edit(intent.id, key=(2,))):
        with pytest.raises(LetterRefused, match="no dead letter"):
            await decision
    with pytest.raises(LetterRefused, match="no entry 999999"):
        await letters.show(999_999)


async def test_what_is_shown_holds_no_secret(sides: TwoSides) -> None:
    number = await conflict_of(sides)
    versions = {
        "supabase": {"id": 1, "api_token": "s3cret-a"},
        "isobase": json.dumps({"id": 1, "password": "s3cret-b"}),
    }
    await sides.isobase.execute("update isobase.outbox set versions = $1::text::jsonb", json.dumps(versions))
    shown = await Letters(sides.isobase).show(number)
    assert "s3cret" not in str(shown)
    assert set(shown.versions) == {"supabase", "isobase"}


async def test_the_commands_list_show_retry_and_drain(
    sides: TwoSides, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPABASE_DB_URL", sides.supabase_dsn)
    monkeypatch.setenv("ISOBASE_DB_URL", sides.isobase_dsn)

    async def isobase(*arguments: str) -> tuple[int, Any]:
        code = await asyncio.to_thread(main, ["migrate", *arguments, "-o", "json"])
        output = capsys.readouterr().out
        return code, json.loads(output) if output else None

    number = str(await conflict_of(sides))
    code, listed = await isobase("outbox", "list", "--state", "dead")
    assert (code, [entry["is_conflict"] for entry in listed["entries"]]) == (0, [True])
    code, shown = await isobase("outbox", "show", number)
    assert (code, shown["entry"]["versions"]["isobase"]["state"]) == (0, "there")
    code, _ = await isobase("outbox", "retry", number)
    assert code == 9
    assert (await isobase("outbox", "retry"))[0] == 9
    assert (await isobase("outbox", "retry", number, "--all"))[0] == 9
    code, retried = await isobase(
        "outbox", "retry", "--all", "--capability", "table:public.other", "--keep", "supabase"
    )
    assert (code, retried["entries"]) == (0, [])
    code, retried = await isobase("outbox", "retry", "--all", "--keep", "supabase")
    assert (code, [entry["id"] for entry in retried["entries"]]) == (0, [int(number)])
    code, drained = await isobase("drain", "--timeout", "60")
    assert (code, drained["carried"], drained["waiting"]) == (0, 1, 0)
    assert await rows_of(sides.isobase) == {1: "here"}
    assert await asyncio.to_thread(main, ["migrate", "outbox", "list"]) == 0
    assert capsys.readouterr().out == "nothing waits\n"


async def test_a_dead_letter_is_an_event(sides: TwoSides) -> None:
    events: list[Event] = []
    await conflict_of(sides)
    await sides.isobase.execute("update isobase.outbox set versions = null")
    await drainer_of(sides.box, sides.carrier, events).drain(60)
    assert [event.name for event in events] == ["conflict"]


async def test_an_edited_row_is_kept_with_its_letter_and_shown_without_secrets(sides: TwoSides) -> None:
    letters = Letters(sides.isobase)
    number = await conflict_of(sides)
    edited = await letters.edit(number, leave_out=["note"], image={"state": "mended", "api_key": "sk_live_1"})
    assert edited.edit is not None
    assert edited.edit.leave_out == ("note",)
    assert edited.edit.image == {"state": "mended", "api_key": "[hidden]"}
    await letters.retry(number, keep=Side.SUPABASE)
    (item,) = await sides.box.outbox.take(10)
    assert item.edit is not None
    assert item.edit.image == {"state": "mended", "api_key": "sk_live_1"}
    assert "sk_live_1" not in repr(item)


async def test_an_edited_row_reaches_the_target_through_the_drainer(sides: TwoSides) -> None:
    letters = Letters(sides.isobase)
    number = await conflict_of(sides)
    await letters.edit(number, image={"state": "mended"})
    await letters.retry(number, keep=Side.SUPABASE)
    urls = {Side.SUPABASE: sides.supabase_dsn, Side.ISOBASE: sides.isobase_dsn}
    databases = {side: SideDatabase(side, urls[side]) for side in Side}
    carrier = RowCarrier(databases[Side.SUPABASE], databases[Side.ISOBASE])
    carriers = Carriers({ThingKind.ROW: carrier, ThingKind.TABLE: carrier})
    try:
        assert (await Drainer(sides.box.outbox, carriers).drain(60)).waiting == 0
    finally:
        for database in databases.values():
            await database.close()
    assert await rows_of(sides.isobase) == {1: "mended"}
    assert await rows_of(sides.supabase) == {1: "here"}
    assert await letters.list() == ()
