"""Who answers a read in each stage."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from supabase import AsyncClient as OfficialClient
from supabase.lib.client_options import AsyncClientOptions

from isobase_adapter import create_async_migration_client
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.client.moving import WAIT_S, note, set_stage, settings_of, wait_for_stage
from tests.adapter.pair import Pair, User

ANSWERS = [
    (Stage.OFF, Side.SUPABASE),
    (Stage.DUAL_WRITE, Side.SUPABASE),
    (Stage.SHADOW_READ, Side.SUPABASE),
    (Stage.LIVE, Side.ISOBASE),
    (Stage.RAMP_DOWN, Side.ISOBASE),
    (Stage.COMPLETE, Side.ISOBASE),
]


@pytest.fixture
async def client(clean_pair: Pair) -> AsyncIterator[Any]:
    made = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.service_role_key, migration=settings_of(clean_pair)
    )
    yield made
    await made.migration.aclose()


@pytest.fixture
def user(clean_pair: Pair) -> User:
    return clean_pair.sign_up()


async def titles(client: Any) -> list[str]:
    answer = await client.table("notes").select("title").execute()
    return [row["title"] for row in answer.data]


async def test_each_stage_answers_from_its_side_and_says_so(client: Any, clean_pair: Pair, user: User) -> None:
    for side in Side:
        note(clean_pair.supabase if side is Side.SUPABASE else clean_pair.isobase, side, user.id)
    for stage, side in ANSWERS:
        set_stage(clean_pair, "table:public.notes", stage)
        wait_for_stage(client, "table:notes", stage)
        assert (await titles(client), client.migration.answered.side, stage) == ([side], side, stage)


async def test_every_kind_of_answer_has_the_side_that_gave_it(client: Any, clean_pair: Pair, user: User) -> None:
    set_stage(clean_pair, "table:public.*", Stage.RAMP_DOWN)
    wait_for_stage(client, "table:notes", Stage.RAMP_DOWN)
    made = await client.table("notes").insert({"title": "one", "owner_id": user.id}).execute()
    query = client.table("notes").select("title", count="exact")
    answers = [
        made,
        await query.execute(),
        await query.single().execute(),
        await client.from_("notes").select("*").maybe_single().execute(),
        await client.table("notes").select("title").csv().execute(),
        await client.schema("public").table("notes").upsert(made.data).execute(),
        await client.table("notes").update({"stars": 2}).eq("title", "one").execute(),
        await client.table("notes").delete().eq("title", "one").execute(),
    ]
    assert {(answer.side, answer.is_fallback, answer.is_behind) for answer in answers} == {(Side.ISOBASE, False, False)}
    assert (answers[1].count, answers[2].data) == (1, {"title": "one"})
    assert answers[1].model_dump() == {"data": [{"title": "one"}], "count": 1}
    assert answers[1].answer.stage is Stage.RAMP_DOWN
    called = await client.rpc("stars_of", {"owner": user.id}).execute()
    assert (called.side, called.data) == (Side.SUPABASE, 0)
    assert await client.table("notes").select("*").maybe_single().execute() is None


async def test_a_user_outside_the_share_stays_in_the_stage_before(client: Any, clean_pair: Pair, user: User) -> None:
    note(clean_pair.isobase, "there", user.id)
    set_stage(clean_pair, "table:public.notes", Stage.LIVE, writer=Side.SUPABASE, share_percent=0)
    clean_pair.isobase.query("update isobase.flags set users = array[%s]", user.id)
    wait_for_stage(client, "table:notes", Stage.LIVE, user.id)
    assert client.migration.stage("table:notes", "somebody-else") is Stage.SHADOW_READ
    assert await titles(client) == []
    as_user = client.table("notes").select("title")
    as_user.request.headers["Authorization"] = f"Bearer {user.access_token}"
    assert [row["title"] for row in (await as_user.execute()).data] == ["there"]


async def test_embeds_are_answered_by_a_side_that_has_all_of_them(client: Any, clean_pair: Pair, user: User) -> None:
    for side, state in ((clean_pair.supabase, "open"), (clean_pair.isobase, "paid")):
        side.query("insert into public.orders (owner_id, net, state) values (%s, 1, %s)", user.id, state)
    query = client.table("orders").select("state,order_lines(article)")
    set_stage(clean_pair, "table:public.orders", Stage.LIVE)
    wait_for_stage(client, "table:orders", Stage.LIVE)
    assert (await query.execute()).data == [{"state": "open", "order_lines": []}]
    set_stage(clean_pair, "table:public.order_lines", Stage.LIVE)
    wait_for_stage(client, "table:order_lines", Stage.LIVE)
    assert (await query.execute()).data == [{"state": "paid", "order_lines": []}]


async def test_embeds_that_no_side_has_together_are_refused_by_name(client: Any, clean_pair: Pair) -> None:
    from postgrest import APIError

    set_stage(clean_pair, "table:public.orders", Stage.COMPLETE)
    wait_for_stage(client, "table:orders", Stage.COMPLETE)
    with pytest.raises(APIError) as raised:
        await client.table("orders").select("*,order_lines(*)").execute()
    with pytest.raises(APIError, match="different sides"):
        await client.table("orders").insert({"net": 1}).select("*,order_lines(*)").execute()
    assert clean_pair.isobase.rows("public.orders") == []
    assert raised.value.code == "MIGRATION_SPLIT"
    assert "table:public.order_lines" in str(raised.value.details)
    assert "Move these together" in str(raised.value.hint)


async def test_it_is_a_supabase_client_with_the_apps_own_options(clean_pair: Pair) -> None:
    seen: list[str] = []

    async def watch(request: httpx.Request) -> None:
        seen.append(request.url.path)

    own = httpx.AsyncClient(event_hooks={"request": [watch]}, headers={"x-mine": "1"}, timeout=30)
    options = AsyncClientOptions(schema="shop", httpx_client=own)
    client = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.anon_key, options, migration=settings_of(clean_pair)
    )
    assert isinstance(client, OfficialClient)
    assert (await client.table("stock").select("*").execute()).data == []
    await client.migration.aclose()
    assert (seen, own.is_closed) == (["/rest/v1/stock"], False)
    await own.aclose()


async def test_a_closed_client_leaves_no_thread(clean_pair: Pair) -> None:
    before = {thread.name for thread in threading.enumerate() if thread.name.startswith("isobase-migration")}
    client = await create_async_migration_client(
        clean_pair.supabase.url, clean_pair.supabase.anon_key, migration=settings_of(clean_pair)
    )
    assert (await client.table("notes").select("*").execute()).data == []
    await client.migration.aclose()
    await client.migration.aclose()
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        names = {thread.name for thread in threading.enumerate() if thread.name.startswith("isobase-migration")}
        if names <= before:
            break
    assert names <= before
