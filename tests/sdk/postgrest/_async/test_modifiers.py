"""What shapes an answer: order and limits, single rows, other formats, plans, trial runs; against a running data API."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest

from isobase import call_options
from isobase._http import CallCancelled, Cancellation, DeadlineExceeded
from isobase.postgrest import APIError, AsyncPostgrestClient
from tests.sdk.postgrest.conftest import DataApi

USING = "database.using_modifiers."


@pytest.mark.capability(USING + "order")
async def test_rows_come_in_the_order_asked_for(data: AsyncPostgrestClient) -> None:
    books = data.from_("books")
    last = await books.select("id").order("price", desc=True, nullsfirst=False).execute()
    assert last.data == [{"id": 2}, {"id": 1}, {"id": 4}, {"id": 3}]
    first = await books.select("id").order("price", nullsfirst=True).execute()
    assert first.data == [{"id": 3}, {"id": 4}, {"id": 1}, {"id": 2}]
    twice = await books.select("id").order("shelf").order("id", desc=True).execute()
    assert twice.data == [{"id": 3}, {"id": 1}, {"id": 4}, {"id": 2}]


@pytest.mark.capability(USING + "limit", USING + "range")
async def test_a_slice_of_the_rows_is_given(data: AsyncPostgrestClient) -> None:
    query = data.from_("books").select("id").order("id")
    assert (await query.copy().limit(1).execute()).data == [{"id": 1}]
    assert (await query.copy().limit(1).limit(2).execute()).data == [{"id": 1}, {"id": 2}]
    assert (await query.copy().offset(3).execute()).data == [{"id": 4}]
    assert (await query.copy().range(1, 2).execute()).data == [{"id": 2}, {"id": 3}]
    embedded = data.from_("books").select("id, reviews(id)").eq("id", 1).range(1, 1, "reviews")
    assert (await embedded.execute()).data == [{"id": 1, "reviews": [{"id": 2}]}]


@pytest.mark.capability(USING + "single_row")
async def test_a_single_row_is_given_bare_and_none_or_two_are_refused(data: AsyncPostgrestClient) -> None:
    books = data.from_("books")
    assert (await books.select("id").eq("id", 1).single().execute()).data == {"id": 1}
    for ids in ([], [1, 2]):
        with pytest.raises(APIError) as refused:
            await books.select("id").in_("id", ids).single().execute()
        assert refused.value.code == "PGRST116"


@pytest.mark.capability(USING + "maybe_single_row")
async def test_maybe_single_gives_a_row_or_none_and_refuses_two(data: AsyncPostgrestClient, data_api: DataApi) -> None:
    books = data.from_("books")
    one = await books.select("id", count=None).eq("id", 1).maybe_single().execute()
    assert one
    assert one.data == {"id": 1}
    none = await books.select("id").eq("id", 99).maybe_single().execute()
    assert not none
    assert none.data is None
    assert (await books.update({"title": "x"}).eq("id", 99).maybe_single().execute()).data is None
    with pytest.raises(APIError) as refused:
        await books.select("id").lt("id", 3).maybe_single().execute()
    assert (refused.value.code, refused.value.details) == ("PGRST116", "The result contains 2 rows")


@pytest.mark.capability(USING + "format_csv")
async def test_rows_come_as_csv(data: AsyncPostgrestClient) -> None:
    assert (await data.from_("authors").select("id,name").eq("id", 1).csv().execute()).data == "id,name\n1,Ada"


@pytest.mark.capability(USING + "format_geojson")
async def test_rows_come_as_geojson(data: AsyncPostgrestClient) -> None:
    places = (await data.from_("places").select().geojson().execute()).data
    assert places["type"] == "FeatureCollection"
    assert places["features"][0]["geometry"] == {"type": "Point", "coordinates": [1, 2]}


@pytest.mark.capability(USING + "strip_nulls")
async def test_null_columns_are_left_out(data: AsyncPostgrestClient) -> None:
    query = data.from_("books").select("id, author_id").gte("id", 3).order("id").strip_nulls()
    assert (await query.copy().execute()).data == [{"id": 3, "author_id": 2}, {"id": 4}]
    assert (await query.copy().eq("id", 4).single().execute()).data == {"id": 4}
    for refused in (query.csv, query.explain, query.geojson):
        with pytest.raises(ValueError, match="strip_nulls"):
            refused()
    csv = data.from_("books").select()
    csv.csv()
    with pytest.raises(ValueError, match="csv"):
        csv.strip_nulls()


@pytest.mark.capability(USING + "explain")
async def test_the_plan_comes_as_text_or_json(data: AsyncPostgrestClient) -> None:
    assert "Aggregate" in await data.from_("books").select().explain().execute()
    plan = await data.from_("books").select().explain(analyze=True, verbose=True, format="json").execute()
    assert isinstance(plan.data, list)
    assert "Execution Time" in plan.data[0]


@pytest.mark.capability(USING + "dry_run")
async def test_a_rolled_back_write_answers_and_leaves_nothing(data: AsyncPostgrestClient, data_api: DataApi) -> None:
    tried = await data.from_("reviews").delete().gt("id", 1).select("id").rollback().execute()
    assert len(tried.data) == 2
    assert data_api.rows("select count(*) from reviews") == [(3,)]


@pytest.mark.capability(USING + "max_affected_rows")
async def test_a_write_that_would_touch_too_many_rows_is_refused(data: AsyncPostgrestClient, data_api: DataApi) -> None:
    with pytest.raises(APIError) as refused:
        await data.from_("reviews").delete().gt("id", 0).max_affected(2).execute()
    assert refused.value.code == "PGRST124"
    assert data_api.rows("select count(*) from reviews") == [(3,)]
    few = await data.from_("reviews").update({"stars": 2}).eq("id", 1).max_affected(9).max_affected(1).execute()
    assert len(few.data) == 1


@pytest.mark.capability("database.configuration.request_timeout")
async def test_a_call_ends_when_its_time_is_over(data: AsyncPostgrestClient, slow_calls: dict[str, int]) -> None:
    with pytest.raises(DeadlineExceeded), call_options(timeout=0.3):
        await data.rpc("slow", slow_calls).execute()
    with call_options(timeout=math.inf):
        assert (await data.rpc("slow", {"seconds": 0}).execute()).data == 1


@pytest.mark.capability("database.configuration.request_timeout")
async def test_a_client_has_a_time_limit_for_every_call(data_api: DataApi, slow_calls: dict[str, int]) -> None:
    with pytest.warns(DeprecationWarning, match="timeout"):
        client = AsyncPostgrestClient(data_api.url, headers=data_api.headers, timeout=0.3)
    async with client:
        with pytest.raises(DeadlineExceeded):
            await client.rpc("slow", slow_calls).execute()


# [async]
@pytest.mark.capability(USING + "request_cancellation")
async def test_a_cancelled_task_ends_its_call_and_the_client_goes_on(
    data: AsyncPostgrestClient, slow_calls: dict[str, int]
) -> None:
    call = asyncio.create_task(data.rpc("slow", slow_calls).execute())
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len((await data.from_("books").select("id").execute()).data) == 4


# [/async]


@pytest.mark.capability(USING + "request_cancellation")
async def test_a_call_is_ended_by_its_cancellation(data: AsyncPostgrestClient, slow_calls: dict[str, int]) -> None:
    cancellation = Cancellation()
    timer = threading.Timer(0.2, cancellation.cancel)
    timer.start()
    with pytest.raises(CallCancelled), call_options(cancel=cancellation):
        await data.rpc("slow", slow_calls).execute()
    timer.join()
    assert len((await data.from_("books").select("id").execute()).data) == 4
