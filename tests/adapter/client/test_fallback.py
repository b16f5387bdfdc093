"""Stage ``live`` while Isobase is down: Supabase answers and is written, and says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from isobase_adapter import create_async_migration_client
from isobase_adapter.answers import FALLBACK_HEADER, SIDE_HEADER
from isobase_adapter.settings import BreakerSettings
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import note, set_stage, settings_of
from tests.adapter.pair import Pair, User
from tests.plugins.ports import free_ports

NOTES = "table:public.notes"


async def client_of(pair: Pair, **more: Any) -> Any:
    settings = settings_of(pair, breaker=BreakerSettings(least_calls=3, open_s=300, slow_call_s=60), **more)
    return await create_async_migration_client(pair.supabase.url, pair.supabase.service_role_key, migration=settings)


@pytest.fixture
def user(clean_pair: Pair) -> User:
    return clean_pair.sign_up()


@pytest.fixture
async def cut_off(clean_pair: Pair) -> AsyncIterator[Any]:
    """A client of whose Isobase side the databases answer, and the API does not."""
    set_stage(clean_pair, NOTES, Stage.LIVE)
    client = await client_of(clean_pair, isobase_url=f"http://127.0.0.1:{free_ports(1)[0]}")
    yield client
    await client.migration.aclose()


async def test_reads_are_answered_by_supabase_which_is_said_counted_and_told(
    cut_off: Any, clean_pair: Pair, user: User
) -> None:
    note(clean_pair.supabase, "here", user.id)
    url = f"{clean_pair.supabase.url}/rest/v1/notes?select=title"
    for _ in range(5):
        answer = await cut_off.postgrest.session.get(url, headers=cut_off.postgrest.headers)
        assert answer.json() == [{"title": "here"}]
        assert (answer.headers[SIDE_HEADER], answer.headers[FALLBACK_HEADER]) == ("supabase", "true")
    assert cut_off.migration.answered.is_fallback
    assert not cut_off.migration.answered.is_behind
    assert cut_off.migration.metrics()["fallback_reads"] == {NOTES: 5}
    assert cut_off.migration.breakers()[NOTES] == {"isobase": {"reads": "open", "writes": "open"}}


async def test_an_answer_from_a_side_that_lacks_writes_says_so(cut_off: Any, clean_pair: Pair, user: User) -> None:
    clean_pair.isobase.query(
        "insert into isobase.outbox (state, capability, target, epoch, thing, lock_number, next_at)"
        " values ('pending', %s, 'supabase', 0, %s::jsonb, 1, 'infinity')",
        NOTES,
        '{"kind": "row", "resource": "public.notes", "key": [1]}',
    )
    await cut_off.table("notes").select("title").execute()
    assert cut_off.migration.answered.is_behind


async def test_writes_move_the_writer_back_to_supabase_and_reach_isobases_database(
    cut_off: Any, clean_pair: Pair, user: User
) -> None:
    made = await cut_off.table("notes").insert({"title": "written", "owner_id": user.id}).execute()
    assert made.data[0]["title"] == "written"
    assert (cut_off.migration.answered.side, cut_off.migration.answered.is_fallback) == (Side.SUPABASE, True)
    assert cut_off.migration.writer("table:notes").side is Side.SUPABASE
    assert cut_off.migration.metrics()["fallback_writes"] == {NOTES: 1}
    assert (await cut_off.migration.drain(30)).waiting == 0
    assert clean_pair.differing(["public.notes"]) == {}


async def test_when_neither_side_answers_the_app_gets_the_error_of_the_side_that_should_have(
    clean_pair: Pair,
) -> None:
    set_stage(clean_pair, NOTES, Stage.LIVE)
    down = replace(clean_pair, supabase=replace(clean_pair.supabase, url=f"http://127.0.0.1:{free_ports(1)[0]}"))
    place = f"http://127.0.0.1:{free_ports(1)[0]}"
    client = await client_of(down, isobase_url=place)
    with pytest.raises(httpx.ConnectError):
        await client.table("notes").select("title").retry(False).execute()
    await client.migration.aclose()
